"""Tells Home Assistant of every node and group on the bus, and of what goes wrong there, while it runs."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, LinkUp
from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from bus.filters import require_topic
from bus.messages import Feedback, GroupWords, State
from bus.mqtt import open_connection
from bus.outbox import Outbox, Outgoing
from bus.topics import DEFAULT_PREFIX, FEEDBACK, STATE, WORDS, Address, topics_below
from bus.wire import decode
from cans.alarms import MOST_NODES, Alarm, Alarms
from cans.home_assistant.discovery import Discovery
from cans.listening import listener, require_named

QUEUED = 1024
_OUTGOING = 4096
_log = structlog.get_logger("home assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """What to tell, and where.

    Attributes:
        broker: that the site and Home Assistant share.
        prefix: of the site's topics.
        discovery_prefix: Home Assistant's own.
        expires_s: readings older than that are unavailable there.
    """

    broker: BrokerAddress
    prefix: str = DEFAULT_PREFIX
    discovery_prefix: str = "homeassistant"
    expires_s: int = 60

    def __post_init__(self) -> None:
        """Refuse what no broker would take.

        Raises:
            ConfigurationError: a prefix that is none, or no time.
        """
        topics_below(self.prefix)
        try:
            require_topic(self.discovery_prefix)
        except LocalProtocolError as error:
            raise ConfigurationError(f"--discovery-prefix: {error}") from None
        if self.expires_s < 1:
            raise ConfigurationError(f"readings that expire after {self.expires_s} s would never be seen")


class Bridge:
    """See the module.

    Args:
        settings: what, and where.
        publish: takes topic, payload and whether it is retained; must not block.
    """

    def __init__(self, settings: BridgeSettings, publish: Callable[[str, bytes, bool], None]) -> None:
        self._topics = topics_below(settings.prefix)
        self._discovery = Discovery(self._topics, settings.discovery_prefix, settings.expires_s)
        self._publish = publish
        self._alarms = Alarms()
        self._things: set[str] = set()
        self._messages: dict[str, bytes] = {}

    @property
    def told(self) -> int:
        """Nodes and groups that Home Assistant has been told of."""
        return len(self._messages)

    def again(self) -> None:
        """Say everything once more: Home Assistant has started."""
        for name, message in self._messages.items():
            self._publish(self._discovery.topic(name), message, True)

    def take(self, delivery: Delivery) -> None:
        """Take in what is on the bus; what cannot be read tells nothing."""
        address = self._topics.parse(delivery.topic)
        if address is None:
            return
        try:
            if address.topic is STATE:
                self._on_state(address, bytes(delivery.payload))
            elif address.topic is WORDS and len(delivery.payload):
                words = decode(WORDS, delivery.payload, GroupWords)
                type_ = address.fields["type"]
                self._tell(f"group-{type_}-{words.model}", self._discovery.group(type_, words))
            elif address.topic is FEEDBACK:
                said = decode(FEEDBACK, delivery.payload, Feedback)
                require_named(address, type=said.type, device=said.device)
                if f"device-{said.device}" in self._things:
                    self._sound(self._alarms.feedback(said))
        except (RemoteProtocolError, ValueError) as error:
            _log.debug("unreadable", topic=delivery.topic, why=str(error))

    def _on_state(self, address: Address, payload: bytes) -> None:
        name = f"{address.fields['role']}-{address.fields['id']}"
        if not payload:
            self._forget(name)
            self._alarms.forget(address.fields["role"], address.fields["id"])
            return
        state = decode(STATE, payload, State)
        if (state.role, state.id) != (address.fields["role"], address.fields["id"]):
            return
        if name not in self._things and len(self._things) >= MOST_NODES:
            return
        self._tell(name, self._discovery.node(state))
        self._things.add(name)
        self._sound(self._alarms.state(state))

    def _tell(self, name: str, message: dict[str, object]) -> None:
        """Publish a discovery message if it says something new."""
        payload = json.dumps(message, separators=(",", ":"), sort_keys=True).encode()
        if self._messages.get(name) != payload:
            self._messages[name] = payload
            self._publish(self._discovery.topic(name), payload, True)

    def _forget(self, name: str) -> None:
        """Remove a node whose retained state was removed."""
        self._things.discard(name)
        if self._messages.pop(name, None) is not None:
            self._publish(self._discovery.topic(name), b"", True)

    def _sound(self, alarms: list[Alarm]) -> None:
        for alarm in alarms:
            payload = json.dumps({"event_type": alarm.kind, "what": alarm.what}).encode()
            self._publish(self._discovery.event_topic(f"{alarm.role}-{alarm.id}"), payload, False)


async def run_bridge(settings: BridgeSettings, told: Callable[[int], None] = lambda _: None) -> None:
    """Tell until cancelled.

    Raises:
        ConfigurationError: the broker cannot be reached or says no.
    """
    born = f"{settings.discovery_prefix}/status"
    rows = (STATE, WORDS, FEEDBACK)
    endpoint = listener("homeassistant", settings.prefix, rows, queued=QUEUED, more=((born, 1),))
    async with open_connection(settings.broker, endpoint) as link:
        outbox = Outbox(link, limit=_OUTGOING)
        bridge = Bridge(
            settings,
            lambda topic, payload, retain: outbox.put(Outgoing(topic, payload, qos=1, retain=retain)),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(outbox.run(), name="home assistant out")
            await _listen(link, bridge, born, told)


async def _listen(link: Connection, bridge: Bridge, born: str, told: Callable[[int], None]) -> None:
    async for event in link.events():
        match event:
            case Delivery(topic) if topic == born:
                if bytes(event.payload) == b"online":
                    bridge.again()
            case Delivery():
                bridge.take(event)
            case LinkUp():
                bridge.again()
            case _:
                pass
        if isinstance(event, Delivery):
            event.ack()
            told(bridge.told)
