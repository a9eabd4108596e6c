"""Messages and alarms in virtual time: what is lost, doubled, late and overtaken. Pure.

It owns no clock: whoever drives it says until when to play. What falls due at one moment comes in the order
in which it was sent, so a channel that loses and delays nothing is a call that returns later.
"""

import heapq
from collections.abc import Callable

import msgspec
import numpy as np

from bus.errors import ConfigurationError
from lab.simulator import spec

Delivery = Callable[[float], None]
"""What happens on arrival; it is given the moment, in virtual seconds."""


def require_instant(settings: spec.Channel, learner: str) -> None:
    """Refuse to play a learner that has no rule for what may happen to messages as if nothing did.

    Raises:
        ConfigurationError: messages may be lost or late. Replies may: no learner sends them.
    """
    if msgspec.structs.replace(settings, reply_loss=0.0) != spec.Channel():
        raise ConfigurationError(
            f"{learner} has no rule for messages that are late or lost: "
            "of [world.channel] it takes reply_loss only"
        )


class Channel:
    """See `spec.Channel`.

    Args:
        settings: what happens to messages.
        random: of its own, so that what happens to messages changes nothing else of a world.
    """

    def __init__(self, settings: spec.Channel, random: np.random.Generator) -> None:
        self.settings = settings
        self._random = random
        self._queue: list[tuple[float, int, Delivery]] = []
        self._numbered = 0

    def send(self, deliver: Delivery, now_s: float, loss: float) -> None:
        """Send a message, of which the share `loss` never arrives; each copy goes its own way."""
        copies = 2 if self._happens(self.settings.duplicated) else 1
        for _ in range(copies):
            if not self._happens(loss):
                self.at(now_s + self._delay_s(), deliver)

    def at(self, at_s: float, deliver: Delivery) -> None:
        """Set an alarm, which is neither lost nor late."""
        self._numbered += 1
        heapq.heappush(self._queue, (at_s, self._numbered, deliver))

    def play(self, until_s: float) -> None:
        """Deliver all that falls due until then, and what follows from it until then."""
        while self._queue and self._queue[0][0] <= until_s:
            at_s, _, deliver = heapq.heappop(self._queue)
            deliver(at_s)

    def _happens(self, share: float) -> bool:
        return share > 0.0 and bool(self._random.random() < share)

    def _delay_s(self) -> float:
        if self.settings.delay_s == 0.0:
            return 0.0
        return min(float(self._random.exponential(self.settings.delay_s)), self.settings.delay_most_s)
