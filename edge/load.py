"""How loaded this worker says it is, and when saying it again is worth a retained publish.

Jobs come and go many times a second, so what is announced is the mean over one period, and only if it
moved by more than the hysteresis: steady traffic is announced once, an idle worker not at all. Every
reply carries the load of its instant besides.
"""


class LoadMeter:
    """Time-averages a load that changes in steps.

    Args:
        period_s: shortest time between two announcements, and the span that is averaged.
        hysteresis: smallest change of the mean that is announced, jobs.
    """

    def __init__(self, period_s: float = 1.0, hysteresis: float = 0.5) -> None:
        self._period_s = period_s
        self._hysteresis = hysteresis
        self._load = 0
        self._announced = 0.0
        self._area = 0.0
        self._opened_s: float | None = None  # start of the span; None while there is nothing to say
        self._changed_s = 0.0

    def set(self, load: int, now: float) -> None:
        """Tell the present load."""
        if self._opened_s is not None:
            self._area += self._load * (now - self._changed_s)
        elif load != self._load:
            self._opened_s, self._area = now, 0.0
        self._load, self._changed_s = load, now

    def due_s(self) -> float | None:
        """When to call `take`; None while the load rests where it was announced."""
        return None if self._opened_s is None else self._opened_s + self._period_s

    def take(self, now: float) -> float | None:
        """Close the span if it is over; return its mean load if that is worth announcing."""
        if self._opened_s is None or now < self._opened_s + self._period_s:
            return None
        self._area += self._load * (now - self._changed_s)
        mean = self._area / (now - self._opened_s)
        worth = abs(mean - self._announced) >= self._hysteresis
        if worth:
            self._announced = mean
        # What rests at the announced level, within the hysteresis, needs no further span.
        rests = abs(self._load - self._announced) < self._hysteresis
        self._opened_s, self._area, self._changed_s = (None if rests else now), 0.0, now
        return mean if worth else None
