"""What each arm costs this machine, timed: to emulate slower devices, and for rivals that know theirs."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from partition.arms import Arm
from partition.codecs import CODECS
from partition.images import MovingCrops
from partition.partitioned import PartitionedModel
from partition.preprocessing import normalise


@dataclass(frozen=True, slots=True)
class Profile:
    """Medians in milliseconds on the machine that was profiled, without other load.

    Attributes:
        normalise_ms: from a frame to the network's input.
        head_ms: the network before each cut, preprocessing not included; 0 at the input.
        tail_ms: the network after each cut; 0 at the end.
        encode_ms: per arm.
        decode_ms: per arm.
    """

    normalise_ms: float
    head_ms: tuple[float, ...]
    tail_ms: tuple[float, ...]
    encode_ms: tuple[float, ...]
    decode_ms: tuple[float, ...]

    def device_ms(self, arm: Arm) -> float:
        """Return the device's part of an arm: preprocessing where it falls to the device, head, encoding."""
        return (
            self.head_ms[arm.cut]
            + self.encode_ms[arm.index]
            + (0.0 if _sends_frame(arm) else self.normalise_ms)
        )

    def edge_ms(self, arm: Arm) -> float:
        """Return the edge's part of an arm: decoding, preprocessing where it falls to the edge, tail."""
        return (
            self.tail_ms[arm.cut]
            + self.decode_ms[arm.index]
            + (self.normalise_ms if _sends_frame(arm) else 0.0)
        )


def profile(model: PartitionedModel, *, repeats: int = 20) -> Profile:
    """Time every piece between neighbouring cuts and every codec.

    Heads and tails are sums of the pieces: each piece is timed in the place where it runs, once a round, so a
    disturbance hits all pieces alike, and heads grow with the cut as they must.

    Args:
        model: is warmed up first.
        repeats: rounds; 20 take under a second for MobileNetV2.
    """
    model.warm_up()
    film = MovingCrops(0, model.input_size)
    pieces = np.zeros((repeats, len(model.cuts) - 1))
    normalising = np.zeros(repeats)
    codecs = np.zeros((2, repeats, len(model.arms)))
    for repeat in range(repeats):
        frame = film.frame(repeat * 13)
        with torch.inference_mode():
            started = time.perf_counter()
            x = normalise(frame).to(model.device)
            normalising[repeat] = time.perf_counter() - started
            for cut in range(len(model.cuts) - 1):
                for arm in model.arms:
                    if arm.cut == cut:
                        codec = model.codecs[arm.codec]
                        array = frame if codec.encodes_frames else x.cpu().numpy()
                        started = time.perf_counter()
                        encoded = codec.encode(array)
                        codecs[0, repeat, arm.index] = time.perf_counter() - started
                        started = time.perf_counter()
                        codec.decode(encoded.payload, encoded.dtype, encoded.shape)
                        codecs[1, repeat, arm.index] = time.perf_counter() - started
                piece = model.piece(cut, cut + 1)
                started = time.perf_counter()
                x = piece(x)
                if model.device.type == "cuda":
                    torch.cuda.synchronize(model.device)
                pieces[repeat, cut] = time.perf_counter() - started
    medians = np.median(pieces, axis=0) * 1e3
    heads = np.concatenate([[0.0], np.cumsum(medians)])
    encode_ms, decode_ms = np.median(codecs, axis=1) * 1e3
    return Profile(
        float(np.median(normalising)) * 1e3,
        tuple(heads.tolist()),
        tuple((heads[-1] - heads).tolist()),
        tuple(encode_ms.tolist()),
        tuple(decode_ms.tolist()),
    )


def _sends_frame(arm: Arm) -> bool:
    return arm.codec in CODECS and CODECS[arm.codec].encodes_frames
