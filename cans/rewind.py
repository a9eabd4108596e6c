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
from bus.recording.reading import Recording
from bus.snapshot import read_snapshot, write_snapshot
from bus.state_folder import open_state_folder
from bus.topics import DEFAULT_PREFIX
from cans.inspect_groups import Found, show
from cans.recording.opening import opened

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
    state = None if settings.state is None else _snapshot(settings.state)
    with opened(settings.file) as recording:
        first_ns = _first_ns(settings.file)
        until_ns = 2**63 if math.isinf(settings.at_s) else first_ns + round(settings.at_s * 1e9)
        found = rewind(
            recording,
            recording.about.get("prefix", DEFAULT_PREFIX),
            until_ns,
            grouping=Grouping(settings.groups),
            limits=limits,
            snapshot=state,
        )
    when = "its end" if math.isinf(settings.at_s) else _moment(until_ns)
    return found, when


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
    if path.exists():
        raise ConfigurationError(f"{path} is there already: name another file")
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
    record = msgspec.structs.replace(decode_record(_snapshot(path)), origin=secrets.token_hex(8))
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


def _snapshot(path: Path) -> bytes:
    payload = read_snapshot(path)
    if payload is None:
        raise ConfigurationError(
            f"{path} does not exist: give the file `groups` of an aggregator's state folder"
        )
    return payload


def _first_ns(path: Path) -> int:
    with path.open("rb") as stream:
        first = next(iter(Recording(stream)), None)
    return 0 if first is None else first.steady_ns


def _moment(steady_ns: int) -> str:
    return datetime.fromtimestamp(steady_ns / 1e9, UTC).isoformat(timespec="milliseconds")
