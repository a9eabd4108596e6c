"""What Home Assistant is told: documented fields only, every node and group, and what goes wrong."""

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.messages import Feedback, GroupWords, Message, State
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, STATE, WORDS, Topic, Topics
from bus.wire import encode
from cans.alarms import KINDS
from cans.home_assistant.bridge import Bridge, BridgeSettings, run_bridge
from tests.support.broker import mosquitto
from tests.support.samples import MODEL, SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
WORDS_SAID = next(each for _, each in SAMPLES if isinstance(each, GroupWords))
CAM = State(role="device", id="cam-1", state="ready", boot=1, version="0.1", type="pi4")
EDGE = State(role="edge", id="edge-1", state="ready", boot=1, version="0.1", models=MODEL)
# https://www.home-assistant.io/integrations/mqtt/ and those of the platforms: what each may hold.
_ROOT = {"dev", "o", "cmps", "qos", "availability"}
_COMMON = {"p", "name", "unique_id", "state_topic", "value_template", "device_class", "entity_category"}
_FIELDS = {
    "sensor": _COMMON | {"unit_of_measurement", "state_class", "expire_after", "options"},
    "binary_sensor": _COMMON | {"expire_after"},
    "event": (_COMMON - {"entity_category"}) | {"event_types"},
}
# Which units a sensor's device class may have, https://www.home-assistant.io/integrations/sensor/#device-class.
_UNITS: dict[str | None, set[str | None]] = {
    "duration": {"ms"},
    "data_size": {"B"},
    "data_rate": {"Mbit/s"},
    "enum": {None},
    None: {None},
}


class _Heard:
    """A bridge, and what it has published."""

    def __init__(self, **more: Any) -> None:
        self.published: list[tuple[str, bytes, bool]] = []
        settings = BridgeSettings(broker=BrokerAddress(), **more)
        self.bridge = Bridge(settings, lambda *message: self.published.append(message))

    def take(self, row: Topic, said: Message | bytes, **fields: str) -> list[tuple[str, Any, bool]]:
        """Let it take in a message; return what it published for that."""
        before = len(self.published)
        payload = said if isinstance(said, bytes) else bytes(encode(row, said))
        self.bridge.take(Delivery(TOPICS.of(row, **fields), payload))
        new = self.published[before:]
        return [(topic, json.loads(body) if body else None, retain) for topic, body, retain in new]

    def state(self, said: State) -> list[tuple[str, Any, bool]]:
        return self.take(STATE, said, role=said.role, id=said.id)


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    """Hold a discovery message against what Home Assistant documents; return its components."""
    assert set(message) <= _ROOT
    assert message["dev"]["ids"]
    assert message["o"]["name"] == "CANS"
    unique = [part["unique_id"] for part in message["cmps"].values()]
    assert len(set(unique)) == len(unique)
    for part in message["cmps"].values():
        assert set(part) <= _FIELDS[part["p"]]
        assert part["state_topic"]
        if part["p"] == "sensor":
            assert part.get("unit_of_measurement") in _UNITS[part.get("device_class")]
            assert ("options" in part) == (part.get("device_class") == "enum")
    parts: dict[str, Any] = message["cmps"]
    return parts


def test_a_device_is_told_once_with_what_it_says_anyway() -> None:
    heard = _Heard(expires_s=90)
    ((topic, message, retained),) = heard.state(CAM)
    assert (topic, retained) == ("homeassistant/device/cans_v1-device-cam-1/config", True)
    parts = _checked(message)
    assert set(parts) == {"state", "alarm", "latency", "arm", "answered", "sent", "late"}
    assert parts["latency"]["state_topic"] == TOPICS.of(FEEDBACK, type="pi4", device="cam-1")
    assert parts["latency"]["expire_after"] == 90
    assert message["availability"][0]["topic"] == TOPICS.of(STATE, role="device", id="cam-1")
    assert heard.state(CAM) == []  # nothing new
    assert heard.bridge.told == 1


def test_edge_workers_aggregators_and_groups_are_told() -> None:
    heard = _Heard()
    ((_, edge, _),) = heard.state(EDGE)
    assert set(_checked(edge)) == {"state", "alarm", "load", "speed", "queue"}
    ((_, aggregator, _),) = heard.state(
        State(role="aggregator", id="main", state="ready", boot=1, version="1")
    )
    assert set(_checked(aggregator)) == {"state", "alarm"}
    ((topic, group, _),) = heard.take(WORDS, WORDS_SAID, type="pi4", model=WORDS_SAID.model)
    assert "group-pi4" in topic
    assert set(_checked(group)) == {"device", "away", "link", "members", "version"}


def test_what_is_on_our_topics_has_the_fields_that_templates_name() -> None:
    """A template that names a field that is not there shows nothing, and nobody hears of it."""
    fields = {
        "feedback": set(msgspec.to_builtins(SAID)), "state": set(msgspec.to_builtins(CAM)),
        "groups": set(msgspec.to_builtins(WORDS_SAID)), "queue": {"edge", "free_ms", "jobs"},
    }  # fmt: skip
    heard = _Heard()
    told = [*heard.state(CAM), *heard.state(EDGE), *heard.take(WORDS, WORDS_SAID, type="pi4", model=MODEL)]
    for _, message, _ in told:
        for part in message["cmps"].values():
            row = part["state_topic"].removeprefix("cans/v1/").split("/")[0]
            for named in re.findall(r"value_json\.(\w+)", part.get("value_template", "")):
                assert named in fields[row], (row, named)


def test_who_goes_and_who_comes_back_is_an_alarm() -> None:
    heard = _Heard()
    heard.state(CAM)
    ((topic, alarm, retained),) = heard.state(msgspec.structs.replace(CAM, state="lost"))
    assert (topic, retained) == ("homeassistant/event/cans_v1-device-cam-1/state", False)
    assert alarm["event_type"] == "offline"
    ((_, alarm, _),) = heard.state(CAM)
    assert alarm["event_type"] == "online"
    assert {"offline", "online"} <= set(KINDS)


def test_a_parked_device_and_one_that_is_late_are_alarms_once() -> None:
    heard = _Heard()
    aggregator = State(role="aggregator", id="main", state="ready", boot=1, version="1")
    parked = msgspec.structs.replace(aggregator, detail="cannot save; parked: cam-1, cam-2")
    heard.state(aggregator)
    alarms = heard.state(parked)
    assert [alarm["event_type"] for _, alarm, _ in alarms] == ["parked", "parked"]
    assert heard.state(parked) == []
    heard.state(CAM)
    missed = msgspec.structs.replace(SAID, device="cam-1", type="pi4", deadline_met=False)
    told = [each for _ in range(40) for each in heard.take(FEEDBACK, missed, type="pi4", device="cam-1")]
    assert [alarm["event_type"] for _, alarm, _ in told] == ["late"]
    assert (
        heard.take(FEEDBACK, msgspec.structs.replace(missed, device="cam-9"), type="pi4", device="cam-9")
        == []
    )


def test_a_node_that_was_removed_is_forgotten_and_strangers_tell_nothing() -> None:
    heard = _Heard()
    heard.state(CAM)
    assert heard.take(STATE, b"", role="device", id="cam-1") == [
        ("homeassistant/device/cans_v1-device-cam-1/config", None, True)
    ]
    assert heard.take(STATE, b"", role="device", id="cam-1") == []
    assert heard.take(STATE, b"\xff", role="device", id="cam-1") == []
    assert heard.take(STATE, CAM, role="device", id="cam-2") == []  # in another's name
    heard.bridge.take(Delivery("zigbee2mqtt/lamp", b"{}"))
    for number in range(2100):
        heard.state(msgspec.structs.replace(CAM, id=f"cam-{number}"))
    assert heard.bridge.told == 2000


@pytest.mark.parametrize("more", [{"prefix": "a//b"}, {"discovery_prefix": "a/#"}, {"expires_s": 0}])
def test_what_cannot_be_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        BridgeSettings(broker=BrokerAddress(), **more)


def test_on_a_real_broker_it_tells_again_when_home_assistant_starts() -> None:
    async def main() -> list[tuple[str, bool]]:
        seen: list[tuple[str, bool]] = []
        async with mosquitto() as broker:
            endpoint = Endpoint("ha", subscriptions=(("homeassistant/#", 1),))
            async with open_connection(broker.address, endpoint) as link:
                topic = TOPICS.of(STATE, role="device", id="cam-1")
                await link.publish(topic, encode(STATE, CAM), qos=1, retain=True)
                running = asyncio.create_task(run_bridge(BridgeSettings(broker=broker.address)))

                async def listen() -> None:
                    async for event in link.events():
                        if isinstance(event, Delivery):
                            seen.append((event.topic, event.retained))
                            event.ack()

                listening = asyncio.create_task(listen())
                async with asyncio.timeout(20):
                    while not any("cam-1/config" in topic for topic, _ in seen):  # noqa: ASYNC110 - of a broker
                        await asyncio.sleep(0.02)
                    await link.publish("homeassistant/status", b"online", qos=1)
                    while sum("cam-1/config" in topic for topic, _ in seen) < 2:  # noqa: ASYNC110 - as above
                        await asyncio.sleep(0.02)
                for task in (running, listening):
                    task.cancel()
                    await asyncio.wait({task})
        return seen

    assert asyncio.run(main())
