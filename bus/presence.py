"""Where a node says that it is there: the retained state, the will that contradicts it, the metrics.

One place for the three, so that state and will cannot come to disagree about topic, identity or boot.
This file must never publish; it makes (topic, payload) pairs for whoever holds the connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from bus.connection import Will
from bus.errors import LocalProtocolError
from bus.messages import NodeState, State
from bus.topics import DEFAULT_PREFIX, METRICS, STATE, Role, Topics
from bus.wire import encode, encode_metrics

# Limits of `bus.messages.Label` and `Sentence`; the encoder does not hold us to them, every reader does.
_LABEL_LENGTH = 64
_SENTENCE_LENGTH = 256


@dataclass(frozen=True, slots=True)
class Presence:
    """A node's identity on the bus.

    Attributes:
        topics: the table under the node's prefix.
        role, id: who it is.
        boot: starts so far; a will of boot n says nothing about boot n + 1.
        version: of the software.
        type: device type, empty for the other roles.

    Example:
        >>> presence = Presence(Topics(), Role.EDGE, "edge-1", boot=3, version="0.1.0")
        >>> presence.announce("ready", models="00112233445566aa")[0]
        'cans/v1/state/edge/edge-1'
    """

    topics: Topics
    role: Role
    id: str
    boot: int
    version: str
    type: str = ""

    def client_id(self, part: str = "") -> str:
        """Return a name for a connection: `device:cam-1`, `device:cam-1:data`.

        The role belongs to it, since a device and an aggregator may both be called main; so does a prefix of
        one's own, since two sites may share a broker. A colon stands in no name, so parts cannot be mistaken.
        """
        prefix = () if self.topics.prefix == DEFAULT_PREFIX else (self.topics.prefix.replace("/", "."),)
        return ":".join((*prefix, self.role.value, self.id, *filter(None, (part,))))

    def will(self) -> Will:
        """Return what the broker says for us if we vanish: lost, of this very boot."""
        topic, payload = self.announce("lost")
        return Will(topic, payload, qos=STATE.qos, retain=STATE.retained)

    def announce(
        self,
        state: NodeState,
        *,
        models: str = "",
        arms: str = "",
        load: float = 0.0,
        speed: float = 0.0,
        detail: str = "",
    ) -> tuple[str, bytes]:
        """Return topic and payload of the retained state.

        Args:
            state: init, ready, disconnected (a goodbye), sleeping or lost (the will).
            models: hashes served, comma separated.
            arms: digests of what each can be asked for, in their order, comma separated.
            load: jobs waiting or running.
            speed: tails a second.
            detail: one sentence for people, cut at 256 characters.

        Raises:
            LocalProtocolError: more models than one state can name (15).
        """
        if max(len(models), len(arms)) > _SENTENCE_LENGTH:
            raise LocalProtocolError(
                f"a state names at most {_SENTENCE_LENGTH // 17} models: start another edge worker"
            )
        message = State(
            role=self.role.value,
            id=self.id,
            state=state,
            boot=self.boot,
            version=self.version[:_LABEL_LENGTH],
            type=self.type,
            models=models,
            arms=arms,
            load=load,
            speed=speed,
            detail=detail[:_SENTENCE_LENGTH],
        )
        return self.topics.of(STATE, role=self.role.value, id=self.id), encode(STATE, message)

    def metrics(self, values: Mapping[str, float]) -> tuple[str, bytes]:
        """Return topic and payload of a metrics message: number leaves, units in the names.

        Raises:
            LocalProtocolError: if a value is not a finite number.
        """
        return self.topics.of(METRICS, role=self.role.value, id=self.id), encode_metrics(values)
