"""What an aggregator's groups know, for people: from what the broker retains, or from a state folder.

It reads and never publishes, like `cans watch`. The words are the aggregator's own; this file must never
compute them anew where a broker holds them.
"""

import asyncio
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.sentences import counted, phrases, text_of
from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.errors import ConfigurationError, RemoteProtocolError
from bus.messages import GroupParameters, GroupWords
from bus.mqtt import open_connection
from bus.names import require_name
from bus.topics import DEFAULT_PREFIX, GROUPS, WORDS, Topics, topics_below
from bus.wire import decode

_QUEUE_LIMIT = 1024  # an aggregator holds 64 groups unless told otherwise


@dataclass(frozen=True, slots=True)
class Found:
    """One group's words, and the device type that hears them (offline: the group's name)."""

    type: str
    words: GroupWords


async def retained(
    broker: BrokerAddress, prefix: str = DEFAULT_PREFIX, type_: str | None = None, quiet_s: float = 1.0
) -> list[Found]:
    """Return the words of every group that the broker retains, in the order of their topics.

    A group without words, of an aggregator that is older than they are, is found with its counts alone.

    Args:
        broker: where.
        prefix: of the topics.
        type_: this device type only.
        quiet_s: how long nothing more must come before what came is taken as all; MQTT names no last one.

    Raises:
        ConfigurationError: a prefix or type that is no name, a broker that refuses, or no group retained.
    """
    topics = topics_below(prefix)
    chosen = {} if type_ is None else {"type": require_name(type_, "device type")}
    endpoint = Endpoint(
        client_id=f"inspect-{secrets.token_hex(4)}",
        subscriptions=tuple((topics.filter(row, **chosen), row.qos) for row in (GROUPS, WORDS)),
        queue_limit=_QUEUE_LIMIT,
    )
    said: dict[tuple[str, str], GroupWords] = {}
    async with open_connection(broker, endpoint) as connection:
        try:
            async with asyncio.timeout(quiet_s) as patience:
                async for event in connection.events():
                    if isinstance(event, Delivery):
                        event.ack()
                        _take(topics, event, said)
                        patience.reschedule(asyncio.get_running_loop().time() + quiet_s)
        except TimeoutError:
            pass
    if not said:
        where = topics.filter(GROUPS, **chosen)
        raise ConfigurationError(
            f"{broker} retains no group under {where}: start `cans aggregator` and a "
            "device, and look again once its first upload is merged; or give another --prefix or --type"
        )
    return [Found(type_, words) for (type_, _), words in sorted(said.items())]


def _take(topics: Topics, delivery: Delivery, said: dict[tuple[str, str], GroupWords]) -> None:
    """Note what a message says; one that cannot be read says nothing."""
    address = topics.parse(delivery.topic)
    if address is None:
        return
    place = (address.fields["type"], address.fields["model"])
    try:
        if address.topic is WORDS:
            said[place] = decode(WORDS, delivery.payload, GroupWords)
        elif place not in said:
            said[place] = _counts_of(decode(GROUPS, delivery.payload, GroupParameters))
    except RemoteProtocolError:
        return


def _counts_of(group: GroupParameters) -> GroupWords:
    """Return what parameters say without a schema."""
    bare = GroupWords(
        group=group.group,
        model=group.model,
        schema=group.schema,
        origin=group.origin,
        version=group.version,
        members=group.members,
        count=group.count,
        sent=0,
    )
    return msgspec.structs.replace(bare, text=text_of(bare))


def saved(state_dir: Path, type_: str | None = None) -> list[Found]:
    """Return the words of every group in an aggregator's state folder; the aggregator may be running.

    Args:
        state_dir: the folder, only read.
        type_: the group of this name only; a folder does not know which types belong to a group.

    Raises:
        ConfigurationError: no snapshot there, a damaged one, or no group in it.
    """
    from aggregator.changes import written  # noqa: PLC0415 - this way only: numpy and scipy take a second
    from aggregator.ledger import Ledger, Limits  # noqa: PLC0415
    from aggregator.words import describe  # noqa: PLC0415
    from bus.snapshot import read_snapshot  # noqa: PLC0415

    file = state_dir / "groups"
    payload = read_snapshot(file)
    if payload is None:
        raise ConfigurationError(
            f"{file} does not exist: give the --state-dir of an aggregator that has merged"
        )
    ledger, changed = Ledger.load(payload, Limits()), written(file.stat().st_mtime)
    keys = sorted(key for key in ledger if type_ in {None, key.group})
    if not keys:
        names = ", ".join(sorted({key.group for key in ledger})) or "none until a device has uploaded"
        named = "" if type_ is None else f" {type_}"
        raise ConfigurationError(f"{file} holds no group{named}; those that it holds are {names}")
    return [
        Found(
            key.group,
            describe(ledger.parameters(key), ledger.columns(key), ledger[key].regularisation, changed),
        )
        for key in keys
    ]


def show(found: Iterable[Found], out: TextIO, *, one_line: bool = False) -> None:
    """Print every group: a table for people, or one JSON object a line."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    for each in found:
        if one_line:
            fields = {"type": each.type, **msgspec.to_builtins(each.words)}
            print(json.dumps(fields, ensure_ascii=False), file=out)
        else:
            _page(each, console)


def _page(found: Found, console: Console) -> None:
    """A heading, and a line for each quantity."""
    words = found.words
    group = "" if words.group == found.type else f", group {words.group}"
    console.print(Text(f"{found.type}{group}", style="bold"), Text(f"model {words.model}", style="dim"))
    rows = phrases(words)
    table = Table(box=None, show_header=bool(rows), pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("", "estimate", "95 % interval"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if rows:
        console.print(table)
    else:
        console.print(
            "no member has said what the columns mean: update the aggregator, or restart its devices"
        )
    # The aggregator's text goes out as text: whoever can publish must not draw on the terminal.
    since = f", since {words.changed}" if words.changed.isprintable() and words.changed else ""
    console.print(Text(f"from {counted(words)}{since}\n", style="dim"))
