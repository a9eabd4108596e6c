"""Simulated devices that wait for each other at the edge worker."""

from pathlib import Path

import numpy as np
import pytest

from lab.simulator import spec
from lab.simulator.edge_queue import EdgeQueue
from lab.simulator.engine import play
from lab.simulator.experiment import load
from lab.simulator.jobs import make_world
from lab.simulator.teams import team_of

_LOAD = Path("lab/experiments/load.toml")


def test_who_comes_while_a_worker_is_busy_waits_for_it() -> None:
    queue = EdgeQueue(1)
    assert queue.waits_s(0.0, np.array([0.1, 0.2])).tolist() == [0.0, 0.0]
    queue.take(0.1, 0.1, 0.5)
    assert queue.waits_s(0.0, np.array([0.05, 0.1, 0.4, 0.7])) == pytest.approx([0.0, 0.5, 0.2, 0.0])
    queue.take(0.2, 0.6, 0.5)
    assert queue.waits_s(0.0, np.array([0.3])) == pytest.approx([0.8])
    assert queue.free_s(0.15) == pytest.approx(0.45)  # the second has not come by then
    assert queue.free_s(0.3) == pytest.approx(0.8)
    assert queue.waits_s(2.0, np.array([2.0])).tolist() == [0.0]
    assert queue.free_s(2.0) == 0.0


def test_two_workers_are_both_busy_before_anybody_waits() -> None:
    queue = EdgeQueue(2)
    queue.take(0.0, 0.0, 1.0)
    assert queue.waits_s(0.1, np.array([0.2])).tolist() == [0.0]
    queue.take(0.2, 0.2, 0.3)
    assert queue.waits_s(0.2, np.array([0.3])) == pytest.approx([0.2])
    assert queue.free_s(0.3) == pytest.approx(0.2)


def _site(devices: int, workers: int) -> spec.Site:
    world = load(_LOAD, overrides=(f"world.devices_each={devices}", f"world.edge_workers={workers}")).world
    assert isinstance(world, spec.Site)
    return world


def _mean_ms(devices: int, workers: int, learner: spec.Learner, seed: int = 3) -> float:
    world = make_world(_site(devices, workers), seed)
    return 1e3 * float(play(world, team_of(learner, world, seed)).cost.mean())


def test_a_frame_waits_only_where_there_are_others() -> None:
    jpeg = spec.Fixed(arm="0/jpeg95")
    assert _mean_ms(1, 1, jpeg) == pytest.approx(_mean_ms(1, 0, jpeg))
    assert _mean_ms(8, 1, jpeg) > 2.0 * _mean_ms(8, 0, jpeg)
    alone = spec.Fixed(arm="end/none")
    assert _mean_ms(8, 1, alone) == pytest.approx(_mean_ms(8, 0, alone))


def test_who_is_told_of_the_queue_shares_a_saturated_edge_worker_well() -> None:
    ours = _mean_ms(8, 1, spec.Family(share="type", link="measured", slowness="measured", warm_start=40))
    assert ours < 0.75 * _mean_ms(8, 1, spec.Fixed(arm="end/none"))
    assert ours < 0.5 * _mean_ms(8, 1, spec.Fixed(arm="0/jpeg95"))
