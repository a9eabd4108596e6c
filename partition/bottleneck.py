"""A learned bottleneck: a small encoder on the device, its decoder at the edge, bound to one cut.

The encoder turns the activation into a few channels, rounded to `bits` per value on a grid learnt for each
channel; zstd packs them with a dictionary, made of the latents of the training. The name of the codec holds a
hash over weights, dictionary and cut, so it enters arm labels and the schema: device and edge either hold the
same pair or have no arm in common.
What it must never do: serve another cut or another network than it was trained for.

Payload: one zstd frame (RFC 8878), without the dictionary's number, of unsigned values, C order, channels
first; at 4 bits the first half of them in the low, the second half in the high nibbles.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
import zstandard
from torch import Tensor

from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from bus.tensors import Payload, element_count
from partition.arms import Cut
from partition.bottleneck_pair import Form, Pair
from partition.codecs.base import Encoded, Limits
from partition.codecs.packing import Zstd
from partition.graphs.counting import WorkCounter
from partition.graphs.work import Work
from partition.trained_file import Kind

FILE = Kind("cans-bottleneck 2", "a bottleneck", "cans train bottleneck")
HASH_DIGITS = 8
# Of so few bytes even this level takes microseconds.
_LEVEL = 19
# A larger one gains less than a per cent.
_DICTIONARY_BYTES = 4096
_DICTIONARY = "dictionary"
# Bytes that decoding allocates per element at most, in numpy; torch's own are bounded by the form.
_EXPANSION = 16.0


class Info(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of its pair.

    Attributes:
        hash: 8 hexadecimal digits over form, cut and weights.
        network: the model hash.
        model: what a person called the network.
        cut: the name of the cut.
        form: how the pair is built.
        steps, seed: of the training.
        held_out: on how many images the next two were measured.
        agreement: share of them that get the uncut network's answer.
        payload_bytes: their mean.
    """

    hash: str
    network: str
    model: str
    cut: str
    form: Form
    steps: int
    seed: int
    held_out: int
    agreement: float
    payload_bytes: float


def digest(cut: str, form: Form, state: dict[str, Tensor], dictionary: bytes) -> str:
    """Return 8 hexadecimal digits of a SHA-256 over cut, form, weights and dictionary."""
    said = hashlib.sha256(
        f"{FILE.format}\n{cut}\n{json.dumps(msgspec.to_builtins(form), sort_keys=True)}\n".encode()
    )
    for name, tensor in sorted(state.items()):
        said.update(f"{name} {tuple(tensor.shape)}\n".encode())
        said.update(np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype="<f4").tobytes())
    said.update(dictionary)
    return said.hexdigest()[:HASH_DIGITS]


class BottleneckCodec:
    """Implements `Codec` at one cut of one network.

    Args:
        pair: encoder and decoder, trained.
        cut: the name of the cut.
        network: the model hash.
        dictionary: of zstd, for latents; empty for none.

    Attributes:
        cut: the name of the cut.
        network: the model hash.
        form: how the pair is built.
        front_work, back_work: int64 (6,), what encoder and decoder add to head and tail.
    """

    dtype = "uint8"
    encodes_frames = False
    encodes_activations = True
    lossless = False

    def __init__(self, pair: Pair, *, cut: str, network: str, dictionary: bytes = b"") -> None:
        self.form = pair.form
        self.cut = cut
        self.network = network
        self.name = f"bottleneck-{digest(cut, pair.form, pair.state_dict(), dictionary)}"
        # Rounding and zstd, whose unit is int8 + zstd of one element; the layers count as work of their own.
        self.encode_work = self.decode_work = pair.form.packed_bytes / math.prod(pair.form.shape)
        # What decoding holds beside its result: the latent as floats, and what the layers make on the way.
        self.limits = Limits(math.inf, "refused", _EXPANSION)
        self._pair = pair.eval().requires_grad_(requires_grad=False)
        self.front_work, self.back_work = _measure(self._pair)
        self._zstd = Zstd(_LEVEL, dictionary)

    def estimate(self, shape: tuple[int, ...]) -> int:
        """Return the most bytes that zstd makes of a latent."""
        del shape  # it has one
        return self._zstd.most(self.form.packed_bytes)

    def encode(self, array: npt.NDArray[Any]) -> Encoded:
        """Return the activation's latent, rounded and compressed.

        Raises:
            LocalProtocolError: an array of another shape or dtype, NaN or infinity.
        """
        if array.shape != self.form.shape or array.dtype != np.float32:
            raise LocalProtocolError(f"{self.name} is for {self.form.shape}, not {array.dtype} {array.shape}")
        with torch.inference_mode():
            z = self._pair.latent(torch.from_numpy(array))
            if not bool(torch.isfinite(z).all()):
                raise LocalProtocolError("an activation with NaN or infinity cannot be quantised")
            packed = _packed(self._pair, z)
        payload = self._zstd.compress(packed.data)
        return Encoded(payload, self.dtype, array.shape)

    def decode(self, payload: Payload, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the activation as float32; what is allocated follows from the pair's own form."""
        if dtype != self.dtype:
            raise RemoteProtocolError("tensor", f"codec {self.name} carries {self.dtype}, not {dtype[:32]}")
        element_count(shape)
        if shape != self.form.shape:
            raise RemoteProtocolError("tensor", f"codec {self.name} is for {self.form.shape}, not {shape}")
        count = math.prod(self.form.latent)
        packed = self._zstd.inflate(memoryview(payload), self.form.packed_bytes)
        values = _unpacked(packed, count, self.form.bits)
        with torch.inference_mode():
            q = torch.from_numpy(values).reshape(self.form.latent) - float(2 ** (self.form.bits - 1))
            decoded: npt.NDArray[Any] = self._pair.expand(q).contiguous().numpy()
        return decoded


def make_dictionary(pair: Pair, activations: Tensor) -> bytes:
    """Return what zstd learns from the latents of activations (n, ...); nothing if they are too few."""
    with torch.no_grad():
        samples: list[Payload] = [_packed(pair, z[None]).tobytes() for z in pair.latent(activations)]
    try:
        return zstandard.train_dictionary(_DICTIONARY_BYTES, samples, level=_LEVEL, dict_id=1).as_bytes()
    except zstandard.ZstdError:
        return b""


def dump(pair: Pair, info: Info, dictionary: bytes = b"") -> bytes:
    """Return a file with the weights, the dictionary and `info`."""
    known = torch.from_numpy(np.frombuffer(dictionary, np.uint8).copy())
    return FILE.dump(info, {**pair.state_dict(), _DICTIONARY: known})


def read(path: Path) -> tuple[Info, Pair, bytes]:
    """Return what `dump` wrote.

    Raises:
        ConfigurationError: no such file, another format, or damaged.
    """
    said, state = FILE.read(path)
    try:
        info = msgspec.json.decode(said, type=Info)
        pair = Pair(info.form)
        dictionary = state.pop(_DICTIONARY).numpy().tobytes()
        pair.load_state_dict(state)
        whole = digest(info.cut, info.form, state, dictionary) == info.hash
    except (KeyError, ValueError, RuntimeError):
        whole = False
    if not whole:
        raise ConfigurationError(f"{path} is damaged: its weights are not those that its hash names")
    return info, pair, dictionary


def load(path: Path) -> BottleneckCodec:
    """Return the codec of a file; errors as of `read`."""
    info, pair, dictionary = read(path)
    return BottleneckCodec(pair, cut=info.cut, network=info.network, dictionary=dictionary)


def bound(
    codecs: Iterable[BottleneckCodec], cuts: Iterable[Cut], network: str
) -> dict[int, tuple[BottleneckCodec, ...]]:
    """Return this network's codecs by the index of their cut, by name, so that all parties number arms alike.

    Raises:
        ConfigurationError: the same one twice, or a cut that is not there.
    """
    places = {(cut.name, cut.shape): cut.index for cut in cuts}
    found: dict[int, tuple[BottleneckCodec, ...]] = {}
    names = set()
    for codec in sorted(codecs, key=lambda each: each.name):
        if codec.network != network:
            continue
        place = places.get((codec.cut, codec.form.shape))
        if place is None:
            raise ConfigurationError(
                f"{codec.name} is for the cut {codec.cut}, which this network has no more"
            )
        if codec.name in names:
            raise ConfigurationError(f"{codec.name} was given twice: give each --bottleneck once")
        names.add(codec.name)
        found[place] = (*found.get(place, ()), codec)
    return found


def require_used(codecs: Iterable[BottleneckCodec], networks: Iterable[str]) -> None:
    """Refuse a bottleneck of a network that nobody here runs.

    Args:
        codecs: as given.
        networks: the model hashes of those that are run.

    Raises:
        ConfigurationError: there is one.
    """
    known = set(networks)
    for codec in codecs:
        if codec.network not in known:
            raise ConfigurationError(
                f"{codec.name} is for model {codec.network}, and here is {', '.join(sorted(known))}: "
                "give the weights it was trained with, or train another"
            )


def _measure(pair: Pair) -> tuple[Work, Work]:
    """Return the work of encoder and decoder, int64 (6,) each."""
    with torch.inference_mode(mode=False), torch.no_grad():
        with WorkCounter() as front:
            q = pair.rounded(pair.latent(torch.zeros(pair.form.shape)))
        with WorkCounter() as back:
            pair.expand(q)
    return front.work, back.work


def _packed(pair: Pair, latent: Tensor) -> npt.NDArray[np.uint8]:
    """Return a rounded latent: of 4 bits two values a byte, the first half low, the second high."""
    values: npt.NDArray[np.uint8] = (
        (pair.rounded(latent) + 2 ** (pair.form.bits - 1)).to(torch.uint8).numpy().reshape(-1)
    )
    if pair.form.bits == 8:
        return values
    half = (len(values) + 1) // 2
    packed = values[:half].copy()
    packed[: len(values) - half] |= values[half:] << 4
    return packed


def _unpacked(data: Payload, count: int, bits: int) -> npt.NDArray[np.float32]:
    packed = np.frombuffer(data, dtype=np.uint8)
    if bits == 4:
        packed = np.concatenate([packed & 0x0F, packed >> 4])[:count]
    return packed.astype(np.float32)
