"""Who may do what at the broker, from the one topic table.

An identity is `role/id`, for a device `device/type/id`; it is the common name of a client certificate or a
user name with a password. Each gets the topics that its role writes and reads, with its own id (and a
device's own type) where the table says so.
This file must never know which broker enforces it beyond the last function, which writes mosquitto's form.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from bus.errors import ConfigurationError
from bus.names import require_name
from bus.topics import LAB_TABLE, TABLE, Role, Topic, Topics

# X.520 allows 64 characters in a common name.
_COMMON_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """Who somebody is at the broker.

    Attributes:
        type: the device type, empty for other roles.
    """

    role: Role
    id: str
    type: str = ""

    @property
    def name(self) -> str:
        """Common name, user name, and path under `identities/`."""
        return "/".join(part for part in (self.role.value, self.type, self.id) if part)


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing an identity may do; `topic_filter` may hold `+`."""

    access: Literal["read", "write"]
    topic_filter: str


def parse_identity(text: str) -> Identity:
    """Read `device/TYPE/ID`, `edge/ID`, `aggregator/ID`, `watcher/ID` or `coordinator/ID`.

    Raises:
        ConfigurationError: with what to write instead.
    """
    word, *names = text.split("/")
    try:
        role = Role(word)
    except ValueError:
        role = None
    if role is None or len(names) != (2 if role is Role.DEVICE else 1):
        raise ConfigurationError(
            f"identity {text!r} is none: write device/TYPE/ID, edge/ID, aggregator/ID, watcher/ID or "
            "coordinator/ID"
        )
    for name in names:
        require_name(name, "the name in an identity")
    if len(text) > _COMMON_NAME_LENGTH:
        raise ConfigurationError(
            f"identity {text!r} is longer than the {_COMMON_NAME_LENGTH} characters a certificate can hold"
        )
    return Identity(role, names[-1], names[0] if role is Role.DEVICE else "")


def grants(identity: Identity, topics: Topics) -> list[Grant]:
    """Return what an identity may do, in the order of the table."""
    return _granted(identity, topics, TABLE)


def lab_grants(identity: Identity, topics: Topics) -> list[Grant]:
    """Return what an identity may do below a testbed's own prefix.

    There a device is as many devices as the experiment has policies, under names that are made as it goes. So
    what its role writes and reads it writes and reads under every name; orders and reports are its own alone.
    """
    anybodys = (replace(topic, own=()) for topic in TABLE)
    return _granted(identity, topics, (*anybodys, *LAB_TABLE))


def _granted(identity: Identity, topics: Topics, table: Iterable[Topic]) -> list[Grant]:
    found: list[Grant] = []
    for topic in table:
        if identity.role in topic.writers:
            found.append(Grant("write", topics.filter(topic, **_own(identity, topic))))
        if identity.role in topic.readers:
            # Who writes under its own id reads everybody's: `own` binds the writing.
            own = {} if identity.role in topic.writers else _own(identity, topic)
            found.append(Grant("read", topics.filter(topic, **own)))
    return found


def _own(identity: Identity, topic: Topic) -> dict[str, str]:
    """The fields of a topic that must be the identity's own."""
    own = {field: identity.id for role, field in topic.own if role is identity.role}
    if own and identity.type and "type" in topic.fields:
        own["type"] = identity.type
    if own and "role" in topic.fields:
        own["role"] = identity.role.value
    return own


def mosquitto_acl(identities: Iterable[Identity], topics: Topics, lab: Topics | None = None) -> str:
    """Return mosquitto's `acl_file`: nothing for anybody who is not named.

    Args:
        identities: who may do anything at all.
        topics: the table under the site's prefix.
        lab: under a testbed's; None where none may play.
    """
    blocks = ["# Generated from the topic table; changes here are lost at the next start."]
    for identity in sorted(set(identities)):
        lines = [f"user {identity.name}"]
        found = grants(identity, topics) + (lab_grants(identity, lab) if lab is not None else [])
        lines += [f"topic {grant.access} {grant.topic_filter}" for grant in found]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
