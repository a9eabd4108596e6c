import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from bus.errors import LocalProtocolError
from bus.filters import matches, require_filter, require_topic

_LEVEL = st.sampled_from(["a", "b", "", "$s"])
_TOPICS = st.lists(_LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
_FILTERS = (
    st.tuples(st.lists(st.sampled_from(["a", "b", "", "+"]), max_size=4), st.sampled_from(["#", "+", "a"]))
    .map(lambda parts: "/".join((*parts[0], parts[1])))
    .filter(bool)
)


@given(_FILTERS, _TOPICS)
def test_matches_agrees_with_the_reference_library(topic_filter: str, topic: str) -> None:
    assert matches(require_filter(topic_filter), topic) == topic_matches_sub(topic_filter, topic)


@pytest.mark.parametrize("text", ["", "a#", "#/a", "a/+b", "a/#/b", "++"])
def test_what_is_no_filter_is_our_own_mistake(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        require_filter(text)


@pytest.mark.parametrize("text", ["", "a/+", "#"])
def test_what_is_no_topic_is_our_own_mistake(text: str) -> None:
    with pytest.raises(LocalProtocolError):
        require_topic(text)
    assert require_topic("a/b") == "a/b"
