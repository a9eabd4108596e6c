"""Codec throughput, MB of the uncompressed array a second, each way; and what comes out."""

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.bench.rows import Row, alternate
from partition.codecs import CODECS
from partition.images import MovingCrops

_SIZE = (224, 224)
_SHAPE = (1, 32, 56, 56)


def run(*, quick: bool) -> Iterator[Row]:
    """Measure int8 + zstd on an activation-like tensor, JPEG on a photograph."""
    rounds = 20 if quick else 200
    # Rectified, and smooth along the image: half zeros and neighbours alike, as after a ReLU.
    noise = np.random.default_rng(5).normal(size=_SHAPE).astype(np.float32)
    activation = np.maximum(noise + np.roll(noise, 1, axis=3), 0.0).astype(np.float32)
    yield from _codec("int8-zstd", activation, rounds)
    yield from _codec("jpeg", MovingCrops(1, _SIZE).frame(0), rounds)


def _codec(name: str, array: npt.NDArray[Any], rounds: int) -> Iterator[Row]:
    codec = CODECS[name]
    encoded = codec.encode(array)

    def decode() -> None:
        codec.decode(encoded.payload, encoded.dtype, encoded.shape)

    times = alternate([lambda: codec.encode(array), decode], rounds=rounds)
    megabytes = array.nbytes / 1e6
    yield Row(f"{name}: encode", megabytes / statistics.median(times[0]), "MB/s")
    yield Row(f"{name}: decode", megabytes / statistics.median(times[1]), "MB/s")
    yield Row(f"{name}: encoded / array", encoded.payload_bytes / array.nbytes, "ratio")
