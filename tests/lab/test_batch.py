"""The batched engine against the plain one: the same arms, costs and traffic on the same seeds."""

from typing import Any

import msgspec
import numpy as np
import pytest

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.batch import family
from lab.simulator.batch.engine import crowd_of, play_many
from lab.simulator.batch.periods import Site
from lab.simulator.batch.scope import why_plain
from lab.simulator.engine import play
from lab.simulator.site import SiteWorld
from lab.simulator.teams import team_of

NOISE = spec.Noise(hiccups=0.1, hiccup_ms=200.0)
PHONE = spec.DeviceType(name="phone", devices=3, slowness=8.0, link=spec.Constant(mbit_s=12.0))
BOARD = spec.DeviceType(
    name="board", devices=2, slowness=2.5, link=spec.Lte(mbit_s=6.0, outages_per_hour=200)
)
ALONE = spec.DeviceType(
    name="box", slowness=1.5, link=spec.TwoState(mbit_s=9.0, bad_mbit_s=0.2, good_s=9.0, bad_s=5.0)
)
SITE = spec.Site(frames=90, types=(PHONE, BOARD, ALONE), noise=NOISE, fps=2.0)
SEEDS = (11, 12)
WARM: dict[str, Any] = {"share": "type", "warm_start": 12}
LEARNERS: dict[str, spec.Learner] = {
    "linucb": spec.Family(share="device"),
    "linucb_w": spec.Family(share="device", warm_start=12),
    "fedlinucb": spec.Family(share="all"),
    "fedlinucb_w": spec.Family(share="all", warm_start=12),
    "fedlinucb_d": spec.Family(share="type"),
    "fedlinucb_dw": spec.Family(**WARM),
    "total feedback": spec.Family(**WARM, feedback="total"),
    "only uploaders hear": spec.Family(**WARM, download="uploader", alpha=0.3),
    "alone, only uploaders hear": spec.Family(share="device", warm_start=3, download="uploader"),
    "constant radius": spec.Family(**WARM, beta_s=0.05, regularisation=1.0),
    "forgetful offsets": spec.Family(**WARM, offset_forgetting=0.9, offset_pseudo_rows=1.0),
    "nothing beside theta": spec.Family(**WARM, offsets=False, probes=False, beta_prior=1.0),
    "probes soon": spec.Family(share="device", probe_after_frames=2, probe_largest_gap_frames=9),
    "probes of one gap": spec.Family(share="device", probe_after_frames=5, probe_largest_gap_frames=1),
    "fixed": spec.Fixed(arm="0/jpeg"),
    "oracle": spec.Oracle(),
    "best_fixed": spec.BestFixed(),
    "random": spec.Random(),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_it_plays_what_the_plain_engine_plays(name: str) -> None:
    """Arms are compared exactly: scores of the two differ by about 1e-12 s, and none here is closer."""
    learner = LEARNERS[name]
    assert why_plain(learner, SITE) is None
    for seed, run in zip(SEEDS, play_many(learner, SITE, SEEDS), strict=True):
        world = SiteWorld(SITE, seed)
        plain = play(world, team_of(learner, world, seed))
        assert np.array_equal(run.arm, plain.arm)
        assert np.array_equal(run.device, plain.device)
        assert np.array_equal(run.at_s, plain.at_s)
        assert np.allclose(run.cost, plain.cost, rtol=0.0, atol=1e-9)
        assert np.allclose(run.regret, plain.regret, rtol=0.0, atol=1e-9)
        assert (run.messages, run.bytes) == (plain.messages, plain.bytes)


@pytest.mark.parametrize("patience", [0.0, 1.5])
def test_periods_are_to_the_bit_the_turns_of_the_plain_site(patience: float) -> None:
    settings = msgspec.structs.replace(SITE, patience=patience)
    plain = SiteWorld(settings, 4).turns()
    site = Site(settings, 4)
    for period in site.periods():
        for place, device in enumerate(site.order):
            turn = next(plain)
            assert (turn.device, turn.at_s) == (device, period.at_s[place])
            for name in ("means", "costs", "device_costs", "censored"):
                assert np.array_equal(getattr(turn, name), getattr(period, name)[place])
    assert next(plain, None) is None


def test_experience_is_that_of_the_plain_site() -> None:
    plain = SiteWorld(SITE, 4)
    gram, moments, squares = Site(SITE, 4).experience(7)
    for device in range(len(plain.types)):
        one = plain.experience(device, 7)
        assert np.allclose(gram, one.gram, rtol=1e-13)
        assert np.allclose(moments[device], one.moment, rtol=1e-13)
        assert squares[device] == pytest.approx(one.sum_squares, rel=1e-13)


def test_lanes_worked_out_in_parts_and_built_anew_often_play_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = play_many(LEARNERS["fedlinucb_dw"], SITE, SEEDS)
    monkeypatch.setattr(family, "_LANES_AT_ONCE", 5)
    monkeypatch.setattr(family, "_REBUILD_FRAMES", 3)
    for one, same in zip(whole, play_many(LEARNERS["fedlinucb_dw"], SITE, SEEDS), strict=True):
        assert np.array_equal(one.arm, same.arm)
        assert one.messages == same.messages


@pytest.mark.parametrize(
    ("learner", "world", "said"),
    [
        (spec.Family(), spec.Synthetic(), "round to round"),
        (spec.Async(), SITE, "async_linucb"),
        (spec.TwoArm(), SITE, "two_arm"),
        (spec.Family(link="measured"), SITE, "link = 'measured'"),
        (spec.Family(view="strict"), SITE, "view = 'strict'"),
        (spec.Family(start="zero"), SITE, "start = 'zero'"),
        (
            spec.Family(share="all"),
            msgspec.structs.replace(SITE, types=(msgspec.structs.replace(PHONE, devices=10_001),)),
            "more than 10000 devices",
        ),
    ],
)
def test_what_it_does_not_know_is_said(learner: spec.Learner, world: spec.World, said: str) -> None:
    assert said in str(why_plain(learner, world))


def test_a_setting_that_somebody_adds_is_unknown_unless_it_is_at_its_default() -> None:
    class Wider(spec.Family, frozen=True, kw_only=True, tag="fedlinucb_dw", tag_field="learner"):
        lost: float = 0.0

    class Later(spec.DeviceType, frozen=True, kw_only=True):
        joins_s: float = 0.0

    assert why_plain(Wider(), SITE) is None
    assert why_plain(Wider(lost=0.1), SITE) == "lost = 0.1 has no batched form"
    late = Later(name="late", link=PHONE.link, joins_s=3.0)
    assert "joins_s" in str(why_plain(spec.Oracle(), msgspec.structs.replace(SITE, types=(PHONE, late))))


def test_a_learner_without_a_batched_form_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="two_arm has no batched form"):
        crowd_of(spec.TwoArm(), [Site(SITE, 1)], [1])
    with pytest.raises(ConfigurationError, match="no arm '0/png'"):
        play_many(spec.Fixed(arm="0/png"), SITE, [1])
