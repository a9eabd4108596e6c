"""A recording on the disk, opened; what is wrong with its name is one sentence."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus.errors import ConfigurationError
from bus.recording.reading import Recording, span_of
from bus.topics import DEFAULT_PREFIX


@contextmanager
def opened(path: Path, *, from_ns: int | None = None, tells: bool = True) -> Iterator[Recording]:
    """Open a recording.

    Args:
        path: of the file.
        from_ns: as `Recording` takes it.
        tells: say on standard error, at the end, that it was not whole; for who does not say so himself.

    Raises:
        ConfigurationError: no such file, or no recording.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    with stream:
        try:
            recording = Recording(stream, from_ns=from_ns)
        except ConfigurationError as error:
            raise ConfigurationError(f"cannot read {path}: {error}") from None
        yield recording
        if tells and recording.ending is not None and recording.ending.kind != "whole":
            ending = recording.ending
            left_out = f"what is behind its first {ending.at} bytes is left out"
            if ending.at >= path.stat().st_size:
                left_out = "all that it holds is read"
            sys.stderr.write(f"cans: {path} is {ending.kind} ({ending.detail}): {left_out}\n")


def require_not_redacted(recording: Recording, path: Path, wanted: str) -> None:
    """Refuse a recording out of which was taken what is wanted.

    Raises:
        ConfigurationError: it is redacted.
    """
    if recording.about.get("redacted"):
        raise ConfigurationError(
            f"{path} is redacted, so it holds no {wanted}: take the recording it was made of"
        )


def require_within(path: Path, at_s: float) -> None:
    """Refuse a moment behind the end of a recording, where its index says when that is.

    Raises:
        ConfigurationError: it is behind it, or there is no such file.
    """
    try:
        with path.open("rb") as stream:
            span = span_of(stream)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    length_s = math.inf if span is None else (span[1] - span[0]) / 1e9
    if at_s > length_s:
        raise ConfigurationError(f"{path} ends after {length_s:.1f} s, counted from its first message")


def prefix_of(path: Path) -> str:
    """Return the prefix of the site that was recorded.

    Raises:
        ConfigurationError: as `opened`.
    """
    with opened(path) as recording:
        return recording.about.get("prefix", DEFAULT_PREFIX)
