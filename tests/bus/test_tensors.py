import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bus.errors import RemoteProtocolError
from bus.tensors import DTYPES, MAX_ELEMENTS, buffer_of, element_count, view


@given(
    hnp.arrays(dtype=st.sampled_from(list(DTYPES.values())), shape=hnp.array_shapes(max_dims=4, max_side=6))
)
def test_a_tensor_survives_the_wire_to_the_bit(array: np.ndarray) -> None:
    received = view(bytes(buffer_of(array)), array.dtype.name, array.shape)
    assert received.dtype == array.dtype
    assert received.tobytes() == array.tobytes()
    assert not received.flags.writeable


def test_bfloat16_is_carried_as_its_bits() -> None:
    assert view(b"\x80\x3f", "bfloat16", (1,)).tolist() == [0x3F80]


def test_a_bool_is_0_or_1() -> None:
    assert view(b"\0\1", "bool", (2,)).tolist() == [False, True]
    with pytest.raises(RemoteProtocolError, match="a bool must be 0 or 1"):
        view(b"\0\2", "bool", (2,))


def test_a_view_copies_nothing() -> None:
    payload = bytearray(8)
    array = view(payload, "uint8", (2, 4))
    payload[3] = 7
    assert array[0, 3] == 7
    contiguous = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(np.frombuffer(buffer_of(contiguous), np.float32), contiguous)


def test_a_transposed_array_is_sent_in_c_order() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3).T
    assert view(buffer_of(array), "uint8", (3, 2)).tolist() == array.tolist()


@pytest.mark.parametrize("dtype", ["object", "O", "complex64", "uint64", "", "float32 ", "a" * 1000])
def test_only_listed_dtypes_cross(dtype: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"tensor: dtype .* is not one of"):
        view(b"\0" * 8, dtype, (1,))


@pytest.mark.parametrize("shape", [(), (0,), (-1, 2), (1,) * 7])
def test_shapes_that_are_none(shape: tuple[int, ...]) -> None:
    with pytest.raises(RemoteProtocolError, match="a shape needs"):
        element_count(shape)


def test_a_huge_shape_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(RemoteProtocolError, match="over the limit"):
        element_count((2**31, 2**31, 2**31))
    assert element_count((MAX_ELEMENTS,)) == MAX_ELEMENTS


def test_bytes_must_be_shape_times_item_size() -> None:
    with pytest.raises(RemoteProtocolError, match="is 24 bytes, got 23"):
        view(b"\0" * 23, "float32", (2, 3))
