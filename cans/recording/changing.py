"""New recordings from old ones: mended, cut, merged, redacted. What is read stays as it is."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from bus.errors import ConfigurationError
from bus.filters import require_filters
from bus.recording.entries import Entry, Message
from bus.recording.packing import Packer
from bus.recording.parts import Part, numbered
from bus.recording.redacting import Redactor
from bus.topics import DEFAULT_PREFIX
from cans.recording.opening import opened, require_within
from cans.version import __version__

# Of what is packed at once.
_CUT_ENTRIES = 1000


def repair(path: Path, out: Path) -> int:
    """Write what can be read into a new file, with its index; return the number of entries.

    Raises:
        ConfigurationError: as `opened`; `out` is there, or cannot be written.
    """
    with opened(path) as recording:
        return _write(recording, recording.about, out)


def cut(path: Path, out: Path, *, from_s: float, to_s: float, filters: tuple[str, ...]) -> int:
    """Write a part into a new file; return the number of entries.

    Raises:
        ConfigurationError: as `repair`; a filter that is none, a part that ends before it begins.
    """
    if to_s <= from_s:
        raise ConfigurationError(f"--to {to_s:g} is not behind --from {from_s:g}")
    require_filters(filters)
    require_within(path, from_s)
    with opened(path) as recording:
        about = recording.about
        part = Part(about.get("prefix", DEFAULT_PREFIX), filters, from_s, to_s)
        return _write(_some(map(numbered(), part.of(recording)), path), about, out)


def _some(entries: Iterator[Entry], path: Path) -> Iterator[Entry]:
    """Refuse a part of nothing: it is a typing error more likely than a wish."""
    gaps: list[Entry] = []
    for entry in entries:
        if isinstance(entry, Message):
            yield from gaps
            yield entry
            yield from entries
            return
        gaps.append(entry)
    raise ConfigurationError(
        f"no message of {path} is in that part, or on those topics: see cans recording info"
    )


def merge(paths: Sequence[Path], out: Path) -> int:
    """Write several into one, in the order of arrival; return the number of entries.

    Files of one recording that was rotated, or of several recorders on one machine: arrival is by the steady
    clock of each, which was set to the time of day when its recording began.

    Raises:
        ConfigurationError: as `repair`; they are of sites with different prefixes.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigurationError("a file is named twice: each of its messages would be there twice")
    with ExitStack() as stack:
        recordings = [stack.enter_context(opened(path)) for path in paths]
        prefixes = {recording.about.get("prefix", DEFAULT_PREFIX) for recording in recordings}
        if len(prefixes) > 1:
            raise ConfigurationError(f"they are of different sites: {', '.join(sorted(prefixes))}")
        first = recordings[0].about
        filters = dict.fromkeys(recording.about.get("filters", "") for recording in recordings)
        merged = heapq.merge(*recordings, key=lambda entry: entry.steady_ns)
        return _write(map(numbered(), merged), first | {"filters": " ".join(filters)}, out)


def redact(path: Path, out: Path) -> Redactor:
    """Write what is left when nobody's name, picture, answer or sentence is in it.

    Returns:
        what was left out, and every text that is left.

    Raises:
        ConfigurationError: as `repair`.
    """
    with opened(path) as recording:
        redactor = Redactor(recording.about.get("prefix", DEFAULT_PREFIX))
        _write(map(numbered(), _redacted(recording, redactor)), redactor.about(recording.about), out)
    return redactor


def _redacted(entries: Iterable[Entry], redactor: Redactor) -> Iterator[Entry]:
    for entry in entries:
        found = redactor.message(entry) if isinstance(entry, Message) else entry
        if found is not None:
            yield found


def _write(entries: Iterable[Entry], about: dict[str, str], out: Path) -> int:
    """Write a new recording; one that cannot be finished is removed again."""
    packer = Packer(about, f"cans {__version__}")
    try:
        with out.open("xb") as file:
            try:
                for number, entry in enumerate(entries, 1):
                    packer.add(entry)
                    if number % _CUT_ENTRIES == 0:
                        file.write(packer.full())
                file.write(packer.finish())
            except BaseException:
                out.unlink()
                raise
    except FileExistsError:
        raise ConfigurationError(f"{out} is there already: name another file") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None
    return packer.entries
