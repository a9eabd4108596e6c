"""A site looked at from its bus, as a watcher: what is there, what is not, and what is not as it should be.

`look` listens for some seconds; `diagnose` is pure.
"""

import asyncio
import contextlib
import secrets
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import LinkError, LinkLost, LocalProtocolError, PublishRefused, RemoteProtocolError
from bus.messages import Feedback, GroupWords, State
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, INFER, MIB, NOBODY, STATE, WORDS, Address, Role, Topics
from bus.wire import decode
from cans.doctors.findings import Finding, informs

SITE = "site"
_QUEUED = 4096
# The second of several packets waits until the first is acknowledged, which Linux delays by 40 ms while one
# follows the other; after a longer rest it does not.
_TRIES, _TOGETHER, _APART_S = 15, 3, 0.02
_HELD_S, _HELD_TIMES = (0.03, 0.065), 3
_SHOWN = 5
_MQTT_5 = 5
_MOST_RUBBISH = 1000
_LARGEST_BYTES = INFER.limit_bytes
_DROPPED = "$SYS/broker/publish/messages/dropped"
_VERSION, _UPTIME = "$SYS/broker/version", "$SYS/broker/uptime"
_CLOCK_S = 60.0
_BUSY_JOBS = 8.0
_MISSED = 0.1


@dataclass(slots=True)
class Seen:
    """What was on the bus.

    Attributes:
        protocol: 5, or 4 for MQTT 3.1.1. packet_limit_bytes: as the broker said, 0 for none.
        states: of nodes, by role and id. elsewhere: prefixes of other sites.
        rubbish: retained topics below the prefix that nobody of ours would retain. unreadable: topics with
            payloads that are none of ours.
        words: of groups, by type and model. sys: what the broker says of itself.
        apart_s: between messages that were sent together, when they came back; empty where nothing came.
        frames, missed: feedback heard, and deadlines missed in it.
        probe: name of a node that does not exist. pretended, refused: topics on which this login could speak
            as it, and could not.
        local: whether the broker is reached within this machine.
    """

    protocol: int = 5
    packet_limit_bytes: int = 0
    states: dict[tuple[str, str], State] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    rubbish: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    words: dict[tuple[str, str], GroupWords] = field(default_factory=dict)
    sys: dict[str, str] = field(default_factory=dict)
    apart_s: list[float] = field(default_factory=list)
    frames: int = 0
    missed: int = 0
    probe: str = ""
    pretended: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    local: bool = False


async def look(broker: BrokerAddress, prefix: str, seconds: float) -> Seen:
    """Listen for a while.

    Raises:
        ConfigurationError: the broker cannot be reached or says no.
    """
    seen, topics = Seen(local=broker.local), Topics(prefix)
    own = f"{prefix}/doctor/{secrets.token_hex(4)}"
    # Two levels are the deepest prefix that is looked for elsewhere, beside the usual one.
    others = ("state/+/+", "+/state/+/+", "+/+/state/+/+")
    endpoint = Endpoint(
        client_id=f"doctor-{secrets.token_hex(4)}",
        subscriptions=((f"{prefix}/#", 0),),
        queue_limit=_QUEUED,
    )
    async with open_connection(broker, endpoint) as link:
        echoes: asyncio.Queue[float] = asyncio.Queue()
        for each in (*others, _DROPPED, _VERSION, _UPTIME):
            with contextlib.suppress(PublishRefused, LinkLost):  # a broker may keep that to itself
                await link.subscribe(each)
        listening = asyncio.create_task(_listen(link, topics, own, seen, echoes), name="doctor in")
        try:
            async with asyncio.timeout(seconds):
                await _pretend(link, topics, seen)
                await _echo(link, own, seen, echoes)
                await asyncio.sleep(seconds)
        except TimeoutError:
            pass
        finally:
            listening.cancel()
        seen.protocol, seen.packet_limit_bytes = link.protocol, link.packet_limit_bytes
    return seen


async def _pretend(link: Connection, topics: Topics, seen: Seen) -> None:
    """Speak as a node that does not exist: a broker with rules refuses that, with MQTT 5 in words.

    Empty and not retained, so whoever hears it all the same has nothing to do. What a role may say to anybody
    is no proof, so these are topics that each has for itself.
    """
    seen.probe = f"{NOBODY}{secrets.token_hex(4)}"
    own = {
        STATE.name: topics.of(STATE, role="device", id=seen.probe),
        INFER.name: topics.of(INFER, edge=seen.probe, device=seen.probe),
    }
    for name, topic in own.items():
        try:
            await link.publish(topic, b"", qos=1 if link.protocol == _MQTT_5 else 0)
        except PublishRefused:
            seen.refused.add(name)
        except (LinkError, LocalProtocolError):
            continue
        else:
            # Before MQTT 5 a broker cannot say no: only what comes back was let through.
            seen.pretended |= {name} if link.protocol == _MQTT_5 else set()


async def _echo(link: Connection, own: str, seen: Seen, echoes: asyncio.Queue[float]) -> None:
    """Send small messages together, now and then, and see how far apart they come back."""
    for _ in range(_TRIES):
        try:
            for _ in range(_TOGETHER):
                await link.publish(own, b"{}")
            async with asyncio.timeout(1.0):
                came = [await echoes.get() for _ in range(_TOGETHER)]
        except (TimeoutError, LinkError, LocalProtocolError):
            return  # a watcher may not publish here: nothing is wrong with that
        seen.apart_s.append(came[-1] - came[0])
        await asyncio.sleep(_APART_S)


async def _listen(
    link: Connection, topics: Topics, own: str, seen: Seen, echoes: asyncio.Queue[float]
) -> None:
    loop = asyncio.get_running_loop()
    async for event in link.events():
        if not isinstance(event, Delivery):
            continue
        if event.topic == own:
            echoes.put_nowait(loop.time())
        elif event.topic.startswith("$SYS/"):
            seen.sys[event.topic] = bytes(event.payload[:200]).decode(errors="replace")
        else:
            take(seen, topics, event)


def take(seen: Seen, topics: Topics, delivery: Delivery) -> None:
    """Note one message."""
    address = topics.parse(delivery.topic)
    below = delivery.topic.startswith(f"{topics.prefix}/")
    if not below:
        seen.elsewhere.add("/".join(delivery.topic.split("/")[:-3]))
        return
    if address is not None and seen.probe in address.fields.values():
        seen.pretended.add(address.topic.name)
        return
    if address is None or (delivery.retained and not address.topic.retained):
        if delivery.retained and len(seen.rubbish) < _MOST_RUBBISH:
            seen.rubbish.add(delivery.topic)
        return
    if address.topic in {STATE, WORDS, FEEDBACK} and len(delivery.payload):
        _told(seen, address, delivery)


def _told(seen: Seen, address: Address, delivery: Delivery) -> None:
    """Note what nodes say of themselves and their frames."""
    try:
        said = decode(address.topic, delivery.payload)
    except RemoteProtocolError:
        if len(seen.unreadable) < _MOST_RUBBISH:
            seen.unreadable.add(delivery.topic)
        return
    match said:
        case State():
            seen.states[address.fields["role"], address.fields["id"]] = said
        case GroupWords():
            seen.words[address.fields["type"], address.fields["model"]] = said
        case Feedback():
            seen.frames += 1
            seen.missed += not said.deadline_met
        case _:
            pass


def diagnose(seen: Seen, prefix: str, version: str, now: datetime | None = None) -> list[Finding]:
    """Return what is well and what is not.

    Args:
        seen: as `look` returns it.
        prefix: of the site's topics.
        version: of this program.
        now: of this machine's clock.
    """
    now = datetime.now(UTC) if now is None else now
    return [
        *_broker(seen),
        *_nodes(seen, prefix),
        *_models(seen),
        *_versions(seen, version),
        *_clock(seen, now),
        *_retained(seen),
        *_work(seen),
    ]


def _broker(seen: Seen) -> Iterator[Finding]:
    said = seen.sys.get(_VERSION, "says nothing of itself")
    yield informs("the broker", ok=True, found=said, mend="")
    mend = "MQTT 5 has message expiry and reasons: take a broker that knows it (mosquitto 2, or cans broker)"
    yield informs(
        "MQTT 5",
        ok=seen.protocol == _MQTT_5,
        found="yes" if seen.protocol == _MQTT_5 else "3.1.1 only",
        mend=mend,
    )
    limit = seen.packet_limit_bytes
    enough = limit == 0 or limit >= _LARGEST_BYTES
    found = "none said" if limit == 0 else f"{limit} bytes"
    mend = f"arms that send more are never played: set max_packet_size to {8 * MIB} or more"
    yield informs("its packet limit", ok=enough, found=found, mend=mend)
    yield _rules(seen)
    word = seen.sys.get(_DROPPED, "")
    told, dropped = word.isdecimal(), int(word) if word.isdecimal() else 0
    mend = "a subscriber is too slow: give it a faster link, or the broker a larger max_queued_messages"
    found = str(dropped) if told else "not said"
    if not told and _UPTIME in seen.sys and "mosquitto" in said:
        # mosquitto publishes what has changed, and lets it expire after a minute.
        told, found = True, "none in the last minute"
    elif not told:
        mend = "it keeps its $SYS topics from this login, or has none"
    yield informs("messages that it has dropped", ok=dropped == 0, found=found, mend=mend, tried=told)
    if not seen.apart_s:
        mend = "no fault of a watcher; to try it, log in as somebody who may publish"
        yield informs(
            "small messages are sent at once", ok=True, found="nothing came back", mend=mend, tried=False
        )
        return
    held_s = [each for each in seen.apart_s if _HELD_S[0] <= each <= _HELD_S[1]]
    apart_s = statistics.median(held_s or seen.apart_s)
    mend = "Nagle's algorithm holds small packets back: set_tcp_nodelay true in mosquitto's configuration"
    yield informs(
        "small messages are sent at once",
        ok=len(held_s) < _HELD_TIMES,
        found=f"{1e3 * apart_s:.1f} ms apart",
        mend=mend,
    )


def _rules(seen: Seen) -> Finding:
    """Say whether this login may speak as others, by what was refused, acknowledged or came back."""
    tried = bool(seen.pretended or seen.refused)
    found = f"this login, on {_list(sorted(seen.pretended))}" if seen.pretended else "nobody with this login"
    if seen.pretended and seen.local:
        found += "; the broker is reached within this machine"
    mend = "no rules hold a node to its own topics: give the broker an ACL (cans provision writes it)"
    if not tried:
        found, mend = "not known", "before MQTT 5 a broker does not say what it refuses: look at its ACL"
    well = seen.local or not seen.pretended
    return informs("who may speak as somebody else", ok=well, found=found, mend=mend, tried=tried)


def _nodes(seen: Seen, prefix: str) -> Iterator[Finding]:
    there = bool(seen.states)
    elsewhere = ", ".join(sorted(filter(None, seen.elsewhere))[:_SHOWN])
    found = f"{len(seen.states)} nodes below {prefix}" if there else f"nobody below {prefix}"
    mend = (
        f"give --prefix: there are nodes below {elsewhere}"
        if elsewhere
        else "start cans edge, aggregator, device"
    )
    yield Finding(SITE, "nodes", ok=there, found=found, mend=mend)
    for role, mend in (
        (Role.EDGE, "every frame is answered on its device: start cans edge"),
        (Role.AGGREGATOR, "devices learn, and nobody merges it: start cans aggregator"),
        (Role.DEVICE, "start cans device"),
    ):
        ready = sorted(state.id for state in _of(seen, role) if state.state == "ready")
        yield Finding(SITE, f"{role.value}, ready", ok=bool(ready), found=_list(ready) or "none", mend=mend)
    lost = sorted(f"{state.role} {state.id}" for state in seen.states.values() if state.state == "lost")
    mend = "they vanished without a goodbye: look at their logs, power and network; who is gone for good is "
    mend += f"forgotten with `mosquitto_pub -r -n -t {prefix}/state/ROLE/ID`"
    yield informs("nodes that were lost", ok=not lost, found=_list(lost) or "none", mend=mend)
    trouble = [f"{state.id}: {part}" for state in _of(seen, Role.AGGREGATOR) for part in _troubles(state)]
    mend = "a parked device reports other costs than its type: give it a --type of its own; else see the log"
    yield informs(
        "what aggregators complain of", ok=not trouble, found=_list(trouble) or "nothing", mend=mend
    )


def _models(seen: Seen) -> Iterator[Finding]:
    served: dict[str, set[str]] = {}
    for state in _of(seen, Role.EDGE):
        if state.state == "ready":
            arms = state.arms.split(",") if state.arms else []
            for place, model in enumerate(filter(None, state.models.split(","))):
                served.setdefault(model, set()).add(arms[place] if place < len(arms) else "")
    strangers, others = [], []
    for state in _of(seen, Role.DEVICE):
        if state.state != "ready" or not state.models:
            continue
        if state.models not in served:
            strangers.append(f"{state.id} ({state.models})")
        elif state.arms and served[state.models] - {"", state.arms} == served[state.models]:
            others.append(state.id)
    mend = "same --model, --weights and --weights-seed on device and edge worker, and same version"
    yield informs(
        "devices whose network no edge worker serves",
        ok=not strangers,
        found=_list(strangers) or "none",
        mend=mend,
    )
    mend = "same --codecs on device and edge worker"
    yield informs(
        "devices with other cuts or codecs", ok=not others, found=_list(others) or "none", mend=mend
    )


def _versions(seen: Seen, version: str) -> Iterator[Finding]:
    found = sorted({state.version for state in seen.states.values() if state.version} | {version})
    mend = "different versions work together, and what is new in one is not used: update the rest"
    yield informs("versions", ok=len(found) == 1, found=_list(found), mend=mend)


def _clock(seen: Seen, now: datetime) -> Iterator[Finding]:
    ahead = []
    for words in seen.words.values():
        try:
            changed = datetime.fromisoformat(words.changed)
        except ValueError:
            continue
        if changed.tzinfo is not None and (changed - now).total_seconds() > _CLOCK_S:
            ahead.append(f"{words.group}: {words.changed}")
    mend = "no message depends on it, but logs and recordings do: let both machines set their clocks (NTP)"
    if not seen.words:
        mend = "no group has said anything yet, and nobody else tells the time"
    found = _list(ahead) or ("nobody is ahead of this machine" if seen.words else "not said")
    yield informs("clocks", ok=not ahead, found=found, mend=mend, tried=bool(seen.words))


def _retained(seen: Seen) -> Iterator[Finding]:
    mend = "nobody of ours retains these: remove them by publishing empty retained messages there"
    yield informs(
        "retained rubbish", ok=not seen.rubbish, found=_list(sorted(seen.rubbish)) or "none", mend=mend
    )
    mend = "another program, or another version, publishes here: find it, or give the site another --prefix"
    yield informs(
        "messages that are none of ours",
        ok=not seen.unreadable,
        found=_list(sorted(seen.unreadable)) or "none",
        mend=mend,
    )


def _work(seen: Seen) -> Iterator[Finding]:
    busy = [f"{state.id}: {state.load:g} jobs" for state in _of(seen, Role.EDGE) if state.load >= _BUSY_JOBS]
    mend = "add --workers, another edge worker, or let devices send later cuts"
    yield informs("overloaded edge workers", ok=not busy, found=_list(busy) or "none", mend=mend)
    share = seen.missed / seen.frames if seen.frames else 0.0
    found = f"{100 * share:.1f} % of {seen.frames} frames" if seen.frames else "no frame was heard"
    mend = "a longer --deadline-ms, a smaller network, early exits, or a faster edge worker"
    if not seen.frames:
        mend = "listen for longer, with --seconds"
    yield informs("deadlines missed", ok=share <= _MISSED, found=found, mend=mend, tried=bool(seen.frames))


def _of(seen: Seen, role: Role) -> list[State]:
    return [state for (said, _), state in sorted(seen.states.items()) if said == role]


def _troubles(state: State) -> list[str]:
    return [part for part in state.detail.split("; ") if part.startswith(("parked: ", "cannot save"))]


def _list(found: list[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
