"""What groups knew at a moment of a recording, for people, for programs, or to begin again from."""

import asyncio
import json
import math
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console
from rich.table import Table

from aggregator.keys import Grouping
from aggregator.ledger import Ledger, Limits
from aggregator.record import decode_record, encode_record
from aggregator.rewinding import Rewound, rewind
from aggregator.words import describe
from bandits.federation import GuardSettings
from bus.errors import ConfigurationError
from bus.recording.reading import span_of
from bus.snapshot import read_snapshot, write_snapshot
from bus.state_folder import open_state_folder
from bus.topics import DEFAULT_PREFIX
from cans.inspect_groups import Found, show
from cans.recording.opening import opened, require_not_redacted

EXACT = 1e-12
"""Share by which a value may differ from the live aggregator's where sums were added in another order."""
_STATE = "groups"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewindSettings:
    """What to make again.

    Attributes:
        file: a recording, from an aggregator's first start on, or with `state`.
        at_s: seconds after its beginning; infinite for its end.
        state: the aggregator's snapshot when the recording began.
        groups, regularisation, guard: as that aggregator had them.
    """

    file: Path
    at_s: float = math.inf
    state: Path | None = None
    groups: dict[str, tuple[str, ...]]
    regularisation: float = 0.1
    guard: bool = True


def rewound(settings: RewindSettings) -> tuple[Rewound, str]:
    """Return what was known, and when that was.

    Raises:
        ConfigurationError: no such file, no recording, or one that began too late.
    """
    limits = Limits(regularisation=settings.regularisation, guard=GuardSettings() if settings.guard else None)
    state = None if settings.state is None else snapshot_of(settings.state)
    with opened(settings.file) as recording:
        require_not_redacted(recording, settings.file, "sums")
        first_ns, last_ns = _span_ns(settings.file)
        until_ns = last_ns if math.isinf(settings.at_s) else first_ns + round(settings.at_s * 1e9)
        if until_ns > last_ns:
            ends = f"{settings.file} ends after {(last_ns - first_ns) / 1e9:.1f} s"
            raise ConfigurationError(f"{ends}: --at counts from its first message")
        found = rewind(
            recording,
            recording.about.get("prefix", DEFAULT_PREFIX),
            until_ns,
            grouping=Grouping(settings.groups),
            limits=limits,
            snapshot=state,
        )
    if math.isinf(settings.at_s) and not found.uploads:
        raise ConfigurationError(
            f"{settings.file} holds no upload: record stats/#, ack/# and groups/#, or all"
        )
    return found, _moment(until_ns)


def tell(found: Rewound, when: str, out: TextIO, *, as_json: bool) -> None:
    """Print what was known."""
    ledger = found.ledger
    keys = sorted(ledger)
    pages = [
        Found(
            key.group,
            describe(ledger.parameters(key), ledger.columns(key), ledger[key].regularisation),
        )
        for key in keys
    ]
    if as_json:
        devices = [
            {"group": key.group, "model": key.model, "device": device, "rows": mine.count}
            for (key, device), mine in sorted(found.handed_in.items())
        ]
        said = {
            "at": when,
            "origin": ledger.origin,
            "uploads": found.uploads,
            "broadcasts": found.broadcasts,
            "exact": found.exact,
            "off": found.off,
            "gaps": found.gaps,
            "groups": [{"type": page.type, **msgspec.to_builtins(page.words)} for page in pages],
            "devices": devices,
        }
        print(json.dumps(said, ensure_ascii=False), file=out)
        return
    console = Console(file=out, highlight=False, soft_wrap=True)
    console.print(f"known at {when}, after {found.uploads} uploads:\n", markup=False)
    show(pages, out)
    table = Table("device", "group", "rows handed in")
    table.columns[-1].justify = "right"
    for (key, device), mine in sorted(found.handed_in.items()):
        table.add_row(device, key.group, f"{mine.count:,}")
    console.print(table)
    console.print(checked(found), markup=False)


def checked(found: Rewound) -> str:
    """Return how well it agrees with what the live aggregator has said."""
    if not found.broadcasts:
        return "nothing was broadcast until then: nobody can tell whether the live aggregator had the same"
    words = f"held against {found.broadcasts} recorded broadcasts: {found.exact} the same to the bit"
    if found.exact < found.broadcasts:
        words += f", the others within {found.off:.1e} of their largest value"
    if found.gaps:
        words += f"; the recording has {found.gaps} gaps"
    return words


def save(found: Rewound, path: Path) -> None:
    """Write a snapshot that `cans aggregator restore` takes.

    Raises:
        ConfigurationError: it is there, or cannot be written.
    """
    if not len(found.ledger):
        raise ConfigurationError("nothing was known yet, so there is nothing to begin from")
    try:
        asyncio.run(write_snapshot(path, found.ledger.dump()))
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def restore(path: Path, state_dir: Path) -> Ledger:
    """Let an aggregator that starts in a folder begin with a snapshot; return what is in it.

    It gets an origin of its own, or devices would wait for versions newer than those they know.

    Raises:
        ConfigurationError: no snapshot, a damaged one, or a folder that has groups already.
    """
    place = state_dir / _STATE
    if place.exists():
        raise ConfigurationError(
            f"{place} is there already: give an empty --state-dir, or move that file away"
        )
    record = msgspec.structs.replace(decode_record(snapshot_of(path)), origin=secrets.token_hex(8))
    payload = encode_record(record)
    ledger = Ledger.load(payload, Limits())

    async def write() -> None:
        async with open_state_folder(state_dir):
            await write_snapshot(place, payload)

    try:
        asyncio.run(write())
    except OSError as error:
        raise ConfigurationError(f"cannot write {place}: {error.strerror}") from None
    return ledger


def snapshot_of(path: Path) -> bytes:
    """Return what a file of groups holds.

    Raises:
        ConfigurationError: it is none, or it is not there.
    """
    try:
        payload = read_snapshot(path)
    except ConfigurationError:
        raise ConfigurationError(
            f"{path} is no snapshot of an aggregator: give what cans rewind -o has written, or the file "
            "`groups` of a state folder"
        ) from None
    if payload is None:
        raise ConfigurationError(
            f"{path} does not exist: give the file `groups` of an aggregator's state folder"
        )
    return payload


def _span_ns(path: Path) -> tuple[int, int]:
    """Return the steady clock of the first and the last entry."""
    with path.open("rb") as stream:
        found = span_of(stream)
    if found is not None:
        return found
    with opened(path, tells=False) as recording:  # without an index: read to its end
        first = last = 0
        for entry in recording:
            first, last = first or entry.steady_ns, entry.steady_ns
    return first, last


def _moment(steady_ns: int) -> str:
    return datetime.fromtimestamp(steady_ns / 1e9, UTC).isoformat(timespec="milliseconds")
