"""What lies between a device and an answer: its link, and whatever else keeps answers away.

The link is estimated from transfers (`link_estimate.py`). What any offload costs beyond link and compute,
such as waiting for a free edge worker, is a mean of the latest frames, and fades while nobody is asked: the
more slowly, the more often it was still there when somebody asked again (ADR 26). Where the edge worker says
for how long a job would wait (ADR 29), that is added for the next frame, and only what goes beyond it is
remembered.

A frame that nobody answered says that link or edge worker failed, not which. From then until the next
answer there are two estimates of the link: one that takes the blame and is believed, and one as it was
before. A *link check*, an acknowledgement by the broker alone, lies near what one of the two expected. If
that is the latter at the first check, the wait is beyond the link; if later, the link is back, as it was.
A check that takes several times what was expected raises the question too, before anybody has waited in
vain: that is what one shortly before a frame is for (ADR 27).
A refusal is believed at once: an edge worker has said so (ADR 18, ADR 24).
"""

import copy
import math

import numpy as np

from bandits.arrays import Dump, Vector
from bandits.link_estimate import LinkEstimate, LinkSettings
from bandits.policy import LinkCheck

_LONGER = 2.0
"""Times so long as was waited in vain: what has taken t already takes as likely more as less than 2 t, where
nothing is known of its scale."""
_GAIN = 0.3
"""Weight of the latest frame in what is beyond the link: a single wait for an edge worker is mostly noise."""
_STILL_THERE = 0.25
"""Share of what was beyond when the last answer came: a wait that is longer says that it has not gone."""
_SLOWEST = 12.0
"""Times the fading of a link's deviations."""
_LATE = 3.0
"""Times what was expected, from which on a check says that something has happened to the link."""
_AHEAD = 4.0
"""Times what is expected that a check leaves before a frame: late by then, and hardly sooner than needed."""


class Between:
    """One device's own estimate of it.

    Args:
        settings: of the link's estimate.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._link = LinkEstimate(settings)
        self._clear: LinkEstimate | None = None  # as it was before a wait in vain, until somebody answers
        self._unexplained_s = 0.0  # of that wait, if the link is clear; 0 once it is known not to have been
        self._beyond_s = 0.0
        self._fade_frames = settings.memory_frames  # after which what is beyond has faded to 1 / e
        self._left_s = 0.0  # what it was when the last answer came
        self._alone = 0  # frames since
        self._in_vain = False
        self._free_s: float | None = None  # when a worker is free, as it has said since the last frame

    def told(self, free_s: float) -> None:
        """Learn how long from now a job would wait at the edge worker, had it come by now.

        It holds for the next frame alone: what is beyond the link is then known, and need not be remembered.
        """
        self._free_s = free_s

    @property
    def in_vain(self) -> bool:
        """Whether the last answer that was waited for has not come, or is not expected to."""
        return self._in_vain

    def ahead_s(self, units: float) -> float:
        """As `HeedsLinkChecks.ahead_s`; while an answer is missing, frames are followed by checks anyway."""
        return 0.0 if self._in_vain or self._link.unit_unknown else _AHEAD * self._link.expected_s(units)

    @property
    def beyond_s(self) -> float:
        """Seconds that any offload is believed to take beside link and edge worker."""
        return self._beyond_s

    def expected_s(self, units: float) -> float:
        """Return what a transfer of `units` is expected to take, seconds."""
        return self._link.expected_s(units)

    @property
    def unit_unknown(self) -> bool:
        """As that of `LinkEstimate`."""
        return self._link.unit_unknown

    @property
    def link_out(self) -> bool:
        """Whether the link is believed to be out at present."""
        return self._link.out

    def predict(self, units: Vector, front_s: Vector | float = 0.0) -> tuple[Vector, Vector]:
        """Return expected seconds and their standard deviation for offloads of `units` (K,).

        Args:
            units: of the link's column.
            front_s: what the device computes before, (K,): a queue is shorter by then.
        """
        mean_s, spread_s = self._link.predict(units)
        return mean_s + self._beyond_s + self.told_s(front_s + mean_s), spread_s

    def told_s(self, until_s: Vector | float) -> Vector | float:
        """Return for how long a job would wait that came so long from now, if anybody has said so; or 0."""
        return 0.0 if self._free_s is None else np.maximum(0.0, self._free_s - until_s)

    def pass_time(self) -> None:
        """Let what is known grow old by a frame."""
        self._free_s = None
        for link in (self._link, self._clear):
            if link is not None:
                link.pass_time()

    def stayed(self) -> None:
        """Note a frame that asked nobody: what kept answers away may be over."""
        keep = math.exp(-1.0 / self._settings.memory_frames)
        self._alone += 1
        self._beyond_s *= math.exp(-1.0 / self._fade_frames)
        # A question that stays open grows old too: what a late check says of it is worth ever less.
        self._unexplained_s *= keep

    def answered(self, units: float, seconds: float, wait_s: float = 0.0) -> None:
        """Learn from an answer `seconds` on its way, that waited `wait_s` there beside what was told."""
        self._clear, self._in_vain = None, False
        self._beyond_s += _GAIN * (wait_s - self._beyond_s)
        self._note_fading(wait_s)
        self._link.observe(units, seconds)

    def _note_fading(self, wait_s: float) -> None:
        """Let what is beyond fade more slowly if it is still there when it is tried again, else faster."""
        shortest = self._settings.memory_frames
        if wait_s < max(_STILL_THERE * self._left_s, self._settings.floor_s):
            self._fade_frames = max(0.5 * self._fade_frames, shortest)
        elif self._alone:
            self._fade_frames = min(2.0 * self._fade_frames, _SLOWEST * shortest)
        self._left_s, self._alone = self._beyond_s, 0

    def waited(self, units: float, seconds: float) -> None:
        """Learn that no answer came in `seconds` beside the edge worker's part."""
        if self._clear is None:
            self._clear = copy.copy(self._link)
        self._in_vain = True
        self._unexplained_s = max(0.0, seconds - self._clear.expected_s(units))
        self._link.doubt()
        self._link.observe_at_least(units, _LONGER * seconds)

    def refused(self, seconds: float) -> None:
        """Learn that an edge worker would not do it, which has cost `seconds` beside its own part."""
        self._in_vain = False
        if self._clear is not None:
            self._link, self._clear = self._clear, None  # a refusal has come over it
        self._beyond_s = max(self._beyond_s, seconds - self._link.expected_s(0.0))

    def checked(self, check: LinkCheck) -> None:
        """Learn what the link alone takes."""
        if self._clear is not None:
            said = self._is_clear(self._clear, check)
            if said is None:
                return
            if said:
                self._link, self._clear = self._clear, None
                self._beyond_s += _GAIN * max(0.0, self._unexplained_s - self._beyond_s)
            # What the wait was is settled; not that the link may come back as it was.
            self._unexplained_s = 0.0
        elif check.seconds > _LATE * self._link.expected_s(check.units) + self._settings.floor_s:
            self._clear, self._in_vain = copy.copy(self._link), True
            self._link.suspect(check.units, (_LONGER if check.at_least else 1.0) * check.seconds)
            return
        observe = self._link.observe_at_least if check.at_least else self._link.observe
        observe(check.units, check.seconds)

    def _is_clear(self, clear: LinkEstimate, check: LinkCheck) -> bool | None:
        """Whether a check is nearer to what the clear link would take; None if it says nothing of that.

        Nearer in ratio. A bound can only speak against the clear link.
        """
        middle_s = math.sqrt(clear.expected_s(check.units) * self._link.expected_s(check.units))
        if check.at_least:
            return False if check.seconds > middle_s else None
        return check.seconds < middle_s

    def dump(self) -> Dump:
        """Return the estimates as they are believed; a question does not stay open over a restart."""
        return {"link": self._link.dump(), "beyond_s": self._beyond_s}

    def load(self, state: Dump) -> None:
        """Take over what `dump` returned, or a link's estimate alone, as states of 0.1 hold it.

        Raises:
            ValueError: an invalid estimate.
        """
        if "link" not in state:
            self._link.load(state)
            return
        beyond_s = float(state["beyond_s"])
        if not 0.0 <= beyond_s < math.inf:
            raise ValueError(f"a wait of {beyond_s} s is none")
        self._link.load(state["link"])
        self._clear, self._beyond_s = None, beyond_s
