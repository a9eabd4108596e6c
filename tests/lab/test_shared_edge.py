"""Simulated devices that wait for each other at an edge worker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.batching import Batch
from lab.simulator import spec
from lab.simulator.engine import play
from lab.simulator.experiment import load
from lab.simulator.jobs import make_world
from lab.simulator.runs import Run
from lab.simulator.shared_edge import Answered, Refused, Said, SharedEdge, Told
from lab.simulator.teams import team_of

_LOAD = Path("lab/experiments/load.toml")
_ARMS = ("0/jpeg95", "9/uint8", "end/none")


def _until(edge: SharedEdge, until_s: float) -> list[tuple[float, Said]]:
    """Let time pass; return what is said, with the moments."""
    said: list[tuple[float, Said]] = []
    while (now := edge.next_s()) <= until_s:
        said += [(now, each) for each in edge.pass_time(now)]
    return said


def _answers(said: list[tuple[float, Said]]) -> dict[str, Any]:
    """Return when each was answered, what it waited, and what its tail took."""
    found = [(at_s, each) for at_s, each in said if isinstance(each, Answered)]
    return {each.id: pytest.approx((at_s, each.queue_s, each.tail_s)) for at_s, each in found}


def test_who_comes_while_a_worker_is_busy_waits_for_it() -> None:
    edge = SharedEdge(_ARMS, 1, {})
    edge.ask(0, "a", 0, 0.5, 9.0, 0.1)
    edge.ask(1, "b", 0, 0.5, 9.0, 0.2)
    assert edge.free_s(0.2) == pytest.approx(0.9)
    assert _answers(_until(edge, 2.0)) == {"a": (0.6, 0.0, 0.5), "b": (1.1, 0.4, 0.5)}
    assert edge.free_s(2.0) == 0.0


def test_two_workers_are_both_busy_before_anybody_waits() -> None:
    edge = SharedEdge(_ARMS, 2, {})
    for device, (id_, takes_s) in enumerate((("a", 1.0), ("b", 0.3), ("c", 0.2))):
        edge.ask(device, id_, 0, takes_s, 9.0, 0.1)
    assert _answers(_until(edge, 2.0)) == {"b": (0.4, 0.0, 0.3), "c": (0.6, 0.3, 0.2), "a": (1.1, 0.0, 1.0)}


def test_who_asks_for_the_same_tail_shares_a_run_of_it() -> None:
    edge = SharedEdge(_ARMS, 1, {9: Batch(most=4, fixed=3.0)})
    edge.ask(0, "first", 0, 0.5, 9.0, 0.0)
    for device, id_ in enumerate("abcde", start=1):
        edge.ask(device, id_, 1, 0.4, 9.0, 0.1)
    found = _answers(_until(edge, 5.0))
    together_s = 0.4 * (3.0 + 4.0) / (3.0 + 1.0)
    for id_ in "abcd":
        assert found[id_] == (0.5 + together_s, 0.4, together_s)
    assert found["e"] == (0.5 + together_s + 0.4, 0.4 + together_s, 0.4)


def test_whose_budget_is_spent_in_the_line_is_refused_then() -> None:
    edge = SharedEdge(_ARMS, 1, {})
    edge.ask(0, "a", 0, 0.5, 9.0, 0.0)
    edge.ask(1, "b", 0, 0.5, 0.2, 0.1)
    refused = [(at_s, each.id) for at_s, each in _until(edge, 2.0) if isinstance(each, Refused)]
    ((at_s, id_),) = refused
    assert at_s == pytest.approx(0.3)
    assert id_ == "b"
    assert edge.free_s(0.0) == 0.0  # nothing of it is left


def test_devices_are_told_of_a_queue_once_there_are_two() -> None:
    edge = SharedEdge(_ARMS, 1, {})
    assert edge.ask(0, "a", 0, 0.5, 9.0, 0.0) == []
    _until(edge, 1.0)
    said = edge.ask(1, "b", 0, 0.5, 9.0, 1.0)
    assert any(isinstance(each, Told) and each.free_s == pytest.approx(0.5) for each in said)


def _site(devices: int, workers: int, *more: str) -> spec.Site:
    overrides = (f"world.devices_each={devices}", f"world.edge_workers={workers}", *more)
    world = load(_LOAD, overrides=overrides).world
    assert isinstance(world, spec.Site)
    return world


def _run(devices: int, workers: int, learner: spec.Learner, *more: str, seed: int = 3) -> Run:
    world = make_world(_site(devices, workers, *more), seed)
    return play(world, team_of(learner, world, seed))


def _mean_ms(devices: int, workers: int, learner: spec.Learner, *more: str) -> float:
    return 1e3 * float(_run(devices, workers, learner, *more).cost.mean())


JPEG, ALONE = spec.Fixed(arm="0/jpeg95"), spec.Fixed(arm="end/none")


def test_a_frame_waits_only_where_there_are_others() -> None:
    assert _mean_ms(1, 1, JPEG) == pytest.approx(_mean_ms(1, 0, JPEG))
    assert _mean_ms(8, 1, JPEG) > 2.0 * _mean_ms(8, 0, JPEG)
    assert _mean_ms(8, 1, ALONE) == pytest.approx(_mean_ms(8, 0, ALONE))


def test_a_full_edge_worker_is_asked_less_because_frames_hold_up_frames() -> None:
    """Each device has one request under way, so nobody waits longer than all others' tails take."""
    waited = _run(8, 1, JPEG, "world.deadline_ms=9000.0", "world.burst_every_s=20.0").cost
    alone = _run(1, 1, JPEG).cost
    assert waited.max() < alone.mean() + 7.0 * 0.080 * 1.5


def test_who_runs_together_waits_less() -> None:
    together = "world.edge_batches=[{cut = 0, fixed = 1.0}]"
    assert _mean_ms(8, 1, JPEG, together) < 0.8 * _mean_ms(8, 1, JPEG)
    assert _mean_ms(8, 1, JPEG, together, "world.edge_largest_batch=1") == _mean_ms(8, 1, JPEG)


def test_who_is_told_of_the_queue_shares_a_saturated_edge_worker_well() -> None:
    ours = _mean_ms(8, 1, spec.Family(share="type", link="measured", slowness="measured", warm_start=40))
    assert ours < 0.85 * _mean_ms(8, 1, ALONE)
    assert ours < 0.6 * _mean_ms(8, 1, JPEG)


def test_without_answers_every_frame_is_finished_alone() -> None:
    lost = _run(2, 1, JPEG, "world.channel={reply_loss = 1.0}").cost
    assert lost.min() > 0.7 * 1.0  # of the deadline, until nobody waits any more
    assert np.isfinite(lost).all()


def test_nobody_who_knows_what_is_under_way_regrets_much() -> None:
    sees, sends = _run(8, 1, spec.Oracle()), _run(8, 1, JPEG)
    assert sees.regret.max() == 0.0
    assert sends.regret.mean() > 0.1
    assert sees.cost.mean() < sends.cost.mean()
