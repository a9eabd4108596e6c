"""Home Assistant's MQTT discovery: a retained message for each node and group, which names our JSON topics.

Device-based discovery (https://www.home-assistant.io/integrations/mqtt/#discovery-messages-and-availability,
since 2024.11): Home Assistant then reads our own topics, by templates; nothing is published twice. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bus.messages import GroupWords, State
from bus.topics import FEEDBACK, QUEUE, STATE, WORDS, Role, Topics
from cans.alarms import KINDS
from cans.version import __version__

_THERE = "{{ 'online' if value_json.state in ['init', 'ready', 'sleeping'] else 'offline' }}"
_ORIGIN = {"name": "CANS", "sw": __version__}
_DIAGNOSTIC = {"entity_category": "diagnostic"}
_DURATION = {"device_class": "duration", "unit_of_measurement": "ms", "state_class": "measurement"}


@dataclass(frozen=True, slots=True)
class Discovery:
    """Makes discovery messages.

    Attributes:
        topics: of the site.
        prefix: Home Assistant's own, "homeassistant" unless it was changed there.
        expires_s: readings older than that are unavailable.
    """

    topics: Topics
    prefix: str
    expires_s: int

    def topic(self, name: str) -> str:
        """Return where a thing's discovery message is retained."""
        return f"{self.prefix}/device/{self._unique(name)}/config"

    def event_topic(self, name: str) -> str:
        """Return where a thing's alarms are published: not on our topics, where a watcher writes nothing."""
        return f"{self.prefix}/event/{self._unique(name)}/state"

    def node(self, state: State) -> dict[str, Any]:
        """Return the message of a device, an edge worker or an aggregator."""
        name = f"{state.role}-{state.id}"
        about = self.topics.of(STATE, role=state.role, id=state.id)
        parts: dict[str, dict[str, Any]] = {
            "state": _sensor("State", about, "{{ value_json.state }}", **_DIAGNOSTIC),
            "alarm": self._event(name),
        }
        if state.role == Role.EDGE:
            parts |= self._edge(state, about)
        elif state.role == Role.DEVICE and state.type:
            parts |= self._device(state)
        available = [{"topic": about, "value_template": _THERE}]
        model = " ".join(filter(None, (state.role, state.type)))
        return self._message(name, state.id, model, parts, {"sw": state.version, "availability": available})

    def group(self, type_: str, words: GroupWords) -> dict[str, Any]:
        """Return the message of what a group knows."""
        about = self.topics.of(WORDS, type=type_, model=words.model)
        speed = {"device_class": "data_rate", "unit_of_measurement": "Mbit/s", "state_class": "measurement"}
        parts = {
            "device": _sensor("Whole network on a device", about, "{{ value_json.device_ms }}", **_DURATION),
            "away": _sensor("Edge worker and wait", about, "{{ value_json.away_ms }}", **_DURATION),
            "link": _sensor("Link", about, "{{ value_json.link_mbit_per_s }}", **speed),
            "members": _sensor("Devices", about, "{{ value_json.members }}", **_DIAGNOSTIC),
            "version": _sensor("Version", about, "{{ value_json.version }}", **_DIAGNOSTIC),
        }
        return self._message(f"group-{type_}-{words.model}", f"Group {type_}", "group", parts, {})

    def _device(self, state: State) -> dict[str, dict[str, Any]]:
        about = self.topics.of(FEEDBACK, type=state.type, device=state.id)
        arm = "{{ 'device' if value_json.codec == 'none' else value_json.cut ~ '/' ~ value_json.codec }}"
        late = "{{ 'OFF' if value_json.deadline_met else 'ON' }}"
        size = {"device_class": "data_size", "unit_of_measurement": "B", "state_class": "measurement"}
        by = {"device_class": "enum", "options": ["device", "edge", "fallback"]}
        fresh = {"expire_after": self.expires_s}
        total = "{{ value_json.total_ms | round(1) }}"
        return {
            "latency": _sensor("Latency", about, total, **_DURATION, **fresh),
            "arm": _sensor("Cut", about, arm, **fresh),
            "answered": _sensor("Answered by", about, "{{ value_json.answered_by }}", **by, **fresh),
            "sent": _sensor("Sent a frame", about, "{{ value_json.sent_bytes }}", **size, **fresh),
            "late": {
                "p": "binary_sensor", "name": "Deadline missed", "state_topic": about, "value_template": late,
                "device_class": "problem", **fresh,
            },
        }  # fmt: skip

    def _edge(self, state: State, about: str) -> dict[str, dict[str, Any]]:
        queue = self.topics.of(QUEUE, edge=state.id)
        measured = {"state_class": "measurement"}
        return {
            "load": _sensor("Load", about, "{{ value_json.load }}", **measured),
            "speed": _sensor("Frames a second", about, "{{ value_json.speed | round(1) }}", **measured),
            # Told when it has moved, so an old one says that nobody has waited since.
            "queue": _sensor("Wait", queue, "{{ value_json.free_ms | round(1) }}", **_DURATION),
        }

    def _event(self, name: str) -> dict[str, Any]:
        return {
            "p": "event", "name": "Alarm", "state_topic": self.event_topic(name), "event_types": list(KINDS),
        }  # fmt: skip

    def _message(
        self, name: str, shown: str, model: str, parts: Mapping[str, dict[str, Any]], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        unique = self._unique(name)
        about: dict[str, Any] = {"ids": [unique], "name": shown, "mf": "CANS", "mdl": model}
        rest = dict(more)
        if rest.get("sw"):
            about["sw"] = rest["sw"]
        rest.pop("sw", None)
        named = {part: {"unique_id": f"{unique}_{part}", **each} for part, each in parts.items()}
        return {"dev": about, "o": _ORIGIN, "cmps": named, "qos": 0, **rest}

    def _unique(self, name: str) -> str:
        """Return a name that no other site has, of the letters that Home Assistant allows."""
        whole = f"{self.topics.prefix}-{name}"
        return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in whole)


def _sensor(name: str, topic: str, template: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - Home Assistant's own fields
    return {"p": "sensor", "name": name, "state_topic": topic, "value_template": template, **more}
