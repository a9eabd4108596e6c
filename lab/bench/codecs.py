"""Codec throughput, MB of the uncompressed array a second, each way; and what comes out.

Libraries do the work, so a codec may take 1.1 times what a plain call of its library takes. Decoding float32
must not copy, and int8 must make no more than the levels and the result.

`python -m lab.bench.codecs` prints the cost of every kind of codec relative to int8 + zstd: the numbers that
codecs state as `encode_work` and `decode_work`.
"""

import io
import statistics
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import lz4.block
import numpy as np
import numpy.typing as npt
import zstandard
from PIL import Image

from lab.bench.rows import Row, alternate, median_ratio
from partition.codecs import Codec, resolve
from partition.images import MovingCrops

Array = npt.NDArray[Any]

_SIZE = (224, 224)
_SHAPE = (1, 32, 56, 56)
# Against libraries: large enough that throughput is compared, not the microseconds that a call of ours adds,
# which have a row of their own.
_LARGE = (1, 64, 112, 112)
_SMALL = (1, 32)
_LIMIT = 1.1
_COSTS = (
    *("int8-zstd", "float32", "float16", "bfloat16", "int8", "int8-channel", "int4", "int4-channel"),
    *("sparse-float32", "sparse-int8", "topk1-float32", "topk10-float32", "topk50-float32"),
    *("int8-zstd3", "int8-zstd9", "int8-zstd19", "int8-lz4", "int4-zstd1", "float32-zstd1", "float32-lz4"),
    *("float32-shuffle-zstd1", "float32-shuffle-lz4", "exact"),
    *("uint8", "jpeg", "jpeg50", "jpeg95", "webp50", "webp80", "webp95", "webp-lossless", "png"),
)


def run(*, quick: bool) -> Iterator[Row]:
    """Measure codecs on an activation-like tensor, and on a photograph."""
    rounds = 20 if quick else 200
    activation, frame = _activation(), MovingCrops(1, _SIZE).frame(0)
    for name in ("int8-zstd", "int4-channel-zstd3", "sparse-int8-zstd1"):
        yield from _speed(resolve(name), activation, rounds)
    for name in ("jpeg", "webp80"):
        yield from _speed(resolve(name), frame, rounds)
    compressor, opener = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
    large = _activation(_LARGE)
    size = large.nbytes
    yield from _against(
        "float32-zstd1", large, lambda array: compressor.compress(array.data), opener.decompress, rounds
    )
    yield from _against(
        "float32-lz4",
        large,
        lambda array: lz4.block.compress(array, store_size=False),
        lambda payload: lz4.block.decompress(payload, uncompressed_size=size),
        rounds,
    )
    yield from _against("jpeg75", frame, lambda array: _save(array, "JPEG", quality=75), _open, rounds)
    slow = max(5, rounds // 5)
    yield from _against(
        "webp80", frame, lambda array: _save(array, "WEBP", quality=80, method=2), _open, slow
    )
    yield from _against("png", frame, lambda array: _save(array, "PNG", compress_level=1), _open, slow)
    times = alternate(_both_ways(resolve("int8-zstd"), _activation(_SMALL)), rounds=rounds)
    yield Row("int8-zstd: encode 32 elements", statistics.median(times[0]) * 1e6, "us")
    yield Row("int8-zstd: decode 32 elements", statistics.median(times[1]) * 1e6, "us")
    yield Row("float32: decode allocates / array", _allocated("float32", activation), "ratio", 0.01)
    # A quarter for the levels, and small objects.
    yield Row("int8: decode allocates / array", _allocated("int8", activation), "ratio", 1.27)


def costs(rounds: int) -> Iterator[tuple[str, float, float]]:
    """Yield (codec, cost of encoding, of decoding an element), int8-zstd being 1; all timed in turn."""
    activation, frame = _activation(), MovingCrops(1, _SIZE).frame(0)
    subjects: list[Callable[[], object]] = []
    sizes = []
    for name in _COSTS:
        codec = resolve(name)
        array = frame if codec.encodes_frames else activation
        sizes.append(array.size)
        subjects += _both_ways(codec, array)
    medians = [statistics.median(times) for times in alternate(subjects, rounds=rounds)]
    encode = np.array(medians[::2]) / sizes
    decode = np.array(medians[1::2]) / sizes
    for at, name in enumerate(_COSTS):
        yield name, float(encode[at] / encode[0]), float(decode[at] / decode[0])


def _activation(shape: tuple[int, ...] = _SHAPE) -> Array:
    """Rectified, and smooth along the image: half zeros and neighbours alike, as after a ReLU."""
    noise = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    activation: Array = np.maximum(noise + np.roll(noise, 1, axis=-1), 0.0).astype(np.float32)
    return activation


def _both_ways(codec: Codec, array: Array) -> tuple[Callable[[], object], Callable[[], object]]:
    encoded = codec.encode(array)
    return (
        lambda: codec.encode(array),
        lambda: codec.decode(encoded.payload, encoded.dtype, encoded.shape),
    )


def _speed(codec: Codec, array: Array, rounds: int) -> Iterator[Row]:
    times = alternate(_both_ways(codec, array), rounds=rounds)
    megabytes = array.nbytes / 1e6
    yield Row(f"{codec.name}: encode", megabytes / statistics.median(times[0]), "MB/s")
    yield Row(f"{codec.name}: decode", megabytes / statistics.median(times[1]), "MB/s")
    ratio = codec.encode(array).payload_bytes / array.nbytes
    yield Row(f"{codec.name}: encoded / array", ratio, "ratio")


def _against(
    name: str, array: Array, plain: Callable[[Array], bytes], back: Callable[[bytes], object], rounds: int
) -> Iterator[Row]:
    """Time a codec in turn with the calls of its library that do the same."""
    encode, decode = _both_ways(resolve(name), array)
    payload = plain(array)
    times = alternate([encode, lambda: plain(array), decode, lambda: back(payload)], rounds=rounds)
    yield Row(f"{name}: encode / its library", median_ratio(times[0], times[1]), "ratio", _LIMIT)
    yield Row(f"{name}: decode / its library", median_ratio(times[2], times[3]), "ratio", _LIMIT)


def _save(array: Array, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def _open(payload: bytes) -> Array:
    with Image.open(io.BytesIO(payload)) as image:
        return np.asarray(image)


def _allocated(name: str, array: Array) -> float:
    """Bytes that decoding allocates at its peak, over those of the array."""
    _, decode = _both_ways(resolve(name), array)
    decode()
    tracemalloc.start()
    decode()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / array.nbytes


if __name__ == "__main__":
    for line in costs(40):
        print("{:<24}{:>9.2f}{:>9.2f}".format(*line))
