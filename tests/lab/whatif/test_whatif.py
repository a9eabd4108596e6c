"""What recorded frames would have cost otherwise: arithmetic on small logs, and on simulated devices."""

import dataclasses
import math
from typing import Any

import msgspec
import numpy as np
import pytest

from bandits.settings import Settings
from bus.errors import ConfigurationError
from bus.messages import Feedback
from bus.topics import FEEDBACK, Topics
from bus.wire import encode
from lab.network_table import load_table
from lab.whatif.coverage import ARMS, NETWORK, covered, logged
from lab.whatif.estimate import LEAST_MATCHED, what_if
from lab.whatif.logged import ALONE, Frames, Log
from lab.whatif.model import predictions
from lab.whatif.targets import chosen_by
from tests.support.recordings import message
from tests.support.samples import SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))


def _log(arms: list[int], **changed: Any) -> Log:
    """A link of 10 ms and 1 ms a kB; arm 0 alone takes 100 ms, arms 1 and 2 send 20 and 50 kB."""
    arm = np.array(arms)
    size = np.array([0.0, 20_000.0, 50_000.0])[arm]
    device = np.array([100.0, 5.0, 8.0])[arm]
    edge = np.array([0.0, 30.0, 30.0])[arm]
    answered = arm > 0
    moving = np.where(answered, 10.0 + size / 1000.0, 0.0)
    fields: dict[str, Any] = {
        "device": "cam-1", "type": "pi4", "policy": "p", "labels": (ALONE, "0/jpeg", "0/uint8"),
        "cuts": np.array([9, 0, 0]), "arm": arm, "propensity": np.full(len(arm), 1.0 / 3.0),
        "cost_ms": device + moving + edge, "device_ms": device, "link_ms": moving, "edge_ms": edge,
        "sent_bytes": size, "deadline_ms": 1000.0, "answered": answered,
    }  # fmt: skip
    return Log(**(fields | changed))


def test_the_model_knows_each_arm_at_each_frame_from_other_frames() -> None:
    log = _log([0, 1, 2] * 10)
    predicted = predictions(log)
    assert predicted.shape == (30, 3)
    assert predicted == pytest.approx(np.tile([100.0, 65.0, 98.0], (30, 1)), rel=1e-6)


def test_a_frames_own_measurement_is_in_none_of_its_predictions() -> None:
    log = _log([0, 1, 2] * 10)
    strange = dataclasses.replace(log, device_ms=log.device_ms.copy(), link_ms=log.link_ms.copy())
    strange.device_ms[4] += 500.0
    strange.link_ms[4] += 500.0
    assert predictions(strange)[4] == pytest.approx(predictions(log)[4])
    assert np.abs(predictions(strange)[5] - predictions(log)[5]).max() > 1.0


def test_a_link_that_changes_is_known_as_it_was_near_the_frame() -> None:
    log = _log([1, 2] * 100)
    slower = dataclasses.replace(log, link_ms=log.link_ms * np.where(np.arange(200) < 100, 1.0, 10.0))
    predicted = predictions(slower)
    assert predicted[20, 1] == pytest.approx(65.0, rel=0.1)
    assert predicted[180, 1] == pytest.approx(35.0 + 300.0, rel=0.1)


def test_what_was_never_measured_is_not_known() -> None:
    predicted = predictions(_log([0, 0, 0, 1]))
    assert np.isfinite(predicted[:, 0]).all()
    assert np.isnan(predicted[:, 2]).all()
    assert np.isnan(predicted[3, 1])  # its own measurement is the only one
    alone = predictions(_log([0, 0, 0]))
    assert alone[:, 0] == pytest.approx(100.0)


def test_all_payloads_of_one_size_are_enough_for_that_size() -> None:
    assert predictions(_log([1] * 20))[:, 1] == pytest.approx(65.0)


def test_estimates_of_what_is_exactly_known() -> None:
    log = _log([0, 1, 2] * 40)
    found = what_if(log, np.full(120, 1), predictions(log))
    assert (found.frames, found.matched, found.unknown) == (120, 40, 0)
    assert found.model == pytest.approx(65.0)
    assert found.weighted is not None
    assert found.robust is not None
    assert found.weighted.mean == pytest.approx(65.0)
    assert found.robust.low == pytest.approx(65.0)
    assert found.robust.high == pytest.approx(65.0 + 3.0 / 40.0 * 935.0)  # what 40 frames have not met
    assert found.logged.mean == pytest.approx((100.0 + 65.0 + 98.0) / 3.0)
    alone = what_if(log, np.zeros(120, np.int64), predictions(log))
    assert alone.robust is not None
    assert alone.robust.high == pytest.approx(100.0)  # no link, nothing to wait for


def test_where_likelihoods_are_not_known_only_the_model_speaks() -> None:
    log = _log([0, 1, 2] * 40, propensity=np.zeros(120))
    found = what_if(log, np.full(120, 1), predictions(log))
    assert found.weighted is found.robust is None
    assert found.model == pytest.approx(65.0)
    few = _log([0] * 40 + [1] * (LEAST_MATCHED - 1))
    assert what_if(few, np.full(len(few), 1), predictions(few)).robust is None


def test_frames_with_an_arm_that_nobody_played_are_counted_and_left_out() -> None:
    log = _log([0, 1] * 20)
    chosen = np.where(np.arange(40) < 10, -1, 1)
    found = what_if(log, chosen, predictions(log))
    assert found.unknown == 10
    assert found.model == pytest.approx(65.0)
    assert math.isnan(what_if(log, np.full(40, -1), predictions(log)).model)


def test_two_frames_have_no_interval() -> None:
    log = _log([0, 1])
    found = what_if(log, np.zeros(2, np.int64), predictions(log))
    assert (found.logged.low, found.logged.high) == (-math.inf, math.inf)


def _frames(*said: Feedback) -> Frames:
    topic = TOPICS.of(FEEDBACK, type="pi4", device="cam-1")
    entries = [message(at, float(at), topic, bytes(encode(FEEDBACK, each))) for at, each in enumerate(said)]
    frames = Frames()
    frames.take([*entries, message(99, 99.0, topic, b"broken"), message(100, 99.0, "elsewhere")], "cans/v1")
    return frames


def test_feedback_becomes_a_log_by_device_and_policy() -> None:
    changed = msgspec.structs.replace
    frames = _frames(
        changed(SAID, seq=1, policy="a", cut=3, codec="int8-zstd", answered_by="edge", propensity=0.5),
        changed(SAID, seq=1, policy="a", total_ms=9e3),  # told twice
        changed(SAID, seq=2, policy="a", cut=9, codec="none", answered_by="device", propensity=0.25),
        changed(SAID, seq=1, policy="b"),
    )
    one, other = frames.logs()
    assert frames.unreadable == 1
    assert (one.policy, other.policy) == ("a", "b")
    assert one.labels == ("3/int8-zstd", ALONE)
    assert one.cost_ms.tolist() == [SAID.total_ms] * 2
    assert one.propensity.tolist() == [0.5, 0.25]
    assert one.answered.tolist() == [True, False]
    assert one.explored
    assert not other.explored
    assert one.index("nobody's") is None


def test_policies_that_do_not_learn_are_one_arm() -> None:
    log = _log([0, 1, 2])
    predicted = predictions(log)
    for name, arm in (
        ("device_only", 0), ("edge_only_jpeg", 1), ("edge_only_uint8", 2), ("fixed:0/uint8", 2),
        ("fixed:5/float32", -1), ("edge_only_float32", -1),
    ):  # fmt: skip
        assert chosen_by(name, log, predicted, None, Settings()).tolist() == [arm] * 3
    with pytest.raises(ConfigurationError, match="give --profile"):
        chosen_by("two_arm", log, predicted, None, Settings())
    with pytest.raises(ConfigurationError, match="there is no policy 'nobody'"):
        chosen_by("nobody", log, predicted, None, Settings())


@pytest.mark.parametrize("name", ["fedlinucb_dw", "linucb", "ans", "neurosurgeon", "two_arm"])
def test_policies_that_learn_find_what_is_fast(name: str) -> None:
    """Over a good link the network's input as JPEG is fastest by far; the log has every arm in it."""
    table = load_table("mobilenet_v2")
    log = _everything(table.arms)
    head = np.array(table.head_ms)
    profiled = (300.0 * head / head[-1]).tolist()
    table = msgspec.structs.replace(table, head_ms=tuple(profiled), encode_ms=(0.0,) * len(head))
    chosen = chosen_by(name, log, predictions(log), table, Settings(link_checks=False))
    later = chosen[len(chosen) // 2 :]
    costs = predictions(log).mean(axis=0)
    assert costs[later[later >= 0]].mean() < 0.5 * costs[log.index(ALONE)]


def _everything(labels: tuple[str, ...]) -> Log:
    """Frames with each arm in turn: a device of 300 ms, an edge worker of 10 ms, a link of 20 Mbit/s."""
    table = load_table("mobilenet_v2")
    arm = np.tile(np.arange(len(labels)), 12)
    head = np.array(table.head_ms)
    device = (300.0 * head / head[-1])[arm]
    size = np.array(table.payload_bytes)[arm]
    answered = size > 0.0
    moving = np.where(answered, 5.0 + size * 8.0 / 20_000.0, 0.0)
    edge = np.where(answered, 10.0 * (1.0 - head / head[-1])[arm], 0.0)
    cuts = [int(label.partition("/")[0]) if label != ALONE else -1 for label in labels]
    return _log(
        [0] * len(arm), labels=labels, cuts=np.array(cuts), arm=arm, device_ms=device, link_ms=moving,
        edge_ms=edge, cost_ms=device + moving + edge, sent_bytes=size, answered=answered,
        propensity=np.full(len(arm), 1.0 / len(labels)),
    )  # fmt: skip


def test_a_refused_frame_is_a_bound() -> None:
    table = load_table("mobilenet_v2")
    log = _everything(table.arms)
    lost = dataclasses.replace(log, answered=np.zeros(len(log), bool))
    chosen = chosen_by("two_arm", lost, predictions(lost), table, Settings())
    assert set(chosen.tolist()) <= set(range(len(table.arms)))


def test_intervals_hold_the_truth_on_simulated_devices() -> None:
    """A smaller one of `python -m lab.whatif.coverage`, whose page is in docs/results."""
    found = covered("good or bad", runs=20, frames=800, share=0.3)
    assert set(found) == set(ARMS)
    runs = sum(one.runs for one in found.values())
    assert runs >= 40
    assert sum(one.robust for one in found.values()) >= 0.9 * runs
    assert sum(one.weighted for one in found.values()) >= 0.9 * runs


def test_the_simulated_log_is_what_was_played() -> None:
    log, means = logged("constant", 50, 0.5, 3)
    assert means.shape == (50, len(load_table(NETWORK).arms))
    known = log.answered
    total = log.device_ms + log.link_ms + log.edge_ms
    assert total[known] == pytest.approx(log.cost_ms[known])
    assert log.explored
