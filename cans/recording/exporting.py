"""A recording as lines or a table that other programs read."""

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from bus.recording.entries import Entry, Gap, Message
from cans.payloads import decode_payload
from cans.recording.opening import opened

Format = Literal["jsonl", "csv"]
_GROUP_ROWS = 10_000


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


def export_parquet(path: Path, out: Path) -> int:
    """Write a recording as a Parquet table; return how many rows.

    Columns are those of CSV, with `at` a moment in UTC and `properties` as JSON beside `data`.

    Raises:
        ConfigurationError: as `opened`.
        OSError: it cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 - a second of imports, for one format alone
    import pyarrow.parquet as pq  # noqa: PLC0415

    text, count = pa.string(), pa.int64()
    schema = pa.schema({
        "number": count, "at": pa.timestamp("us", tz="UTC"), "steady_s": pa.float64(), "topic": text,
        "qos": pa.int8(), "retained": pa.bool_(), "bytes": count, "gap": text, "lost": count,
        "seconds": pa.float64(), "properties": text, "data": text,
    })  # fmt: skip
    rows = 0
    with opened(path) as recording, pq.ParquetWriter(out, schema, compression="zstd") as table:
        for some in _some(recording):
            table.write_table(pa.Table.from_pylist([_row(entry) for entry in some], schema=schema))
            rows += len(some)
    return rows


def _some(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield entries a row group at a time."""
    left = iter(entries)
    while some := list(itertools.islice(left, _GROUP_ROWS)):
        yield some


def _row(entry: Entry) -> dict[str, Any]:
    """Return an entry as a row, what is not flat as JSON."""
    said = described(entry)
    for name in ("properties", "data"):
        if name in said:
            said[name] = json.dumps(said[name], ensure_ascii=False)
    return said | {"at": entry.wall_ns // 1000}


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
