"""Recorded messages below another prefix, so that a replay never meets the site that was recorded."""

from dataclasses import dataclass, replace

from bus.recording.entries import Message


@dataclass(frozen=True, slots=True)
class Mover:
    """Moves topics from one prefix to another.

    Attributes:
        recorded: prefix of the site that was recorded.
        onto: prefix of the replay.
    """

    recorded: str
    onto: str

    def topic(self, topic: str) -> str:
        """Return where a topic is moved to; what was not below the prefix then is below it now."""
        below = topic.removeprefix(f"{self.recorded}/")
        return f"{self.onto}/{below}"

    def message(self, message: Message) -> Message | None:
        """Return the message as it is to be published; None for a broker's own topics, which nobody may."""
        if message.topic.startswith("$"):
            return None
        said = message.properties
        if said is not None and said.response_topic is not None:
            said = replace(said, response_topic=self.topic(said.response_topic))
        return replace(message, topic=self.topic(message.topic), properties=said)
