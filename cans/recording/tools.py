"""What can be done with a recording: look into it, check it, mend it, take it elsewhere."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from bus.errors import ConfigurationError
from bus.recording.entries import Entry, Gap, Message
from bus.recording.packing import Packer
from bus.recording.reading import Ending, Recording
from bus.topics import DEFAULT_PREFIX, Topics
from cans.payloads import decode_payload
from cans.version import __version__

Format = Literal["jsonl", "csv"]
# Of what is packed at once while a file is written anew.
_CUT_ENTRIES = 1000


@contextmanager
def opened(path: Path, *, from_ns: int | None = None) -> Iterator[Recording]:
    """Open a recording.

    Raises:
        ConfigurationError: no such file, or no recording.
    """
    try:
        with path.open("rb") as stream:
            try:
                recording = Recording(stream, from_ns=from_ns)
            except ConfigurationError as error:
                raise ConfigurationError(f"cannot read {path}: {error}") from None
            yield recording
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None


def prefix_of(path: Path) -> str:
    """Return the prefix of the site that was recorded.

    Raises:
        ConfigurationError: as `opened`.
    """
    with opened(path) as recording:
        return recording.about.get("prefix", DEFAULT_PREFIX)


@dataclass(slots=True)
class Row:
    """What a recording holds of one row of the topic table; of everything else together under "other"."""

    messages: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Contents:
    """What a recording holds.

    Attributes:
        about: of its origin. rows: by name of the topic. first_ns, last_ns: steady clock; 0 without an entry.
        gaps, lost, retained: counts. ending: how the file ends.
    """

    about: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0
    gaps: list[Gap] = field(default_factory=list)
    lost: int = 0
    retained: int = 0
    ending: Ending | None = None

    @property
    def messages(self) -> int:
        """All of them."""
        return sum(row.messages for row in self.rows.values())


def contents_of(path: Path) -> Contents:
    """Read a recording to its end; memory does not grow with it, but for its gaps.

    Raises:
        ConfigurationError: as `opened`.
    """
    found = Contents()
    with opened(path) as recording:
        found.about = recording.about
        topics = Topics(recording.about.get("prefix", DEFAULT_PREFIX))
        for entry in recording:
            found.first_ns = found.first_ns or entry.steady_ns
            found.last_ns = entry.steady_ns
            if isinstance(entry, Gap):
                found.gaps.append(entry)
                found.lost += entry.lost
                continue
            address = topics.parse(entry.topic)
            row = found.rows.setdefault(address.topic.name if address else "other", Row())
            row.messages += 1
            row.bytes += len(entry.payload)
            found.retained += entry.retained
        found.ending = recording.ending
    return found


def verify(path: Path) -> str:
    """Return what is wrong with a file, in a sentence; empty where nothing is.

    Raises:
        ConfigurationError: as `opened`.
    """
    found = contents_of(path)
    assert found.ending is not None
    if found.ending.kind == "whole":
        return ""
    size = path.stat().st_size
    return (
        f"{path} is {found.ending.kind} ({found.ending.detail}): {found.messages} messages in its first "
        f"{found.ending.at} of {size} bytes can be read; cans recording repair {path} OUT keeps them"
    )


def repair(path: Path, out: Path) -> int:
    """Write what can be read into a new file, with its index; return the number of entries.

    Raises:
        ConfigurationError: as `opened`; `out` is there, or cannot be written.
    """
    return _rewritten(path, out, lambda entry: entry)


def _rewritten(path: Path, out: Path, kept: Callable[[Entry], Entry | None]) -> int:
    """Write a recording anew, entry by entry, without those for which `kept` returns None."""
    with opened(path) as recording:
        packer = Packer(recording.about, f"cans {__version__}")
        try:
            with out.open("xb") as file:
                for entry in recording:
                    change = kept(entry)
                    if change is not None:
                        packer.add(change)
                    if packer.entries % _CUT_ENTRIES == 0:
                        file.write(packer.full())
                file.write(packer.finish())
        except FileExistsError:
            raise ConfigurationError(f"{out} is there already: name another file") from None
        except OSError as error:
            raise ConfigurationError(f"cannot write {out}: {error.strerror}") from None
    return packer.entries


def export(path: Path, out: TextIO, form: Format) -> int:
    """Write a recording as lines; return how many.

    Raises:
        ConfigurationError: as `opened`.
    """
    write = _json_line(out) if form == "jsonl" else _csv_line(out)
    lines = 0
    with opened(path) as recording:
        for entry in recording:
            write(described(entry))
            lines += 1
    return lines


def described(entry: Entry) -> dict[str, Any]:
    """Return what there is to say about an entry, ready for JSON; tensors are named, not dumped."""
    common = {"number": entry.number, "at": _moment(entry.wall_ns), "steady_s": entry.steady_ns / 1e9}
    if isinstance(entry, Gap):
        return common | {"gap": entry.kind, "lost": entry.lost, "seconds": entry.seconds}
    return common | {
        "topic": entry.topic,
        "qos": entry.qos,
        "retained": entry.retained,
        "bytes": len(entry.payload),
        "properties": _properties(entry),
        "data": decode_payload(entry.payload),
    }


def _properties(message: Message) -> dict[str, Any]:
    said = message.properties
    if said is None:
        return {}
    found = {
        "response_topic": said.response_topic,
        "correlation_data": said.correlation_data.hex() if said.correlation_data is not None else None,
        "content_type": said.content_type,
        "expiry_s": said.expiry_s,
        "user": dict(said.user) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _moment(wall_ns: int) -> str:
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def _json_line(out: TextIO) -> Callable[[dict[str, Any]], None]:
    def write(line: dict[str, Any]) -> None:
        print(json.dumps(line, ensure_ascii=False), file=out)

    return write


_COLUMNS = ("number", "at", "steady_s", "topic", "qos", "retained", "bytes", "gap", "lost", "seconds", "data")


def _csv_line(out: TextIO) -> Callable[[dict[str, Any]], None]:
    writer = csv.DictWriter(out, _COLUMNS, extrasaction="ignore")
    writer.writeheader()

    def write(line: dict[str, Any]) -> None:
        data = line.get("data")
        text = "" if data is None else json.dumps(data, ensure_ascii=False)
        writer.writerow({**line, "data": text})

    return write
