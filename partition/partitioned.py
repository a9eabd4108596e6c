"""A network that can be cut anywhere useful: what the device and the edge run.

Every method may run in any thread; each runs torch without gradients and on `threads` threads. Nothing here
knows of deadlines, topics or policies.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from bus.tensors import Payload
from partition import exits
from partition.arms import NO_CODEC, Arm, Cut, choose_codecs, list_arms
from partition.bottleneck import BottleneckCodec, bound
from partition.codecs import CODECS
from partition.codecs.base import ALIGNMENT_BYTES, Codec
from partition.contexts import Row, front_row, make
from partition.cuts import useful
from partition.graph import Frontier, Graph
from partition.identity import model_hash
from partition.loads import load_of, payload_bits, preprocessing_work
from partition.preprocessing import normalise
from partition.results import Answer, ExitRun, HeadResult, Kept, Logits, TailResult, answer_of
from partition.work import macs
from partition.zoo import Network

Frame = npt.NDArray[np.uint8]


class PartitionedModel:
    """Heads and tails of one network for every arm; all of them share the network's weights.

    Attributes:
        name: what a person called the network.
        hash: 16 hexadecimal digits over weights and graph.
        weights_label: "seeded:<seed>" or "file:<digits>".
        cuts: in order; 0 is the input, the last is the whole network on the device.
        arms: in the order of the rows of `contexts`; the last sends nothing.
        contexts: float64 (K, d), read-only; link bits are means over the built-in frames.
        schema: what the columns mean.
        input_size: (height, width) of a frame.
        codecs: of the arms, by name; bottlenecks among them.
        exit_count: how many exits `run_exits` offers, the network's own end included.
        device: the torch device it runs on.
    """

    def __init__(
        self,
        network: Network,
        codecs: tuple[Codec, ...],
        bottlenecks: tuple[BottleneckCodec, ...],
        threads: int,
        device: torch.device,
    ) -> None:
        self.name = network.name
        self.weights_label = network.weights_label
        self.input_size = network.input_shape[2:]
        self.device = device
        self._threads = threads
        self._bound = threading.local()
        with self._torch():
            self._graph = Graph(network.module.cpu(), network.input_shape)
            frontiers = self._graph.frontiers
            self.hash = model_hash(network, self._graph)
            self._places = useful([math.prod(f.shape) for f in frontiers], [macs(f.work) for f in frontiers])
            self.cuts = _cuts([frontiers[place] for place in self._places])
            trained = bound(bottlenecks, self.cuts, self.hash)
            self.codecs: Mapping[str, Codec] = {
                codec.name: codec for codec in (*codecs, *chain(*trained.values()))
            }
            self.arms = list_arms(len(self.cuts), codecs, trained)
            if network.exits_of not in {None, self.hash}:
                raise ConfigurationError(
                    f"the exits were trained for model {network.exits_of}, and this is {self.hash}: give the "
                    "weights they were trained with, or train others"
                )
            self._stages = exits.stages(self._graph, network.exits or ())
            self.exit_count = len(self._stages)
            bits = payload_bits(self._graph, self._places, self.arms, self.codecs, self.input_size)
        elements = self.cuts[0].elements
        self._preprocessing = preprocessing_work(elements)
        self._total = self._graph.work + self._preprocessing
        works = [frontiers[place].work for place in self._places]
        loads = [
            load_of(arm, self.cuts[arm.cut], self.codecs, works[arm.cut], elements, bits[arm.index])
            for arm in self.arms
        ]
        self.schema, self.contexts = make(loads, self._total, elements, [arm.label for arm in self.arms])
        network.module.to(device)

    @property
    def device_only(self) -> Arm:
        """The arm that sends nothing."""
        return self.arms[-1]

    def arm(self, label: str) -> Arm:
        """Return an arm by its label.

        Raises:
            ConfigurationError: if there is none.
        """
        for arm in self.arms:
            if arm.label == label:
                return arm
        labels = ", ".join(arm.label for arm in self.arms)
        raise ConfigurationError(f"{self.name} has no arm {label!r}: choose from {labels}")

    def piece(self, start: int, stop: int) -> nn.Module:
        """Return the network from cut `start` to cut `stop`; it takes and gives tensors on `device`."""
        return self._graph.piece(self._places[start], self._places[stop])

    def run_head(self, frame: Frame, arm: Arm, *, early: bool = False) -> HeadResult:
        """Run the device side of one frame: preprocess, head, encode.

        Args:
            frame: uint8 (height, width, 3) of `input_size`, RGB; leave it alone until the payload is sent.
            arm: one of `arms`.
            early: let a trained exit on the way answer, if it is sure; then nothing is encoded.

        Raises:
            LocalProtocolError: frame of another shape or dtype, or an activation that is not finite.
        """
        self._check(frame)
        started = time.perf_counter()
        array: npt.NDArray[Any] = frame
        kept: Kept | Frame = frame
        if arm.codec == NO_CODEC or not self.codecs[arm.codec].encodes_frames:
            with self._torch():
                x, place = normalise(frame).to(self.device), 0
                for index in self._early(arm) if early else ():
                    stage = self._stages[index]
                    x, place = self._graph.piece(place, stage.place)(x), stage.place
                    answer = self._sure(stage, x)
                    if answer is not None:
                        head_ms = (time.perf_counter() - started) * 1e3
                        # Nothing waits for anybody, so nothing is kept to finish from.
                        return HeadResult(
                            None, "float32", answer.logits.shape, head_ms, 0.0, frame, answer, index
                        )
                activation = self._graph.piece(place, self._places[arm.cut])(x)
                array = activation.cpu().numpy()
            kept = Kept(arm.cut, activation)
        ran = time.perf_counter()
        head_ms = (ran - started) * 1e3
        if arm.codec == NO_CODEC:
            return HeadResult(None, "float32", array.shape, head_ms, 0.0, kept, answer_of(array[0]))
        encoded = self.codecs[arm.codec].encode(array)
        encode_ms = (time.perf_counter() - ran) * 1e3
        return HeadResult(encoded.payload, encoded.dtype, encoded.shape, head_ms, encode_ms, kept, None)

    def finish(self, kept: Kept | Frame) -> Answer:
        """Run the tail from what `run_head` kept: the local fallback, without loss."""
        started = time.perf_counter()
        with self._torch():
            if isinstance(kept, Kept):
                cut, x = kept.cut, kept.activation
            else:
                cut, x = 0, normalise(kept).to(self.device)
            logits = self._tail(cut, x)
        return answer_of(logits, (time.perf_counter() - started) * 1e3)

    def run_tail(
        self, cut: int, codec: str, dtype: str, shape: tuple[int, ...], payload: Payload
    ) -> TailResult:
        """Run the edge side of one frame: decode, preprocess if it is the frame itself, tail.

        Raises:
            RemoteProtocolError: `foreign` for a cut and codec that are no arm of this model, `tensor` for
                bytes that are not what the cut needs, `not_finite` if they lead to NaN or infinity.
        """
        started = time.perf_counter()
        array = self._decode(cut, codec, dtype, shape, payload)
        decoded = time.perf_counter()
        with self._torch():
            x = normalise(array) if self.codecs[codec].encodes_frames else _tensor(array)
            logits = self._tail(cut, x.to(self.device))
        ended = time.perf_counter()
        if not np.isfinite(logits).all():
            raise RemoteProtocolError("not_finite", "the activation leads to logits that are not finite")
        return TailResult(logits, (decoded - started) * 1e3, (ended - decoded) * 1e3)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRun:
        """Answer one frame on the device at an exit: a row for the warm start.

        Args:
            frame: as for `run_head`.
            exit_index: 0 to `exit_count` - 1; the last is the network's own end.

        Raises:
            LocalProtocolError: frame of another shape or dtype, exit that is not there.
        """
        self._check(frame)
        if not 0 <= exit_index < self.exit_count:
            raise LocalProtocolError(f"{self.name} has exits 0 to {self.exit_count - 1}, not {exit_index}")
        started = time.perf_counter()
        with self._torch():
            x = normalise(frame).to(self.device)
            logits: Logits = exits.run(self._stages[: exit_index + 1], x).cpu().numpy()[0]
        latency_ms = (time.perf_counter() - started) * 1e3
        return ExitRun(exit_index, self.exit_context(exit_index), latency_ms, answer_of(logits))

    def exit_context(self, exit_index: int) -> Row:
        """Return the context of a run to an exit, float64 (d,): zero outside the device's own columns."""
        work = self._stages[exit_index].work + self._preprocessing
        return self.schema.row(front_row(work, self._total))

    def warm_up(self, *, tails: bool = True) -> None:
        """Run every arm once, so that the first frames cost what later ones do; an edge needs the tails."""
        frame = np.zeros((*self.input_size, 3), dtype=np.uint8)
        for arm in self.arms:
            result = self.run_head(frame, arm)
            if tails and result.payload is not None:
                self.run_tail(arm.cut, arm.codec, result.dtype, result.shape, result.payload)

    def _early(self, arm: Arm) -> list[int]:
        """Return the exits that may answer on the way to an arm's cut."""
        stop = self._places[arm.cut]
        return [i for i, stage in enumerate(self._stages) if stage.threshold <= 1.0 and stage.place <= stop]

    @staticmethod
    def _sure(stage: exits.Stage, x: Tensor) -> Answer | None:
        """Return an exit's answer if its confidence reaches its threshold; NaN reaches none."""
        assert stage.head is not None
        answer = answer_of(stage.head(x).cpu().numpy()[0])
        return answer if answer.confidence >= stage.threshold else None

    def _tail(self, cut: int, x: Tensor) -> Logits:
        logits: Logits = self.piece(cut, len(self.cuts) - 1)(x).cpu().numpy()[0]
        return logits

    def _check(self, frame: Frame) -> None:
        if frame.shape != (*self.input_size, 3) or frame.dtype != np.uint8:
            raise LocalProtocolError(
                f"a frame is uint8 {(*self.input_size, 3)}, not {frame.dtype} {frame.shape}"
            )

    def _decode(
        self, cut: int, codec: str, dtype: str, shape: tuple[int, ...], payload: Payload
    ) -> npt.NDArray[Any]:
        if not any(arm.cut == cut and arm.codec == codec and codec != NO_CODEC for arm in self.arms):
            raise RemoteProtocolError("foreign", f"{self.name} has no cut {cut} with codec {codec[:32]!r}")
        expected = (*self.input_size, 3) if self.codecs[codec].encodes_frames else self.cuts[cut].shape
        if shape != expected:
            raise RemoteProtocolError("tensor", f"shape {shape[:8]} where {expected} crosses")
        return self.codecs[codec].decode(payload, dtype, shape)

    @contextmanager
    def _torch(self) -> Iterator[None]:
        """Run torch here: without gradients, and with this model's number of threads."""
        # OpenMP keeps the number of threads per calling thread, so saying it once at the start is not enough.
        if getattr(self._bound, "threads", None) != self._threads:
            torch.set_num_threads(self._threads)
            self._bound.threads = self._threads
        with torch.inference_mode():
            yield


def build(
    network: Network,
    *,
    codecs: Sequence[str] | None = None,
    bottlenecks: Sequence[BottleneckCodec] = (),
    threads: int = 1,
    device: str = "cpu",
) -> PartitionedModel:
    """Return the network ready to be cut.

    Args:
        network: of `partition.zoo.load_model`; it is moved to `device`, its weights are not copied.
        codecs: names in `partition.codecs.CODECS`; None is all. Devices and edge must be given the same, or
            their schemas differ.
        bottlenecks: of `partition.bottleneck.load`, each an arm at its own cut; the same for both sides too.
            Those trained for another network are left out.
        threads: torch's threads, for each thread that calls.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.

    Raises:
        ConfigurationError: network that cannot be cut, unknown codec, the same bottleneck twice,
            threads < 1, no such device.
    """
    if threads < 1:
        raise ConfigurationError(f"threads must be at least 1, not {threads}")
    chosen = choose_codecs(CODECS, codecs)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in {"cpu", "cuda"} or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigurationError(f"torch has no device {device!r} here: choose cpu or auto")
    return PartitionedModel(network, chosen, tuple(bottlenecks), threads, torch.device(device))


def _cuts(frontiers: Sequence[Frontier]) -> tuple[Cut, ...]:
    last = len(frontiers) - 1
    names = {0: "input", last: "end"}
    return tuple(
        Cut(i, names.get(i) or (f.modules or (f.node,))[0], f.shape, f.dtype, math.prod(f.shape))
        for i, f in enumerate(frontiers)
    )


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """Return a decoded array as a tensor of aligned memory of its own; copies only where it must.

    torch takes writable memory only, and received bytes are neither writable nor aligned.
    """
    if array.flags.writeable and array.ctypes.data % ALIGNMENT_BYTES == 0:
        return torch.from_numpy(array)
    tensor = torch.empty(array.shape, dtype=torch.float32)
    np.copyto(tensor.numpy(), array)
    return tensor
