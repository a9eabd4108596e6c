"""A whole site in simulated time: three devices of two types, two edge workers and an aggregator.

Their real sessions exchange real bytes; the broker, the disks, the computing and the trouble are simulated
(see the other `simulated_*.py`), all of it drawn from one seed. Trouble comes for a while, then everything
heals, the devices hand in what they have learnt, and what is left must be the truth.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

from aggregator.keys import Grouping
from device.limits import Limits
from tests.support.simulated_books import same
from tests.support.simulated_broker import LONGEST_DELAY_S, Link
from tests.support.simulated_device import DeviceNode
from tests.support.simulated_nodes import SLOWEST_WRITE_S, Node, World
from tests.support.simulated_servers import AggregatorNode, EdgeNode

TROUBLE_S = 30.0
PATIENCE_S = 200.0
LIMITS = Limits(
    deadline_ms=1000.0,
    wait_edge_s=1.0,
    resend_s=0.3,
    resend_most_s=4.0,
    save_every_s=0.5,
    flush_s=2 * PATIENCE_S,
    frame_period_s=0.5,
)
CLOSED_LOOP = Limits(
    deadline_ms=600.0,
    wait_edge_s=0.0,
    resend_s=0.5,
    resend_most_s=2.0,
    save_every_s=2.0,
    flush_s=2 * PATIENCE_S,
)
TYPES = ("pi4", "nano")
RESTARTS_S = (0.05, 0.3, 1.5)  # how long a process is away


class SimulatedSite:
    """The site of one seed.

    Attributes:
        world: what its processes share.
    """

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.devices = (
            DeviceNode(self.world, "cam-1", "pi4", 1, LIMITS, rows=8),
            DeviceNode(self.world, "cam-2", "pi4", 2, CLOSED_LOOP, rows=0),
            DeviceNode(self.world, "cam-3", "nano", 3, LIMITS, rows=4),
        )
        self.edges = (EdgeNode(self.world, "edge-1", 1), EdgeNode(self.world, "edge-2", 2))
        self.aggregator = AggregatorNode(self.world, Grouping({type_: (type_,) for type_ in TYPES}))
        self.nodes = (*self.devices, *self.edges, self.aggregator)

    def run(self) -> None:
        """Trouble, healing, the end, and the truth."""
        for node in self.nodes:
            node.start()
        self._begin_trouble()
        self._until(TROUBLE_S)
        self._heal()
        self._hand_in()
        self._power_cut()
        self._stop()

    def _begin_trouble(self) -> None:
        """Processes, links and the broker go down now and then, and come up again."""
        for node in self.nodes:
            ways = cycle((node.kill, node.leave))
            self._now_and_then(1.6, 9.0, partial(self._restart, node, ways))
            for link in node.links.values():
                self._now_and_then(1.1, 8.0, partial(self._flap, link))
        self._now_and_then(5.0, 25.0, self._restart_broker)

    def _now_and_then(self, least_s: float, most_s: float, strike: Callable[[], None]) -> None:
        """Let something happen again and again until all is calm."""

        def happen() -> None:
            if not self.world.calm:
                strike()
                self._now_and_then(least_s, most_s, strike)

        self.world.clock.after(self.world.random.uniform(least_s, most_s), happen)

    def _restart(self, node: Node[Any, Any], ways: Iterator[Callable[[], None]]) -> None:
        """End a process the next way and start it again.

        One that takes longer to stop than it should have been away stays away until the next time.
        """
        next(ways)()
        self.world.clock.after(self.world.random.choice(RESTARTS_S), node.start)

    def _flap(self, link: Link) -> None:
        """Take a link down, and up again."""
        self.world.met["link cut"] += link.up
        self.world.broker.cut(link)
        up_after_s = self.world.random.uniform(0.01, 2.0)
        self.world.clock.after(up_after_s, partial(self.world.broker.connect, link))

    def _restart_broker(self) -> None:
        self.world.met["broker restarted"] += 1
        self.world.broker.restart()

    def _heal(self) -> None:
        """Nothing fails any more, everybody is up, and the broker has started anew since the last loss."""
        self.world.calm = True
        self.world.broker.heal()
        for node in self.nodes:
            if node.leaving:
                node.kill()
            node.start()
        self._until(self.world.now + 4.0)
        self.world.broker.restart()
        self._until(self.world.now + 5.0)

    def _hand_in(self) -> None:
        """The devices stop, and the groups are lambda I and every upload there ever was, once."""
        self._leave(self.devices)
        self._until(self.world.now + LONGEST_DELAY_S + SLOWEST_WRITE_S)
        books, ledger = self.world.books, self.aggregator.session.ledger
        for device in self.devices:
            device.check_once_in_group()
        assert {key.group for key in ledger} == {key.group for key in self.aggregator.durable} == set(TYPES)
        for key in ledger:
            group, every = ledger[key], [name for name in books.uploads if name.type == key.group]
            what = f"the group {key.group}"
            same(group.statistics, books.sum_of(every), what)
            same(self.aggregator.durable[key].statistics, group.statistics, f"{what} on the disk")
            assert group.version == len(every), f"{what} has version {group.version} of {len(every)} uploads"

    def _power_cut(self) -> None:
        """All are back from their disks: each device comes to hold its group's newest version and no more."""
        self.world.dry = True
        for node in self.nodes:
            node.kill()
        for node in (*self.edges, self.aggregator):
            node.start()
        self._until(self.world.now + 2.0)
        # What the servers have retained is lost again, and they have to say it again.
        self.world.broker.restart()
        for device in self.devices:
            device.start()
        self._until(self.world.now + 8.0)
        every = len(self.world.books.uploads)
        for key in self.aggregator.session.ledger:
            group = self.aggregator.session.ledger[key]
            for device in self.devices:
                if device.type == key.group:
                    device.check_holds(group.statistics, group.version)
        self._leave(self.devices)
        assert len(self.world.books.uploads) == every, "there was something left to learn from"

    def _stop(self) -> None:
        """Nobody has anything more to say to anybody, and the others stop too."""
        self._until(self.world.now + 5.0)
        said = self.world.broker.routed
        self._until(self.world.now + 60.0)
        assert self.world.broker.routed == said, "somebody still talks"
        self._leave((*self.edges, self.aggregator))

    def _leave(self, nodes: tuple[Node[Any, Any], ...]) -> None:
        """Ask these to stop, until they have."""
        for node in nodes:
            node.leave()
        self._until(self.world.now + PATIENCE_S, lambda: all(node.stopped for node in nodes))
        running = [node.name for node in nodes if not node.stopped]
        assert not running, f"{running} did not stop in {PATIENCE_S:g} s"

    def _until(self, end: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass from one happening to the next."""
        world = self.world
        while not done():
            times = [world.clock.next_at, world.broker.next_at, *(node.deadline for node in self.nodes)]
            world.clock.now = max(world.now, min((t for t in times if t is not None), default=end))
            if world.now > end:
                world.clock.now = end
                return
            world.clock.run_due()
            world.broker.deliver_due()
            for node in self.nodes:
                if node.deadline is not None and node.deadline <= world.now:
                    node.wake()
