"""Which topics a topic filter matches (MQTT 5, section 4.7).

A filter may be a whole topic, hold `+` for one level and end in `#` for any number of levels, none
included. Wildcards never match a first level that begins with `$` (section 4.7.2).
"""

from collections.abc import Iterable

from bus.errors import ConfigurationError, LocalProtocolError


def require_filter(topic_filter: str) -> str:
    """Return the filter.

    Raises:
        LocalProtocolError: if it is none.
    """
    *inner, last = topic_filter.split("/")
    wild = [level for level in (*inner, last) if ("+" in level or "#" in level) and len(level) > 1]
    if not topic_filter or wild or "#" in inner:
        raise LocalProtocolError(f"{topic_filter!r} is no topic filter: + and # stand alone, # stands last")
    return topic_filter


def require_filters(topic_filters: Iterable[str]) -> None:
    """Make sure that what a person has given are filters.

    Raises:
        ConfigurationError: one is none.
    """
    for each in topic_filters:
        try:
            require_filter(each)
        except LocalProtocolError as error:
            raise ConfigurationError(str(error)) from None


def require_topic(topic: str) -> str:
    """Return the topic.

    Raises:
        LocalProtocolError: if it is empty or holds a wildcard.
    """
    if not topic or "+" in topic or "#" in topic:
        raise LocalProtocolError(f"cannot publish to {topic!r}: a topic has no wildcards")
    return topic


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a message on `topic` goes to a subscriber of `topic_filter`."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    levels = topic.split("/")
    wanted = topic_filter.split("/")
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index >= len(levels) or want not in {"+", levels[index]}:
            return False
    return len(wanted) == len(levels)
