"""Every family of codecs: what it loses, what it refuses, and what hostile bytes can do to it: nothing."""

import io
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import lz4.block
import numpy as np
import numpy.typing as npt
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bus.errors import LocalProtocolError, RemoteProtocolError
from bus.tensors import DTYPES
from partition.codecs import CODECS, FAMILIES, Codec, resolve
from partition.images import Frame

Array = npt.NDArray[Any]
NAMES = [*CODECS, *(name for family in FAMILIES for name in family.examples)]
NUMBERS = [name for name in NAMES if resolve(name).encodes_activations]
FRAMES = [name for name in NAMES if resolve(name).encodes_frames]
EXACT = [name for name in NAMES if resolve(name).dtype == "any"]
FLOATS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=6, max_side=4),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)


def there_and_back(codec: Codec, array: Array) -> Array:
    encoded = codec.encode(array)
    assert encoded.shape == array.shape
    if codec not in ONLY_EXPECTED:
        assert encoded.payload_bytes <= codec.estimate(array.shape)
    return codec.decode(bytes(encoded.payload), encoded.dtype, encoded.shape)


# Their estimate is the mean of photographs; every other one is a bound.
ONLY_EXPECTED = [resolve(name) for name in FRAMES if name.startswith(("jpeg", "webp")) and name[-1] != "s"]


def sample(codec: Codec) -> Array:
    """Something the codec takes, half of it zeros."""
    rng = np.random.default_rng(1)
    if codec.encodes_frames:
        frame: Array = rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)
        return frame
    array: Array = np.maximum(rng.normal(size=(1, 8, 5, 5)), 0.0).astype(np.float32)
    return array


def bound(name: str, array: Array) -> Array:
    """The largest error that a format may make in each element, in float64."""
    exact = array.astype(np.float64)
    size: Array = np.abs(exact)
    form = name.removeprefix("sparse-")
    if form.startswith("float32"):
        return size - size
    if form.startswith("float16"):
        # Half a unit in the last of 11 places; subnormal below 2^-14; clipped above.
        half: Array = np.maximum(np.maximum(size * 2.0**-11, 2.0**-25), size - 65504)
        return half
    if form.startswith("bfloat16"):
        brief: Array = np.maximum(size * 2.0**-8, 1e-40)
        return brief
    levels = 255 if form.startswith("int8") else 15
    spread = np.full(array.shape, exact.max() - exact.min())
    if "channel" in form and array.ndim > 1:
        axes = tuple(axis for axis in range(array.ndim) if axis != 1)
        spread = np.broadcast_to(exact.max(axes, keepdims=True) - exact.min(axes, keepdims=True), array.shape)
    # The arithmetic is float32: some units in the last place of the largest value.
    error: Array = spread / levels / 2 * 1.001 + 1e-6 * size.max() + 1e-36
    return error


@pytest.mark.parametrize("name", [name for name in NUMBERS if not name.startswith("topk")])
@settings(max_examples=25, deadline=None)
@given(array=FLOATS)
@example(array=np.zeros((3, 2), np.float32))
@example(array=np.full(5, 7.5, np.float32))
@example(array=np.full((1, 3, 1), -(2.0**60), np.float32))
@example(array=np.array([[-0.0, 0.0, 1e-40]], np.float32))
def test_numbers_come_back_within_the_format_s_error(name: str, array: Array) -> None:
    codec = resolve(name)
    decoded = there_and_back(codec, array)
    assert decoded.dtype == np.float32
    assert decoded.shape == array.shape
    assert (np.abs(decoded.astype(np.float64) - array) <= bound(name, array)).all()
    if codec.lossless:
        assert decoded.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", [name for name in NUMBERS if name.startswith("topk")])
@settings(max_examples=25, deadline=None)
@given(array=FLOATS)
@example(array=np.zeros((3, 2), np.float32))
@example(array=np.full(5, 7.5, np.float32))
def test_top_k_keeps_the_largest_and_nothing_else(name: str, array: Array) -> None:
    percent, inner = name.removeprefix("topk").split("-", 1)
    kept = -(-array.size * int(percent) // 100)
    codec = resolve(name)
    array = np.clip(array, -codec.limits.largest, codec.limits.largest)
    decoded = there_and_back(codec, array).astype(np.float64)
    assert np.count_nonzero(decoded) <= kept
    smallest = np.sort(np.abs(array).astype(np.float64), axis=None)[-kept]
    error = np.abs(decoded - array)
    near = bound(inner, array)
    # The grid of int8 and int4 spans the kept values only, whose spread is not more than that of all.
    assert (error[np.abs(array) > smallest] <= near[np.abs(array) > smallest]).all()
    assert (error <= smallest + near).all()


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=40, deadline=None)
@given(
    array=st.sampled_from(list(DTYPES.values())).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=6, max_side=4))
    )
)
def test_exact_keeps_every_bit_of_every_dtype(name: str, array: Array) -> None:
    decoded = there_and_back(resolve(name), array)
    assert (decoded.dtype, decoded.shape) == (array.dtype, array.shape)
    assert decoded.tobytes() == array.tobytes()
    assert not decoded.flags.writeable


def test_exact_takes_what_crosses_only_and_reads_bools_and_bits() -> None:
    codec = resolve("exact-zstd3")
    wrong: list[Array] = [np.zeros(3, np.complex64), np.array(["a"], object), np.zeros(0, np.int64)]
    wrong.append(np.array(3))
    for array in wrong:
        with pytest.raises(LocalProtocolError, match="does not take"):
            codec.encode(array)
    encoded = codec.encode(np.array([2], np.uint8))
    with pytest.raises(RemoteProtocolError, match="0 or 1"):
        codec.decode(encoded.payload, "bool", (1,))
    with pytest.raises(RemoteProtocolError, match="is not one of"):
        codec.decode(encoded.payload, "object", (1,))
    bits = codec.encode(np.array([0x3F80], np.uint16))
    assert codec.decode(bits.payload, "bfloat16", (1,)).tolist() == [0x3F80]


def test_a_channel_is_axis_1_so_that_a_large_one_does_not_blur_a_small_one() -> None:
    array = np.ones((2, 3, 4), np.float32) * np.array([1.0, 100.0, 10_000.0], np.float32)[:, None]
    array[..., ::2] *= np.float32(0.3)
    for form, levels in (("int8", 255), ("int4", 15)):
        error = np.abs(there_and_back(resolve(f"{form}-channel"), array) - array)
        assert (error.max(axis=(0, 2)) <= np.array([0.7, 70.0, 7000.0]) / levels / 2 * 1.001).all()
        one = resolve(form).encode(array[0, 0])
        assert bytes(resolve(f"{form}-channel").encode(array[0, 0]).payload) == bytes(one.payload)


@pytest.mark.parametrize("name", NUMBERS)
def test_zeros_of_a_rectified_tensor_stay_zeros(name: str) -> None:
    array = sample(resolve(name))
    assert not there_and_back(resolve(name), array)[array == 0.0].any()


@pytest.mark.parametrize("name", NAMES)
def test_an_array_need_not_be_contiguous_nor_writable(name: str) -> None:
    codec = resolve(name)
    array = sample(codec)
    strange = np.asfortranarray(array)[:, ::-1]
    plain = np.ascontiguousarray(strange)
    strange.flags.writeable = False
    assert bytes(codec.encode(strange).payload) == bytes(codec.encode(plain).payload)
    plain.flags.writeable = False
    assert bytes(codec.encode(strange).payload) == bytes(codec.encode(plain).payload)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_and_the_wrong_thing_are_refused(name: str) -> None:
    codec = resolve(name)
    wrong: list[Array] = [
        np.zeros((0, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(3, np.complex64),
    ]
    for array in (*wrong, np.zeros((1,) * 7, np.float32)):
        with pytest.raises(LocalProtocolError, match="take"):
            codec.encode(array)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
def test_what_a_codec_says_of_its_limits_is_so(name: str, value: float) -> None:
    codec = resolve(name)
    array = np.array([[1.0, value, 0.0]], np.float32)
    if codec.limits.beyond == "refused" and not abs(value) <= codec.limits.largest:
        with pytest.raises(LocalProtocolError, match="activation with NaN"):
            codec.encode(array)
        return
    decoded = there_and_back(codec, array)
    if codec.limits.beyond == "kept":
        assert np.array_equal(decoded, array, equal_nan=True)
    elif not np.isnan(value):
        assert np.isfinite(decoded).all()
        assert np.abs(decoded).max() <= codec.limits.largest


@pytest.mark.parametrize("name", NAMES)
def test_decoding_allocates_no_more_than_the_codec_says(name: str) -> None:
    codec = resolve(name)
    rng = np.random.default_rng(2)
    array: Array = rng.normal(size=(4, 64, 256)).astype(np.float32)
    if codec.encodes_frames:
        array = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
    encoded = codec.encode(array.astype(np.float64) if codec.dtype == "any" else array)
    payload = bytes(encoded.payload)
    codec.decode(payload, encoded.dtype, encoded.shape)
    tracemalloc.start()
    codec.decode(payload, encoded.dtype, encoded.shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The file of an image is copied once; numpy's own buffers, and small objects.
    slack = 49_152 + len(payload) * codec.encodes_frames
    assert peak <= codec.limits.expansion * array.size + slack


@settings(max_examples=600, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    payload=st.binary(max_size=400),
    shape=st.lists(st.integers(-1, 40), max_size=7),
)
def test_random_bytes_raise_one_error_or_give_the_announced_shape(
    name: str, payload: bytes, shape: list[int]
) -> None:
    codec = resolve(name)
    try:
        array = codec.decode(payload, "int64" if codec.dtype == "any" else codec.dtype, tuple(shape))
    except RemoteProtocolError:
        return
    assert array.shape == tuple(shape)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_flipped_bits_and_lost_ends_raise_one_error_or_give_the_shape(name: str, data: st.DataObject) -> None:
    codec = resolve(name)
    encoded = codec.encode(sample(codec))
    damaged = bytearray(encoded.payload)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        array = codec.decode(memoryview(damaged), encoded.dtype, encoded.shape)
    except RemoteProtocolError:
        return
    assert array.shape == encoded.shape


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_and_every_trailing_byte_is_refused(name: str) -> None:
    codec = resolve(name)
    encoded = codec.encode(sample(codec))
    payload = bytes(encoded.payload)
    wrong = [payload[:end] for end in range(0, len(payload), max(1, len(payload) // 50))]
    wrong += [payload[:-1], payload + b"\0", payload + payload, payload + b"\xff\xd9", payload + bytes(1000)]
    for bad in wrong:
        with pytest.raises(RemoteProtocolError) as caught:
            codec.decode(bad, encoded.dtype, encoded.shape)
        assert caught.value.fault == "tensor"


@pytest.mark.parametrize("name", NAMES)
def test_another_shape_or_dtype_than_was_encoded_is_refused(name: str) -> None:
    codec = resolve(name)
    encoded = codec.encode(sample(codec))
    shape = encoded.shape
    others = [(*shape[:-1], shape[-1] + 1), (1 << 20, 1 << 20, 3), (*shape[:-1], 0), (), (1,) * 7, (2**24, 1)]
    for other in others:
        with pytest.raises(RemoteProtocolError) as caught:
            codec.decode(encoded.payload, encoded.dtype, other)
        assert caught.value.fault == "tensor"
    with pytest.raises(RemoteProtocolError, match=r"carries|is not one of"):
        codec.decode(encoded.payload, "float64" if codec.dtype != "any" else "complex64", shape)


@pytest.mark.parametrize("name", [name for name in NUMBERS + EXACT if "zstd" in name or "lz4" in name])
def test_a_bomb_is_refused_before_it_is_opened(name: str) -> None:
    codec = resolve(name)
    array = sample(codec)
    zeros = bytes(1 << 26)
    bombs = [zstandard.compress(zeros), lz4.block.compress(zeros, store_size=False)]
    bombs.append(zstandard.ZstdCompressor(write_content_size=False).compress(zeros))
    # A header that is right: what the codec itself writes before the first compressed byte.
    encoded = codec.encode(array)
    header = bytes(encoded.payload).find(b"\x28\xb5\x2f\xfd") if "zstd" in name else 0
    tracemalloc.start()
    for bomb in bombs:
        for prefix in (b"", bytes(encoded.payload)[:header], bytes(encoded.payload)[:8]):
            with pytest.raises(RemoteProtocolError):
                codec.decode(prefix + bomb, encoded.dtype, encoded.shape)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(bombs[1]) + 100_000


@pytest.mark.parametrize("name", [name for name in FRAMES if resolve(name).lossless])
def test_lossless_frames_keep_every_pixel(name: str, frame: Frame) -> None:
    for array in (frame, sample(resolve(name))):
        assert np.array_equal(there_and_back(resolve(name), array), array)


def test_quality_buys_likeness_with_bytes(frame: Frame) -> None:
    for family in ("jpeg", "webp"):
        sizes, errors = [], []
        for quality in (5, 50, 95):
            codec = resolve(f"{family}{quality}")
            encoded = codec.encode(frame)
            decoded = codec.decode(encoded.payload, encoded.dtype, encoded.shape)
            sizes.append(encoded.payload_bytes)
            errors.append(float(np.abs(decoded.astype(float) - frame).mean()))
            # An expectation for photographs, right to a factor.
            assert 0.3 < encoded.payload_bytes / codec.estimate(frame.shape) < 3.0
        assert sizes == sorted(sizes)
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 3.0


def _file(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def _images(frame: Frame) -> Iterator[bytes]:
    """Files that Pillow opens, and no codec may."""
    image = Image.fromarray(frame)
    yield _file(image, format="JPEG", progressive=True)
    yield _file(image, format="GIF")
    yield _file(image, format="BMP")
    for kind in ("JPEG", "PNG"):
        yield _file(image.convert("L"), format=kind)
    yield _file(image.convert("CMYK"), format="JPEG")
    yield _file(image.convert("RGBA"), format="PNG")
    yield _file(image.convert("P"), format="PNG")
    yield _file(image, format="WEBP", save_all=True, append_images=[image.rotate(90)])
    yield _file(image, format="PNG", save_all=True, append_images=[image.rotate(90)])
    yield _file(image, format="WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    yield _file(image, format="PNG", icc_profile=bytes(1000))
    image.putalpha(128)
    yield _file(image, format="WEBP", lossless=True)


@pytest.mark.parametrize("name", [name for name in FRAMES if name != "uint8"])
def test_other_files_than_encode_writes_are_refused(name: str) -> None:
    codec = resolve(name)
    array = sample(codec)
    for payload in _images(array):
        with pytest.raises(RemoteProtocolError) as caught:
            codec.decode(payload, "uint8", array.shape)
        assert caught.value.fault == "tensor"


def test_sizes_in_headers_are_compared_before_pixels_are_decoded() -> None:
    array = sample(resolve("png"))
    for name in ("webp80", "webp-lossless", "png", "jpeg75"):
        payload = bytearray(resolve(name).encode(array).payload)
        match name:
            case "webp80":
                struct.pack_into("<HH", payload, 26, 16383, 16383)
            case "webp-lossless":
                struct.pack_into("<I", payload, 21, 16382 | 16382 << 14)
            case "png":
                struct.pack_into(">II", payload, 16, 30_000, 30_000)
            case _:
                struct.pack_into(">HH", payload, payload.index(b"\xff\xc0") + 5, 65_000, 65_000)
        with pytest.raises(RemoteProtocolError, match="announced shape"):
            resolve(name).decode(bytes(payload), "uint8", array.shape)


def test_a_frame_larger_than_a_format_holds_is_refused_in_a_sentence() -> None:
    with pytest.raises(LocalProtocolError, match="cannot hold a frame"):
        resolve("webp80").encode(np.zeros((1, 16_384, 3), np.uint8))


@pytest.mark.parametrize("scans", [2, 500])
def test_a_jpeg_of_many_scans_is_refused(scans: int) -> None:
    codec = resolve("jpeg75")
    array = sample(codec)
    payload = bytes(codec.encode(array).payload)
    scan = payload[payload.index(b"\xff\xda") : -2]
    with pytest.raises(RemoteProtocolError, match="one scan"):
        codec.decode(payload[:-2] + scan * (scans - 1) + b"\xff\xd9", "uint8", array.shape)


def test_sparse_and_top_k_refuse_headers_bits_and_indices_that_cannot_be() -> None:
    sparse, topk = resolve("sparse-float32"), resolve("topk50-float32")
    one = struct.pack("<f", 1.0)
    assert sparse.decode(struct.pack("<I", 1) + b"\x02" + one, "float32", (3,)).tolist() == [0.0, 1.0, 0.0]
    for payload in (
        struct.pack("<I", 4) + b"\x07" + one * 4,
        struct.pack("<I", 1) + b"\x03" + one,
        struct.pack("<I", 1) + b"\x08" + one,
        struct.pack("<I", 2) + b"\x0a" + one * 2,
        struct.pack("<I", 0) + b"\x01",
    ):
        with pytest.raises(RemoteProtocolError):
            sparse.decode(payload, "float32", (3,))
    assert topk.decode(struct.pack("<II", 1, 2) + one * 2, "float32", (4,)).tolist() == [0.0, 1.0, 0.0, 1.0]
    for indices in ((1, 0), (1, 3), (4, 1), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(RemoteProtocolError, match="indices"):
            topk.decode(struct.pack("<II", *indices) + one * 2, "float32", (4,))


def test_an_odd_half_byte_must_be_zero() -> None:
    payload = struct.pack("<ff", 1.0, 0.0) + b"\x21\x03"
    codec = resolve("int4")
    assert codec.decode(payload, "uint8", (3,)).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(RemoteProtocolError, match="half byte"):
        codec.decode(payload[:-1] + b"\x13", "uint8", (3,))


@pytest.mark.parametrize("name", [name for name in NUMBERS if name.startswith(("int8", "int4"))])
def test_steps_and_offsets_out_of_bounds_are_refused(name: str) -> None:
    codec = resolve(name)
    payload = bytes(codec.encode(sample(codec)[0, :1].reshape(1, 1, 25)).payload)
    for step, low in ((0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, np.nan), (1.0, -np.inf), (1e38, 0.0)):
        with pytest.raises(RemoteProtocolError, match="out of bounds"):
            codec.decode(struct.pack("<ff", step, low) + payload[8:], codec.dtype, (1, 1, 25))


def test_float32_is_a_view_of_what_was_received() -> None:
    received = bytearray(8)
    array = resolve("float32").decode(received, "float32", (2,))
    received[4:] = struct.pack("<f", 2.5)
    assert array.tolist() == [0.0, 2.5]
