import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigurationError
from bus.names import is_name, require_name


@pytest.mark.parametrize("word", ["a", "cam-1", "pi4", "a.b_c-d", "0", "a" * 48])
def test_names(word: str) -> None:
    assert is_name(word)
    assert require_name(word, "device id") == word


@pytest.mark.parametrize(
    "word", ["", "A", "a/b", "+", "#", "$sys", "-a", "a b", "a" * 49, "é", "a\n", "a\x00"]
)
def test_what_is_no_name_is_refused_with_a_sentence(word: str) -> None:
    assert not is_name(word)
    with pytest.raises(ConfigurationError, match=r"device id .* will not do: use 1 to 48"):
        require_name(word, "device id")


@given(st.text(max_size=60))
def test_no_name_holds_a_separator_or_a_wildcard(word: str) -> None:
    assert not (is_name(word) and set(word) & set("/+#\x00$ \n"))
