"""A recording on the disk, opened; what is wrong with its name is one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus.errors import ConfigurationError
from bus.recording.reading import Recording
from bus.topics import DEFAULT_PREFIX


@contextmanager
def opened(path: Path, *, from_ns: int | None = None) -> Iterator[Recording]:
    """Open a recording.

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


def prefix_of(path: Path) -> str:
    """Return the prefix of the site that was recorded.

    Raises:
        ConfigurationError: as `opened`.
    """
    with opened(path) as recording:
        return recording.about.get("prefix", DEFAULT_PREFIX)
