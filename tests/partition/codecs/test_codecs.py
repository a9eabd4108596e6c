"""Round trips, bounds of loss, and decoders on hostile bytes."""

import io
import struct

import numpy as np
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bus.errors import LocalProtocolError, RemoteProtocolError
from partition.codecs import CODECS
from partition.images import Frame

FLOATS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)
ACTIVATION = [name for name, codec in CODECS.items() if codec.encodes_activations]


@given(FLOATS)
def test_float32_comes_back_as_it_was(array: np.ndarray) -> None:
    codec = CODECS["float32"]
    encoded = codec.encode(array)
    assert np.array_equal(codec.decode(encoded.payload, encoded.dtype, encoded.shape), array)


@given(FLOATS)
def test_float16_rounds_and_clips(array: np.ndarray) -> None:
    codec = CODECS["float16"]
    encoded = codec.encode(array)
    decoded = codec.decode(bytes(encoded.payload), encoded.dtype, encoded.shape)
    clipped = np.clip(array, -65504, 65504)
    assert np.array_equal(decoded, clipped.astype(np.float16).astype(np.float32))
    assert encoded.payload_bytes == 2 * array.size


@given(FLOATS)
@example(np.zeros((3, 2), np.float32))
@example(np.full(4, 7.5, np.float32))
def test_int8_errs_by_half_a_step_and_keeps_the_smallest_value(array: np.ndarray) -> None:
    codec = CODECS["int8-zstd"]
    encoded = codec.encode(array)
    decoded = codec.decode(encoded.payload, encoded.dtype, encoded.shape)
    assert decoded.dtype == np.float32
    spread = float(array.max()) - float(array.min())
    slack = 1e-5 * float(np.abs(array).max())
    assert np.abs(decoded.astype(float) - array).max() <= spread / 510 * 1.001 + slack
    assert decoded.min() == array.min()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e31])
def test_int8_refuses_what_it_cannot_hold(value: float) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be quantised"):
        CODECS["int8-zstd"].encode(np.array([0.0, value], np.float32))


def test_uint8_is_the_frame_and_jpeg_is_near_it(frame: Frame) -> None:
    for name, worst in (("uint8", 0.0), ("jpeg", 4.0)):
        codec = CODECS[name]
        encoded = codec.encode(frame)
        decoded = codec.decode(encoded.payload, encoded.dtype, encoded.shape)
        assert decoded.dtype == np.uint8
        assert np.abs(decoded.astype(float) - frame).mean() <= worst
    assert 4_000 < encoded.payload_bytes < 30_000


@pytest.mark.parametrize("name", CODECS)
def test_another_dtype_than_the_codec_s_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError, match="carries"):
        CODECS[name].decode(b"12345678", "float64", (1,))


@settings(max_examples=400)
@given(
    name=st.sampled_from(list(CODECS)),
    payload=st.binary(max_size=400),
    shape=st.lists(st.integers(-1, 40), max_size=5),
)
def test_random_bytes_raise_one_error_or_give_the_announced_shape(
    name: str, payload: bytes, shape: list[int]
) -> None:
    codec = CODECS[name]
    try:
        array = codec.decode(payload, codec.dtype, tuple(shape))
    except RemoteProtocolError:
        return
    assert array.shape == tuple(shape)


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(["int8-zstd", "jpeg"]))
def test_damaged_payloads_raise_one_error_or_give_the_announced_shape(data: st.DataObject, name: str) -> None:
    codec = CODECS[name]
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)
    encoded = codec.encode(whole if codec.encodes_frames else whole.astype(np.float32))
    damaged = bytearray(encoded.payload)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        array = codec.decode(memoryview(damaged), encoded.dtype, encoded.shape)
    except RemoteProtocolError:
        return
    assert array.shape == encoded.shape


def _int8(step: float, low: float, frame: bytes) -> bytes:
    return struct.pack("<ff", step, low) + frame


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        _int8(1.0, 0.0, b""),
        _int8(0.0, 0.0, zstandard.compress(bytes(16))),
        _int8(float("nan"), 0.0, zstandard.compress(bytes(16))),
        _int8(1.0, float("inf"), zstandard.compress(bytes(16))),
        _int8(1e38, 0.0, zstandard.compress(bytes(16))),
        _int8(1.0, 0.0, zstandard.compress(bytes(15))),
        _int8(1.0, 0.0, zstandard.compress(bytes(1 << 28))),
        _int8(1.0, 0.0, zstandard.compress(bytes(16)) + b"more"),
        _int8(1.0, 0.0, zstandard.ZstdCompressor(write_content_size=False).compress(bytes(16))),
        _int8(1.0, 0.0, zstandard.compress(bytes(16))[:-1]),
    ],
)
def test_int8_refuses_bombs_and_nonsense(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        CODECS["int8-zstd"].decode(payload, "int8", (4, 4))
    assert caught.value.fault == "tensor"


def _file(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def _with_size(jpeg: bytes, height: int, width: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def test_jpeg_refuses_bombs_and_other_formats(frame: Frame) -> None:
    image = Image.fromarray(frame)
    jpeg = _file(image, format="JPEG")
    assert CODECS["jpeg"].decode(jpeg, "uint8", frame.shape).shape == frame.shape
    for payload in (
        _with_size(jpeg, 65500, 65500),
        _with_size(jpeg, 12000, 9000),
        _file(image, format="JPEG", progressive=True),
        _file(image.convert("L"), format="JPEG"),
        _file(image.convert("CMYK"), format="JPEG"),
        _file(image, format="PNG"),
        jpeg[: len(jpeg) // 2],
        jpeg[:100],
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            CODECS["jpeg"].decode(payload, "uint8", frame.shape)
        assert caught.value.fault == "tensor"


def test_a_huge_announced_shape_is_refused_before_anything_is_allocated() -> None:
    for name, codec in CODECS.items():
        with pytest.raises(RemoteProtocolError, match="over the limit"):
            codec.decode(b"x" * 64, codec.dtype, (1 << 20, 1 << 20, 3))
        assert name
