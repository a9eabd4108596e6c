"""Sites that change while they are played."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import lab
from bandits.settings import PRACTICE
from lab.simulator import spec
from lab.simulator.changes import Changes, Conditions
from lab.simulator.engine import play
from lab.simulator.experiment import load
from lab.simulator.federated_team import settings_of
from lab.simulator.jobs import make_world
from lab.simulator.teams import team_of

EXPERIMENTS = Path(lab.__file__).parent / "experiments"
TYPES = ("phone", "phone", "box")


def test_known_changes_hold_when_they_were_said_to_and_for_whom() -> None:
    changes = Changes(
        (
            spec.Change(what="device", factor=2.0, at_s=10.0, for_s=5.0, types=("phone",)),
            spec.Change(what="device", factor=3.0, at_s=12.0),
            spec.Change(what="queue", wait_ms=40.0, at_s=12.0, for_s=1.0),
            spec.Change(what="queue", wait_ms=10.0),
        ),
        TYPES,
        100.0,
        1,
    )
    assert changes.at(0, 9.9) == Conditions(wait_s=0.01)
    assert changes.at(0, 10.0).device == 2.0
    assert changes.at(0, 12.5) == Conditions(device=6.0, wait_s=0.05)
    assert changes.at(2, 12.5).device == 3.0
    assert changes.at(1, 15.0).device == 3.0


def test_random_spells_are_each_devices_own_and_the_edges_are_everybodys() -> None:
    changes = Changes(
        (
            spec.Change(what="device", factor=2.0, per_hour=600.0, for_s=3.0),
            spec.Change(what="edge", factor=4.0, per_hour=600.0, for_s=3.0),
        ),
        TYPES,
        600.0,
        7,
    )
    seconds = np.arange(0.0, 600.0, 0.5)
    device = np.array([[changes.at(d, s).device > 1.0 for s in seconds] for d in range(3)])
    edge = np.array([[changes.at(d, s).edge for s in seconds] for d in range(3)])
    # 600 an hour of 3 s: half a spell at a time on average, so some spell in 1 - exp(-0.5) of the time.
    assert device.mean() == pytest.approx(1.0 - np.exp(-0.5), abs=0.1)
    assert not np.array_equal(device[0], device[1])
    assert (edge == edge[0]).all()
    assert edge.max() >= 4.0


def site(*changes: spec.Change, frames: int = 200) -> spec.Site:
    kind = spec.DeviceType(name="box", devices=2, slowness=3.0, link=spec.Constant(mbit_s=10.0))
    return spec.Site(frames=frames, types=(kind,), changes=changes)


def test_what_changes_is_in_the_costs_and_in_their_means() -> None:
    world = make_world(site(), 1)
    calm, jpeg = list(world.turns()), world.arms.index("0/jpeg")
    kinds: tuple[Literal["device", "link", "edge"], ...] = ("device", "link", "edge")
    for what in kinds:
        rough = list(make_world(site(spec.Change(what=what, factor=3.0, at_s=100.0)), 1).turns())
        for before, after in zip(calm, rough, strict=True):
            if before.at_s < 100.0:
                assert np.array_equal(before.costs, after.costs)
                continue
            assert (after.means >= before.means - 1e-12).all()
            if what == "device":
                assert after.device_costs == pytest.approx(3.0 * before.device_costs)  # type: ignore[operator]
            if what == "link":
                assert after.device_costs == pytest.approx(before.device_costs)
                assert after.link_costs is not None
                assert before.link_costs is not None
                assert after.link_costs[jpeg] > before.link_costs[jpeg] + 0.01


def test_a_queue_makes_requests_wait_and_nothing_else() -> None:
    calm = list(make_world(site(), 1).turns())
    busy = list(make_world(site(spec.Change(what="queue", wait_ms=50.0)), 1).turns())
    waits = np.array([after.costs[0] - before.costs[0] for before, after in zip(calm, busy, strict=True)])
    assert waits.min() >= 0.0
    assert waits.mean() == pytest.approx(0.05, rel=0.2)
    assert all(a.costs[-1] == b.costs[-1] for a, b in zip(calm, busy, strict=True))


def test_who_measures_slowness_loses_less_to_a_loaded_edge_worker() -> None:
    change = spec.Change(what="edge", factor=8.0, at_s=100.0, for_s=100.0)

    def regret(**switches: str) -> float:
        world = make_world(site(change, frames=300), 3)
        learner = spec.Family(warm_start=40, link="measured", beta_prior=0.3, **switches)  # type: ignore[arg-type]
        return float(play(world, team_of(learner, world, 3)).regret.sum())

    assert regret(slowness="measured") < 0.6 * regret()


def test_the_default_of_experiments_is_what_devices_run() -> None:
    learner = load(EXPERIMENTS / "traces.toml").policies["default"]
    assert isinstance(learner, spec.Family)
    assert settings_of(learner) == PRACTICE
    assert (learner.share, learner.warm_start, learner.download) == ("type", 40, "members")
