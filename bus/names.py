"""Which words may name a device, a type, a role or a model on the bus.

A name becomes a topic level, a client id, a certificate's common name and a file name, so it holds
no separator and no wildcard of any of these, and stays short enough for a client id.
"""

import re

from bus.errors import ConfigurationError

# \Z, not $: that would let a line feed through at the end.
NAME_PATTERN = r"\A[a-z0-9][a-z0-9_.-]{0,47}\Z"
_NAME = re.compile(NAME_PATTERN)


def is_name(word: str) -> bool:
    """Whether `word` may be used as a level of a topic."""
    return _NAME.fullmatch(word) is not None


def require_name(word: str, what: str) -> str:
    """Return `word`, or say what a name may look like.

    Args:
        word: the name a person chose.
        what: what it names, for the sentence ("device id").

    Raises:
        ConfigurationError: if it is not a name.
    """
    if not is_name(word):
        raise ConfigurationError(
            f"{what} {word!r} will not do: use 1 to 48 of a-z, 0-9, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    return word
