"""A process in simulated time: a session that starts, is woken, is asked to stop, or is killed unsaved.

What every role's process shares; the roles are in `simulated_device.py` and `simulated_servers.py`.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Generic, Protocol, TypeVar

from bus import shell
from bus.connection import Delivery
from tests.support.simulated_books import Books
from tests.support.simulated_broker import Broker, Clock, Link

E_contra = TypeVar("E_contra", contravariant=True)
E = TypeVar("E")
C = TypeVar("C")
T = TypeVar("T")

SLOWEST_WRITE_S = 0.4


class World:
    """What all processes share.

    Attributes:
        calm: nothing fails any more.
        dry: cameras give no more frames.
        met: how often what has happened.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.broker = Broker(self.clock, seed)
        self.books = Books()
        self.calm = False
        self.dry = False
        self.met: Counter[str] = Counter()

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.clock.now

    def goes_wrong(self, probability: float) -> bool:
        """Draw whether something fails."""
        return not self.calm and self.random.random() < probability


class Disk(Generic[T]):
    """One file, replaced atomically and durably in simulated time.

    A kill comes before the replacement, then the older content stays, or right after it, untold.
    """

    def __init__(self, world: World, landed: Callable[[T], None] = lambda _: None) -> None:
        self.content: T | None = None
        self._world = world
        self._landed = landed
        self._writing: tuple[T] | None = None

    def write(self, content: T, done: Callable[[bool], None]) -> None:
        """Replace the content, and tell whether that worked."""
        assert self._writing is None, "two snapshots at once"
        writing = self._writing = (content,)

        def end() -> None:
            if self._writing is not writing:
                return  # its process was killed
            self._writing = None
            works = not self._world.goes_wrong(0.08)
            if works:
                self._land(content)
            self._world.met["disk works" if works else "disk fails"] += 1
            done(works)

        self._world.clock.after(self._world.random.uniform(0.005, SLOWEST_WRITE_S), end)

    def killed(self) -> None:
        """Its process is gone."""
        writing, self._writing = self._writing, None
        if writing is not None:
            landed = self._world.random.random() < 0.5
            self._world.met[f"killed {'after' if landed else 'before'} the rename"] += 1
            if landed:
                self._land(writing[0])

    def _land(self, content: T) -> None:
        self.content = content
        self._landed(content)


class Session(shell.Session[E_contra, C], Protocol[E_contra, C]):
    """A session that can check itself."""

    def check(self) -> None:
        """Assert the invariants."""
        ...


class Node(ABC, Generic[E, C]):
    """One process.

    Attributes:
        boot: starts so far.
        alive: whether it runs.
        leaving: whether it was asked to stop in this life.
        stopped: its session has said `Stop` in this life.
        deadline: when to wake it.

    Args:
        woken, asked_to_stop: the events that say so.
    """

    role = ""

    def __init__(
        self, world: World, name: str, woken: E, asked_to_stop: E, filters: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.world = world
        self.name = name
        self.boot = 0
        self.alive = self.leaving = self.stopped = False
        self.deadline: float | None = None
        self.links = {link: Link(self, link, wanted) for link, wanted in filters.items()}
        world.broker.links += self.links.values()
        self._woken = woken
        self._asked_to_stop = asked_to_stop
        self._session: Session[E, C]

    @abstractmethod
    def begin(self) -> Session[E, C]:
        """A new life from whatever is on the disk."""

    @abstractmethod
    def begun(self) -> None:
        """Post what a runtime posts first."""

    @abstractmethod
    def execute(self, command: C) -> None:
        """Carry out one command; its completion comes later as an event."""

    @abstractmethod
    def delivered(self, delivery: Delivery) -> None:
        """As `simulated_broker.Client`."""

    @abstractmethod
    def link_changed(self, link: Link) -> None:
        """As `simulated_broker.Client`."""

    def announcements(self, link: Link, *, lost: bool) -> list[tuple[str, bytes]]:
        """As `simulated_broker.Client`; nobody but an edge worker has a state that anybody reads."""
        return []

    def start(self) -> None:
        """Start, with a higher boot; the links come up a little later."""
        if self.alive:
            return
        self.boot += 1
        self.alive, self.leaving, self.stopped = True, False, False
        self._session = self.begin()
        self._session.check()
        self.begun()
        for link in self.links.values():
            self.world.clock.after(
                self.world.random.uniform(0.0, 0.3), partial(self.world.broker.connect, link)
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.world.met[f"{self.role} killed"] += 1
            self._end()

    def leave(self) -> None:
        """SIGTERM; its session says `Stop` when it is ready."""
        if self.alive and not self.leaving:
            self.world.met[f"{self.role} asked to stop"] += 1
            self.leaving = True
            self.post(self._asked_to_stop)

    def stop(self) -> None:
        """Carry out `Stop`."""
        self.stopped = True
        self._end()

    def _end(self) -> None:
        self.alive, self.deadline = False, None
        for link in self.links.values():
            self.world.broker.cut(link)

    def post(self, event: E) -> None:
        """Let the session handle an event, check itself, and be obeyed."""
        assert self.alive
        commands = self._session.handle(event, self.world.now)
        self._session.check()
        self.deadline = self._session.next_deadline()
        for command in commands:
            self.execute(command)

    def later(self, delay_s: float, event: E) -> None:
        """Post an event after a while, unless this life is over by then."""
        boot = self.boot

        def arrive() -> None:
            if self.alive and self.boot == boot:
                self.post(event)

        self.world.clock.after(delay_s, arrive)

    def wake(self) -> None:
        """The deadline has come."""
        self.post(self._woken)
        ahead = self.deadline is None or self.deadline > self.world.now
        assert ahead, f"{self.name} would be woken for ever"

    def some(self, least_s: float, most_s: float) -> float:
        """How long something takes this time."""
        return self.world.random.uniform(least_s, most_s)
