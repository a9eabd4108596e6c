"""Devices that come and go, at rates of their own; lost replies, and exits that lie."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from bus.errors import ConfigurationError
from lab.network_table import load_table
from lab.simulator import spec
from lab.simulator.experiment import load
from lab.simulator.jobs import do, jobs_of, make_world
from lab.simulator.runs import Run
from lab.simulator.schedule import frames_of, length_s, stays_of
from lab.simulator.site import SiteWorld
from lab.simulator.summary import joiners, summarise
from tests.support.experiments import SIMULATED

LINK = spec.Constant(mbit_s=12.0)
PHONE = spec.DeviceType(name="phone", devices=2, slowness=8.0, link=LINK)
BOARD = spec.DeviceType(name="board", slowness=2.5, link=LINK)


def site(*types: spec.DeviceType, **more: object) -> spec.Site:
    return msgspec.structs.replace(spec.Site(frames=20, types=types), **more)


def kind(name: str, **more: object) -> spec.DeviceType:
    return msgspec.structs.replace(PHONE, name=name, devices=1, **more)


def test_devices_play_while_they_are_there_at_their_own_rate() -> None:
    settings = site(
        PHONE,
        kind("late", join_after_frames=5),
        kind("later", join_at_s=8.0, fps=4.0, leave_after_frames=3),
        kind("slow", fps=0.5),
        fps=2.0,
    )
    stays = stays_of(settings)
    assert [stay.frames for stay in stays] == [20, 20, 15, 3, 5]
    assert [(stay.joins_s, stay.leaves_s) for stay in stays[2:4]] == [(2.5, np.inf), (8.0, 8.75)]
    world = make_world(settings, 3)
    turns = list(world.turns())
    assert len(turns) == world.rounds == 63
    times = [turn.at_s for turn in turns]
    assert times == sorted(times)
    for device, stay in enumerate(stays):
        own = [turn.at_s for turn in turns if turn.device == device]
        assert len(own) == stay.frames
        assert stay.joins_s <= own[0] < stay.joins_s + stay.period_s
        assert own[-1] < min(stay.leaves_s, 10.0)
        assert np.allclose(np.diff(own), stay.period_s)
    assert [device for _, device in frames_of(stays[:2], [0.3, 0.1])][:4] == [1, 0, 1, 0]


def test_a_joiner_changes_no_frame_of_the_others() -> None:
    alone, joined = make_world(site(PHONE), 3), make_world(site(PHONE, kind("late", join_after_frames=9)), 3)
    others = [turn for turn in joined.turns() if turn.device < 2]
    for one, other in zip(alone.turns(), others, strict=True):
        assert (one.at_s, one.device) == (other.at_s, other.device)
        assert np.array_equal(one.costs, other.costs)


def test_a_wrong_declared_type_counts_for_the_group_and_not_for_the_costs() -> None:
    world = make_world(site(PHONE, msgspec.structs.replace(BOARD, declared="phone")), 3)
    assert world.types == ("phone", "phone", "phone")
    assert np.allclose(world.device_means(2) * 8.0, world.device_means(0) * 2.5)


def test_devices_of_each_type_may_be_said_at_once() -> None:
    assert make_world(site(PHONE, BOARD, devices_each=3), 3).types == ("phone",) * 3 + ("board",) * 3


def test_who_comes_when_all_is_over_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match=r"world.types\[1\] plays no frame: 'late' appears at 20 s"):
        make_world(site(PHONE, kind("late", join_after_frames=20)), 3)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ('declared = "phnoe"', "world.types[0].declared: there is no type 'phnoe': did you mean 'phone'?"),
        ("join_at_s = 1.0\njoin_after_frames = 1", "give join_at_s or join_after_frames, not both"),
        ("join_after_frame = 1", "there is no key 'join_after_frame': did you mean 'join_after_frames'?"),
    ],
)
def test_what_a_joiner_cannot_be_is_said(tmp_path: Path, key: str, said: str) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(
        f'title = "t"\n[world]\n[[world.types]]\nname = "phone"\n{key}\n'
        'link = { kind = "constant", mbit_s = 1.0 }\n[policies.linucb]\n'
    )
    with pytest.raises(ConfigurationError) as raised:
        load(path)
    assert said in str(raised.value)
    with pytest.raises(ConfigurationError, match="no key 'upload_los': did you mean 'upload_loss'"):
        load(Path("lab/experiments/channel.toml"), overrides=["world.channel.upload_los=1.0"])


def test_a_lost_reply_is_a_fallback_and_a_lower_bound() -> None:
    settings = site(PHONE, frames=800, channel=spec.Channel(reply_loss=0.2))
    lossy, whole = make_world(settings, 3), make_world(site(PHONE, frames=800), 3)
    jpeg, alone = lossy.arms.index("0/jpeg"), lossy.arms.index("end/none")
    lost = []
    for turn, other in zip(lossy.turns(), whole.turns(), strict=True):
        cost = turn.cost_of(jpeg)
        assert turn.device_costs is not None
        assert turn.costs[alone] == other.costs[alone]
        assert not turn.cost_of(alone).censored
        if cost.censored:
            assert cost.total_s > settings.deadline_ms / 1e3 * settings.fallback_at
            # What was waited in vain, counted from when the device had sent.
            waited_s = settings.deadline_ms / 1e3 * settings.fallback_at - turn.device_costs[jpeg]
            assert cost.link_s == pytest.approx(waited_s)
        else:
            assert cost.total_s == other.costs[jpeg]
        lost.append(cost.censored)
    assert np.mean(lost) == pytest.approx(0.2, abs=0.04)
    # Nothing moves here, so the last frame's means are all frames'.
    deaf = next(make_world(site(PHONE, channel=spec.Channel(reply_loss=1.0)), 3).turns())
    assert np.allclose(turn.means, 0.8 * other.means + 0.2 * deaf.means)
    assert deaf.means[jpeg] > 0.7 > other.means[jpeg]


def test_exits_may_lie() -> None:
    times = np.array(load_table("mobilenet_v2").exit_ms)
    exits = times.size
    quiet = spec.Noise(sigma=0.0)

    def squares(**more: object) -> float:
        return make_world(site(PHONE, noise=quiet, **more), 3).experience(0, exits).sum_squares

    true = (8.0 * times / 1e3) ** 2
    assert squares() == pytest.approx(true.sum())
    assert squares(exit_thermal=0.5) == pytest.approx(0.25 * true.sum())
    factors = 1.0 + np.arange(exits) / (exits - 1)
    assert squares(exit_bias=2.0) == pytest.approx((factors**2 * true).sum())


def test_what_joiners_pay_is_held_against_settled_members_of_the_same_time() -> None:
    settings = site(
        PHONE,
        kind("late", declared="phone", join_after_frames=10),
        kind("other", declared="phone", join_after_frames=10, slowness=4.0),
        kind("alone", join_after_frames=10),
        BOARD,
    )
    turns = list(make_world(settings, 3).turns())
    device = np.array([turn.device for turn in turns])
    at_s = np.array([turn.at_s for turn in turns])
    cost = np.where(device == 2, 6.0, np.where(at_s < 10.0, 100.0, 3.0))
    run = Run(at_s, device, device, cost, cost, 0, 0)
    assert joiners(run, settings) == {"first50_late": 2.0}
    assert joiners(run, site(PHONE)) == {}


def tiny(world: spec.World) -> spec.World:
    """The same world, over in a moment."""
    if isinstance(world, spec.Synthetic):
        return msgspec.structs.replace(world, rounds=30)
    types = tuple(
        msgspec.structs.replace(
            kind, join_after_frames=None if kind.join_after_frames is None else min(1, kind.join_after_frames)
        )
        for kind in world.types
    )
    return msgspec.structs.replace(world, frames=3, types=types, devices_each=min(2, world.devices_each or 1))


@pytest.mark.parametrize("path", SIMULATED, ids=lambda path: path.stem)
def test_every_experiment_of_the_project_plays(path: Path, tmp_path: Path) -> None:
    experiment = load(path, overrides=["seeds=1"])
    worlds = {policy: tiny(world) for policy, world in experiment.worlds.items()}
    policies = {
        policy: msgspec.structs.replace(learner, warm_start=min(4, learner.warm_start))
        if isinstance(learner, spec.Family)
        else learner
        for policy, learner in experiment.policies.items()
    }
    experiment = msgspec.structs.replace(experiment, worlds=worlds, policies=policies)
    jobs = jobs_of(experiment, tmp_path)
    for job in jobs:
        do(msgspec.json.encode(job))
    report = summarise(experiment, jobs, {})
    assert set(report["policies"]) == set(experiment.policies)
    figures = {name for row in report["policies"].values() for name in row}
    assert any(name.startswith("first50_") for name in figures) == (path.stem in {"joining", "late_join"})
    assert any(name == "regret_a_device" for name in figures) == (path.stem == "scaling")
    assert path.stem in Path("Makefile").read_text()


def in_bursts(**changed: object) -> spec.Site:
    kinds = (
        spec.DeviceType(name="early", link=spec.Constant(mbit_s=1.0)),
        spec.DeviceType(name="late", link=spec.Constant(mbit_s=1.0), join_after_frames=6),
    )
    fields = {"frames": 12, "fps": 2.0, "burst_frames": 3, "burst_every_s": 10.0, "types": kinds} | changed
    return spec.Site(**fields)  # type: ignore[arg-type] # any of its fields


def test_frames_come_in_bursts_with_rests_between_them() -> None:
    early, late = stays_of(in_bursts())
    assert early.at_s(np.arange(7)).tolist() == [0.0, 0.5, 1.0, 10.0, 10.5, 11.0, 20.0]
    assert (late.joins_s, late.frames) == (20.0, 6)
    moments = [at_s for at_s, device in frames_of([early, late], [0.0, 0.25]) if device == 1]
    assert moments == [20.25, 20.75, 21.25, 30.25, 30.75, 31.25]
    assert length_s(in_bursts()) == 31.5
    assert length_s(in_bursts(burst_frames=None)) == 6.0


def test_a_site_in_bursts_has_links_as_long_as_it_plays() -> None:
    kind = spec.DeviceType(name="a", link=spec.Lte())
    world = SiteWorld(in_bursts(types=(kind,)), 3)
    assert world.links[0].mbit_s.size >= 32
    assert max(turn.at_s for turn in world.turns()) > 31.0


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"burst_every_s": 1.0}, "is too short for 3 frames at 2 a second"),
        (
            {"types": (spec.DeviceType(name="a", link=spec.Lte(), fps=3.0),)},
            "where frames come in bursts, fps, join_at_s and leave_after_frames are not known",
        ),
        (
            {"types": (spec.DeviceType(name="a", link=spec.Lte(), join_after_frames=4),)},
            "join_after_frames = 4 is no whole number of bursts of 3 frames before the end",
        ),
    ],
)
def test_bursts_that_cannot_be(changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        stays_of(in_bursts(**changed))
