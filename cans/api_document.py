"""The bus as an AsyncAPI 3 document, and its JSON messages as JSON Schemas, from the table and the structs.

https://www.asyncapi.com/docs/reference/specification/v3.0.0, with its MQTT bindings 0.2.0.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from bus.messages import Message
from bus.topics import TABLE, Form, Role, Topic, Topics
from bus.wire import kinds_of
from cans.version import __version__

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ABOUT = (
    "Devices split neural networks with an edge worker over MQTT, and learn together where to cut. MQTT "
    "3.1.1 is enough; on MQTT 5 messages have content type, response topic, correlation data and expiry, too."
)
_METRICS = "Metrics"
_NUMBERS = {
    "title": _METRICS,
    "description": "Numbers only, units in the names.",
    "type": "object",
    "additionalProperties": {"type": "number"},
}
_LEVELS = {
    "edge": "Id of an edge worker.",
    "device": "Id of a device.",
    "type": "Device type.",
    "model": "Hash of a network and its weights.",
    "role": "device, edge or aggregator.",
    "id": "Of the node.",
}
_BINDING = "0.2.0"


def asyncapi(prefix: str) -> dict[str, Any]:
    """Return the document of a bus whose topics have this prefix."""
    topics = Topics(prefix)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "CANS",
            "version": __version__,
            "description": _ABOUT,
        },
        "servers": {
            "broker": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "description": "Any MQTT broker; cans broker starts one.",
            }
        },
        "channels": {_name(topic): _channel(topic, topics) for topic in TABLE},
        "operations": dict(_operations()),
        "components": {"messages": dict(_messages()), "schemas": schemas("#/components/schemas/{name}")},
    }


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return a schema for each topic that carries JSON, by its name; each can stand alone."""
    found = {}
    for topic in TABLE:
        if topic.form is not Form.JSON:
            continue
        kinds = kinds_of(topic)
        schema = _plain(msgspec.json.schema(kinds[0])) if kinds else dict(_NUMBERS)
        found[_name(topic)] = {"$schema": DRAFT, **schema}
    return found


def schemas(template: str) -> dict[str, Any]:
    """Return the schema of every message, by its name.

    Args:
        template: of references between them, with `{name}`.
    """
    _, components = msgspec.json.schema_components(list(_kinds()), ref_template=template)
    return {name: _plain(schema) for name, schema in sorted(components.items())} | {_METRICS: _NUMBERS}


def _kinds() -> Iterator[type[Message]]:
    for topic in TABLE:
        yield from kinds_of(topic)


def _name(topic: Topic) -> str:
    return f"{topic.name}{topic.leaf.capitalize()}"


def _names(topic: Topic) -> list[str]:
    return [kind.__name__ for kind in kinds_of(topic)] or [_METRICS]


def _channel(topic: Topic, topics: Topics) -> dict[str, Any]:
    return {
        "address": f"{topics.prefix}/{topic.template}",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(topic)},
        "parameters": {field: {"description": _LEVELS[field]} for field in topic.fields},
        "description": f"Payloads of at most {topic.limit_bytes} bytes.",
    }


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each role does with each row of the table."""
    for topic in TABLE:
        for action, roles in (("send", topic.writers), ("receive", topic.readers)):
            for role in roles:
                yield (
                    f"{role.value}{action.capitalize()}s{_name(topic)[0].upper()}{_name(topic)[1:]}",
                    {
                        "action": action,
                        "channel": {"$ref": f"#/channels/{_name(topic)}"},
                        "summary": _summary(topic, role, action),
                        "bindings": {"mqtt": _binding(topic, action)},
                    },
                )


def _summary(topic: Topic, role: Role, action: str) -> str:
    own = dict(topic.own).get(role)
    whose = f", whose {own} is its own id" if own else ""
    return f"{role.value.capitalize()} {'publishes' if action == 'send' else 'subscribes'}{whose}."


def _binding(topic: Topic, action: str) -> dict[str, Any]:
    said: dict[str, Any] = {"qos": topic.qos, "bindingVersion": _BINDING}
    return said | {"retain": topic.retained} if action == "send" else said


def _messages() -> Iterator[tuple[str, dict[str, Any]]]:
    for topic in TABLE:
        for name in _names(topic):
            yield (
                name,
                {
                    "name": name,
                    "contentType": topic.form.content_type,
                    "payload": {"$ref": f"#/components/schemas/{name}"},
                },
            )


def _plain(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Return a schema with patterns as JSON Schema has them, and descriptions on one line each."""
    if isinstance(schema, dict):
        return {
            key: _plain(_line(value) if key == "description" else value) for key, value in schema.items()
        } | (
            {"pattern": schema["pattern"].replace(r"\A", "^").replace(r"\Z", "$")}
            if "pattern" in schema
            else {}
        )
    return [_plain(each) for each in schema] if isinstance(schema, list | tuple) else schema


def _line(text: Any) -> Any:  # noqa: ANN401 - of a schema; a property may be called so
    return re.sub(r"\s*\n\s*", " ", text).strip() if isinstance(text, str) else text
