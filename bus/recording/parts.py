"""A part of a recording that can stand alone: what was retained where it begins comes first."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from bus.filters import matches
from bus.recording.entries import Entry, Gap, Message
from bus.topics import Topics


@dataclass(frozen=True, slots=True)
class Part:
    """Which part.

    Attributes:
        prefix: of the site that was recorded.
        filters: topics, with or without the prefix; all when empty.
        from_s, to_s: seconds after the recording's first entry.
    """

    prefix: str
    filters: tuple[str, ...] = ()
    from_s: float = 0.0
    to_s: float = math.inf

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Yield the part's entries, gaps too; what was retained before it is retained at its beginning."""
        standing: dict[str, Message] = {}
        first_ns = None
        for entry in entries:
            first_ns = entry.steady_ns if first_ns is None else first_ns
            at_s = (entry.steady_ns - first_ns) / 1e9
            if at_s > self.to_s:
                break
            if isinstance(entry, Message) and not self.chosen(entry.topic):
                continue
            if at_s < self.from_s:
                if isinstance(entry, Message) and stays(entry, self.prefix):
                    _keep(standing, entry)
                continue
            yield from self._begun(standing, first_ns)
            standing.clear()
            yield entry
        if first_ns is not None:
            yield from self._begun(standing, first_ns)

    def chosen(self, topic: str) -> bool:
        """Whether messages of a topic are in it."""
        below = topic.removeprefix(f"{self.prefix}/")
        return not self.filters or any(matches(each, topic) or matches(each, below) for each in self.filters)

    def _begun(self, standing: dict[str, Message], first_ns: int) -> Iterator[Message]:
        """Yield what is retained where the part begins, as who subscribes there gets it."""
        later_ns = first_ns + round(self.from_s * 1e9)
        for message in standing.values():
            on_ns = later_ns - message.steady_ns
            yield replace(message, steady_ns=later_ns, wall_ns=message.wall_ns + on_ns, retained=True)


def stays(message: Message, prefix: str) -> bool:
    """Whether a broker keeps a message for those who come later: it was there before, or its row says so.

    Who had subscribed already sees no retain flag (MQTT 5, 3.3.1.3), so the flag alone does not tell.
    """
    if message.retained:
        return True
    address = Topics(prefix).parse(message.topic)
    return address is not None and address.topic.retained


def numbered() -> Callable[[Entry], Entry]:
    """Return what gives entries the numbers of a recording of their own."""
    count = 0

    def number(entry: Entry) -> Entry:
        nonlocal count
        given: Message | Gap = replace(entry, number=count)
        count += 1
        return given

    return number


def _keep(standing: dict[str, Message], message: Message) -> None:
    standing.pop(message.topic, None)
    if message.payload:  # without one, the broker forgets
        standing[message.topic] = message
