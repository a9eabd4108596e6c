"""Worlds, teams and runs: what must be true of any of them, and two against an oracle."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bandits.statistics import Statistics
from bus.errors import ConfigurationError
from lab.network_table import TABLES, load_table
from lab.simulator import spec
from lab.simulator.engine import play
from lab.simulator.experiment import load
from lab.simulator.federated_team import FederatedTeam
from lab.simulator.jobs import do, jobs_of, make_world, read, world_fingerprint
from lab.simulator.lies import Liar
from lab.simulator.runs import Run
from lab.simulator.summary import figures_of, honest_devices, interval
from lab.simulator.teams import team_of
from lab.simulator.world import World
from tests.support.profiles import profile_of

ORDERING = Path("lab/experiments/ordering.toml")
REFERENCE = Path("lab/experiments/reference.toml")
SMALL = ("world.frames=40", "seeds=2", "world.types=[]")
PHONE = spec.DeviceType(name="phone", devices=2, slowness=8.0, link=spec.Constant(mbit_s=12.0))
BOARD = spec.DeviceType(name="board", devices=2, slowness=2.5, link=spec.Constant(mbit_s=4.0, delay_ms=10.0))
SITE = spec.Site(frames=60, types=(PHONE, BOARD))
SYNTHETIC = spec.Synthetic(devices=4, rounds=400, dimension=5, arms=7)
PUBLISHED = spec.Family(
    share="all",
    regularisation=1.0,
    beta_s=0.5,
    feedback="total",
    view="strict",
    download="uploader",
    offsets=False,
    probes=False,
)
LEARNERS: dict[str, spec.Learner] = {
    "family": spec.Family(warm_start=8),
    "async": spec.Async(),
    "dis": spec.DisLinUCB(threshold=5.0),
    "central": spec.Central(share="type"),
    "discounted": spec.Discounted(),
    "windowed": spec.Windowed(share="type", window_frames=50),
    "detector": spec.Detector(share="all", probes=False),
    "fixed": spec.Fixed(arm="0/jpeg"),
    "two_arm": spec.TwoArm(),
    "oracle": spec.Oracle(),
    "best_fixed": spec.BestFixed(),
    "random": spec.Random(),
}


def run_of(learner: spec.Learner, settings: spec.World = SITE, seed: int = 3) -> Run:
    world = make_world(settings, seed)
    return play(world, team_of(learner, world, seed))


@pytest.mark.parametrize("settings", [SITE, SYNTHETIC], ids=["site", "synthetic"])
def test_a_world_plays_the_same_turns_however_often_it_is_asked(settings: spec.World) -> None:
    one, other = make_world(settings, 5), make_world(settings, 5)
    turns = list(one.turns())
    assert len(turns) == one.rounds
    assert all(earlier.at_s <= later.at_s for earlier, later in itertools.pairwise(turns))
    for again in (one.turns(), other.turns()):
        for turn, same in zip(turns, again, strict=True):
            assert (turn.at_s, turn.device) == (same.at_s, same.device)
            assert np.array_equal(turn.costs, same.costs)
    another = next(make_world(settings, 6).turns())
    assert not np.array_equal(another.costs, turns[0].costs)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_gives_the_same_run_twice_and_no_less_regret_than_the_oracle(name: str) -> None:
    one, same = run_of(LEARNERS[name]), run_of(LEARNERS[name])
    for field in dataclasses.fields(Run):
        assert np.array_equal(getattr(one, field.name), getattr(same, field.name))
    assert (one.regret >= 0.0).all()
    assert np.array_equal(one.device, run_of(spec.Oracle()).device)
    assert (one.regret.sum() == 0.0) == (name in ("oracle", "best_fixed"))  # nothing moves in this site


def test_costs_are_what_the_world_says_they_are() -> None:
    world = make_world(SITE, 4)
    run = run_of(spec.Random(), seed=4)
    for turn, arm, cost in zip(world.turns(), run.arm, run.cost, strict=True):
        assert cost == turn.costs[arm]
        assert turn.device_costs is not None
        assert turn.cost_of(arm).device_s == turn.device_costs[arm]


def test_costs_average_to_their_means() -> None:
    world = make_world(spec.Site(frames=4000, types=(PHONE,)), 1)
    costs = np.array([turn.costs for turn in world.turns()])
    means = next(world.turns()).means
    assert np.allclose(costs.mean(axis=0), means, rtol=0.01)


def test_a_site_costs_what_its_table_says() -> None:
    table = load_table("mobilenet_v2")
    means = next(
        make_world(spec.Site(frames=1, types=(BOARD,), noise=spec.Noise(hiccups=0.0)), 1).turns()
    ).means
    jpeg, alone = table.arms.index("0/jpeg"), table.arms.index("end/none")
    sent_s = table.payload_bytes[jpeg] * 8 / 4e6
    device_s = 2.5 * (table.head_ms[jpeg] + table.encode_ms[jpeg]) / 1e3
    assert means[jpeg] == pytest.approx(device_s + sent_s + 0.020 + 0.004 + table.edge_ms[jpeg] / 1e3)
    assert means[alone] == pytest.approx(2.5 * table.head_ms[alone] / 1e3)


def test_a_check_of_the_link_says_how_it_is_when_the_frame_has_ended() -> None:
    """600 bytes, two delays and the bus's 4 ms; a lower bound where the next frame is near."""
    world = make_world(SITE, 3)
    turn = next(world.turns())
    assert turn.check is not None
    check = turn.check(0.1)
    assert check is not None
    slow = world.types[turn.device] == "board"
    mbit_s, fixed_s = (4.0, 0.024) if slow else (12.0, 0.008)
    assert check.seconds == pytest.approx(fixed_s + 600 * 8 / (mbit_s * 1e6))
    assert not check.at_least
    table = load_table("mobilenet_v2")
    float32 = table.arms.index("0/float32")
    units = turn.contexts[float32][table.columns.index("link.bits")] * 600 / table.payload_bytes[float32]
    assert check.units == pytest.approx(units)
    long = turn.check(0.1, long=True)
    assert long is not None
    assert long.units == pytest.approx(units * 2000 / 600)
    assert long.seconds == pytest.approx(fixed_s + 2000 * 8 / (mbit_s * 1e6))
    near = turn.check(0.999)
    assert near is not None
    assert near.at_least
    assert near.seconds == pytest.approx(0.001)
    assert turn.check(1.0) is None
    for silent in (msgspec.structs.replace(SITE, check_bytes=0.0), SYNTHETIC):
        turn = next(make_world(silent, 3).turns())
        assert turn.check is None or turn.check(0.1) is None


def test_only_who_heeds_checks_of_the_link_plays_otherwise_for_them() -> None:
    moving = spec.DeviceType(
        name="phone", devices=3, slowness=4.0, link=spec.Lte(outages_per_hour=40.0, outage_s=20.0)
    )
    site = spec.Site(frames=600, fps=2.0, types=(moving,))
    silent = msgspec.structs.replace(site, check_bytes=0.0)

    def latency_s(world: spec.Site, learner: spec.Learner) -> float:
        made = make_world(world, 3)
        return float(play(made, team_of(learner, made, 3)).cost.mean())

    measured = spec.Family(link="measured", slowness="measured", link_checks=True)
    for heeds in (measured, spec.Neurosurgeon()):
        assert latency_s(site, heeds) < latency_s(silent, heeds)
    for does_not in (spec.Family(link="measured"), spec.Neurosurgeon(link_checks=False), spec.TwoArm()):
        assert latency_s(site, does_not) == latency_s(silent, does_not)


def test_long_checks_tell_a_link_that_carries_little_from_a_good_one() -> None:
    bad = spec.TwoState(mbit_s=20.0, bad_mbit_s=0.05, good_s=90.0, bad_s=30.0, delay_ms=15.0)
    phones = spec.DeviceType(name="phone", devices=2, slowness=12.0, link=bad)
    site = spec.Site(frames=240, types=(phones,))
    short = msgspec.structs.replace(site, long_check_bytes=0.0)
    default = msgspec.convert(spec.PRESETS["default"], spec.Family)
    means_s = []
    for each in (site, short):
        worlds = [make_world(each, seed) for seed in range(4)]
        costs = [play(world, team_of(default, world, seed)).cost for seed, world in enumerate(worlds)]
        means_s.append(float(np.mean(costs)))
    assert means_s[0] < 0.95 * means_s[1]


def test_a_pace_in_milliseconds_is_the_same_whatever_machine_has_measured() -> None:
    """Two tables of one network from machines of different speeds; what an arm computes is in proportion."""
    for network in ("mobilenet_v2", "resnet18"):
        table = load_table(network)
        in_ms = msgspec.structs.replace(PHONE, slowness=1.0, whole_ms=300.0)
        site = spec.Site(network=network, types=(in_ms,), edge_whole_ms=30.0)
        world = make_world(site, 1)
        assert world.device_means(0)[-1] == pytest.approx(0.3, rel=0.01)
        times = 30.0 / table.head_ms[-1]
        assert world.edge_means() == pytest.approx(times * np.array(table.edge_ms) / 1e3)
        slower = msgspec.structs.replace(in_ms, whole_ms=None, slowness=300.0 / table.head_ms[-1])
        same = msgspec.structs.replace(site, types=(slower,), edge_whole_ms=None, edge_slowness=times)
        one, other = (next(iter(make_world(each, 1).turns())) for each in (site, same))
        assert (one.costs == other.costs).all()


def test_a_look_ahead_finds_most_links_that_have_gone_and_needs_time_before_the_frame() -> None:
    gone = spec.TwoState(mbit_s=20.0, bad_mbit_s=0.05, good_s=30.0, bad_s=10.0, delay_ms=15.0)
    phones = spec.DeviceType(name="phone", devices=2, slowness=12.0, link=gone)
    site = spec.Site(frames=240, types=(phones,), deadline_ms=3000.0)
    default = msgspec.convert(spec.PRESETS["default"], spec.Family)

    def late_share(world: spec.Site) -> float:
        worlds = [make_world(world, seed) for seed in range(3)]
        costs = [play(made, team_of(default, made, seed)).cost for seed, made in enumerate(worlds)]
        return float(np.mean(np.concatenate(costs) > 1.5))

    def with_look(world: spec.Site, *, ahead: bool) -> float:
        return late_share(msgspec.structs.replace(world, look_ahead=ahead))

    assert with_look(site, ahead=True) < 0.6 * with_look(site, ahead=False)
    # Ten frames a second leave no time for one.
    busy = msgspec.structs.replace(site, fps=10.0, frames=1200)
    assert with_look(busy, ahead=True) == with_look(busy, ahead=False)


def test_who_has_never_sent_much_finds_out_what_a_fast_link_carries() -> None:
    """A picture as JPEG takes a slow device longer to write than all its pixels take over 100 Mbit/s."""
    fast = spec.Constant(mbit_s=100.0, delay_ms=2.0)
    cameras = spec.DeviceType(name="camera", devices=2, slowness=25.0, link=fast)
    site = spec.Site(network="squeezenet", frames=120, fps=0.25, deadline_ms=5000.0, types=(cameras,))
    world = make_world(site, 100)
    default = msgspec.convert(spec.PRESETS["default"], spec.Family)
    pixels = play(world, team_of(spec.Fixed(arm="0/uint8"), world, 100)).cost.mean()
    assert play(world, team_of(default, world, 100)).cost.mean() < 1.03 * pixels


def test_early_exits_say_how_slow_a_device_is_and_nothing_of_the_edge() -> None:
    world = make_world(SITE, 2)
    offline = world.experience(0, 40)
    rest = ~world.device_columns
    assert offline.count == 40
    assert not offline.gram[rest].any()
    assert not offline.moment[rest].any()
    slow, fast = offline, world.experience(3, 40)
    assert np.sqrt(slow.sum_squares / fast.sum_squares) == pytest.approx(8.0 / 2.5, rel=0.05)
    assert world.experience(0, 0).count == 0
    assert make_world(SYNTHETIC, 2).experience(0, 40).count == 0


def test_the_published_fedlinucb_against_its_printed_algorithm() -> None:
    """He et al. 2022, algorithm 1, with inverses and in its own letters; regret and uploads are the same."""
    world = make_world(SYNTHETIC, 8)
    d, M, lam, alpha, beta = 5, 4, 1.0, 1.0, 0.5
    sigma = [lam * np.eye(d) for _ in range(M)]
    theta: list[Any] = [np.zeros(d) for _ in range(M)]
    local, local_b = [np.zeros((d, d)) for _ in range(M)], [np.zeros(d) for _ in range(M)]
    server, server_b = lam * np.eye(d), np.zeros(d)
    arms, uploads = [], 0
    for turn in world.turns():
        m, X = turn.device, turn.contexts
        width = np.sqrt(np.einsum("kd,de,ke->k", X, np.linalg.solve(sigma[m], np.eye(d)), X))
        arm = int((X @ theta[m] - beta * width).argmin())
        arms.append(arm)
        local[m] += np.outer(X[arm], X[arm])
        local_b[m] += turn.costs[arm] * X[arm]
        if np.linalg.slogdet(sigma[m] + local[m])[1] > np.log1p(alpha) + np.linalg.slogdet(sigma[m])[1]:
            uploads += 1
            server, server_b = server + local[m], server_b + local_b[m]
            local[m], local_b[m] = np.zeros((d, d)), np.zeros(d)
            sigma[m], theta[m] = server, np.linalg.solve(server, server_b)
    run = run_of(PUBLISHED, SYNTHETIC, 8)
    assert run.arm.tolist() == arms
    assert run.messages == 2 * uploads > 20
    assert run.bytes > 500 * uploads


@pytest.mark.parametrize("settings", [SITE, SYNTHETIC], ids=["site", "synthetic"])
def test_dislinucb_that_always_exchanges_is_the_central_learner(settings: spec.World) -> None:
    central, dis = run_of(spec.Central(), settings), run_of(spec.DisLinUCB(threshold=0.0), settings)
    assert np.array_equal(central.arm, dis.arm)
    assert np.array_equal(central.cost, dis.cost)
    assert dis.messages == 2 * 4 * dis.arm.size  # after each row every one of four uploads and downloads


def test_dislinucb_sends_in_rounds_of_all_and_never_below_its_threshold() -> None:
    shared, alone = run_of(spec.DisLinUCB(threshold=20.0)), run_of(spec.DisLinUCB(threshold=1e6))
    linucb = run_of(spec.Central(share="device"))
    assert shared.messages > 0
    assert shared.messages % (2 * 4) == 0
    per_message = shared.bytes / shared.messages
    assert 500 < per_message < 5000
    assert alone.messages == alone.bytes == 0
    assert np.array_equal(alone.arm, linucb.arm)


def test_one_device_a_type_is_linucb_and_messages_count_receivers() -> None:
    alone = spec.Site(
        frames=60,
        types=tuple(
            spec.DeviceType(name=name, slowness=4.0, link=spec.Constant(mbit_s=8.0)) for name in ("a", "b")
        ),
    )
    by_type, by_device = (
        run_of(spec.Family(warm_start=10), alone),
        run_of(spec.Family(warm_start=10, share="device"), alone),
    )
    assert np.array_equal(by_type.arm, by_device.arm)
    assert by_device.messages == by_device.bytes == 0
    assert by_type.messages > 0
    to_all = run_of(spec.Family(share="type"))
    assert to_all.messages % 3 == 0  # one upload, two members that receive


def test_the_types_of_a_group_share_what_they_learn() -> None:
    def regret(share: spec.Sharing, warm_start: int) -> float:
        many = spec.Site(
            frames=150,
            types=(msgspec.structs.replace(PHONE, devices=5), msgspec.structs.replace(BOARD, devices=5)),
        )
        return float(
            np.mean(
                [
                    run_of(spec.Family(share=share, warm_start=warm_start), many, s).regret.sum()
                    for s in range(3)
                ]
            )
        )

    mixed, alone, warm = regret("all", 0), regret("device", 0), regret("device", 40)
    grouped, both = regret("type", 0), regret("type", 40)
    assert alone > warm > grouped > both
    assert mixed > grouped


def test_an_arm_that_is_not_there_and_a_world_without_arms() -> None:
    for learner, settings in (
        (spec.Neurosurgeon(), SYNTHETIC),
        (spec.Ans(), SYNTHETIC),
        (spec.EpsilonGreedy(), SYNTHETIC),
        (spec.Fixed(arm="0/png"), SITE),
        (spec.TwoArm(), SYNTHETIC),
        (spec.BestFixed(), SYNTHETIC),
    ):
        with pytest.raises(ConfigurationError, match=r"no arm|stay the same|no device whose|needs a link"):
            run_of(learner, settings)
    for arm, said in (("end/none", "which sends nothing: choose one"), ("0/jpg", "did you mean '0/jpeg'?")):
        with pytest.raises(ConfigurationError, match=said):
            run_of(spec.TwoArm(edge_arm=arm))


def test_a_policy_that_cannot_play_is_named(tmp_path: Path) -> None:
    experiment = load(
        Path("lab/experiments/traces.toml"),
        overrides=["policies.two_arm.edge_arm=end/none", "world.frames=2"],
        only=["two_arm"],
    )
    with pytest.raises(ConfigurationError, match=r"^policies\.two_arm: edge_arm is 'end/none'"):
        do(msgspec.json.encode(jobs_of(experiment, tmp_path)[0]))


def small(*overrides: str) -> spec.Experiment:
    return load(ORDERING, overrides=["world.frames=10", "seeds=2", *overrides], only=["linucb", "oracle"])


def test_jobs_write_what_was_played_and_know_their_own_files(tmp_path: Path) -> None:
    jobs = jobs_of(small(), tmp_path)
    assert [(job.policy, job.seed) for job in jobs] == [
        ("linucb", 1000), ("oracle", 1000), ("linucb", 1001), ("oracle", 1001),
    ]  # fmt: skip
    for job in jobs:
        assert not job.done
        assert do(msgspec.json.encode(job)) == job.policy
        assert job.done
    world: World = make_world(jobs[0].world, 1000)
    played, kept = play(world, team_of(jobs[0].learner, world, 1000)), read(jobs[0])
    for field in dataclasses.fields(Run):
        assert np.array_equal(getattr(played, field.name), getattr(kept, field.name))
    assert [job.done for job in jobs_of(small("world.bus_ms=5.0"), tmp_path)] == [False] * 4
    recorded = tmp_path / "recorded"
    recorded.mkdir()
    (recorded / "a.csv").write_text("second,mbit_per_s\n0,3\n")
    before = {job.fingerprint for job in jobs_of(small(f"world.traces={recorded}"), tmp_path)}
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "a.csv").write_bytes((recorded / "a.csv").read_bytes())
    assert {job.fingerprint for job in jobs_of(small(f"world.traces={moved}"), tmp_path)} == before
    assert world_fingerprint(jobs[0].world) == world_fingerprint(jobs[1].world)
    assert world_fingerprint(jobs[0].world) != world_fingerprint(small("world.bus_ms=5.0").world)
    (recorded / "a.csv").write_text("second,mbit_per_s\n0,4\n")
    assert not {job.fingerprint for job in jobs_of(small(f"world.traces={recorded}"), tmp_path)} & before
    Path(jobs[0].path).write_bytes(b"PAR1")
    assert not jobs[0].done
    assert not list(tmp_path.rglob("*.part"))


def test_figures_and_their_intervals() -> None:
    run = run_of(spec.Random())
    figures = figures_of(run, in_seconds=True, settle_frames=45)
    assert figures["mean_ms"] == pytest.approx(1e3 * run.cost.mean())
    each = [run.cost[run.device == device][45:] for device in range(4)]
    assert figures["later_mean_ms"] == pytest.approx(1e3 * np.concatenate(each).mean())
    assert len(np.concatenate(each)) == 4 * 15
    assert "later_mean_ms" not in figures_of(run, in_seconds=True, settle_frames=60)
    assert figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    assert "mean_ms" not in figures_of(run, in_seconds=False, settle_frames=45)
    assert interval([1.0]) == {"mean": 1.0, "ci95": None}
    # Four values 1, 2, 3, 4: standard error 0.6455, t(0.975, 3) = 3.1824.
    assert interval([1.0, 2.0, 3.0, 4.0])["ci95"] == pytest.approx([2.5 - 2.0543, 2.5 + 2.0543], abs=1e-3)


def test_tables_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no network table 'vgg': choose from mobilenet_v2"):
        load_table("vgg")
    good = json.loads((TABLES / "mobilenet_v2.json").read_text())
    for key, value in (("head_ms", [1.0]), ("exit_ms", [-1.0] * len(good["exit_ms"])), ("arms", 3)):
        path = tmp_path / f"{key}.json"
        path.write_text(json.dumps({**good, key: value}))
        with pytest.raises(ConfigurationError, match="is no network table"):
            load_table(str(path))
    path = tmp_path / "link.json"
    path.write_text(json.dumps({**good, "columns": [f"{name}s" for name in good["columns"]]}))
    with pytest.raises(ConfigurationError, match=r"it has no column link\.bits"):
        load_table(str(path))


def test_a_profile_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "pi4.json"
    profile_of().save(path)
    table = load_table(str(path))
    assert table.arms == ("0/jpeg", "1/int8-zstd", "end/none")
    assert table.head_ms == (0.0, 8.0, 20.0)
    assert table.edge_ms == (21.5, 12.5, 0.0)
    assert table.exit_ms == (6.0, 20.0)
    turn = next(make_world(spec.Site(network=str(path), frames=1, types=(BOARD,)), 1).turns())
    assert turn.contexts.tolist() == [list(arm.context) for arm in profile_of().arms]
    newer = tmp_path / "newer.json"
    newer.write_text(path.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(ConfigurationError, match="is no network table"):
        load_table(str(newer))


@pytest.mark.system
def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "cans", "simulate", str(ORDERING), "--seeds", "3", "--set", "world.frames=60",
        "--policies", "linucb,fedlinucb_dw,oracle", "--processes", "2",
    ]  # fmt: skip
    whole = tmp_path / "whole"
    subprocess.run([*command, "--out", whole], check=True, capture_output=True, timeout=120)
    out = tmp_path / "killed"
    killed = subprocess.Popen(
        [*command, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while len(list(out.rglob("*.parquet"))) < 2:
        assert killed.poll() is None, "it was done before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert not (out / "summary.json").exists()
    again = subprocess.run([*command, "--out", out], check=True, capture_output=True, text=True, timeout=120)
    assert "fedlinucb_dw" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    one, other = (json.loads((folder / "summary.json").read_text()) for folder in (whole, out))
    assert one["policies"] == other["policies"]
    assert one["provenance"]["simulated"] is True
    assert {path.name for path in out.glob("*.*g")} == {
        "regret.svg",
        "regret.png",
        "latency.svg",
        "latency.png",
    }
    for row in other["policies"].values():
        assert {"regret", "mean_ms", "p95_ms", "messages", "bytes"} <= set(row)
        assert all(set(figure) == {"mean", "ci95"} for figure in row.values())


@pytest.mark.system
def test_a_disk_that_takes_nothing_is_one_sentence(tmp_path: Path) -> None:
    full = subprocess.run(
        [sys.executable, "-m", "cans", "simulate", str(ORDERING), "--set", "world.frames=3", "--seeds", "1",
         "--policies", "oracle", "--quiet", "--out", tmp_path, "--page", "/dev/full/page.md"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert full.returncode == 2
    assert full.stderr.count("\n") == 1
    assert "cannot write the results /dev/full" in full.stderr


@pytest.mark.system
def test_a_bad_experiment_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    bad = subprocess.run(
        [sys.executable, "-m", "cans", "simulate", str(ORDERING), "--set", "world.framse=3",
         "--out", tmp_path],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert "did you mean 'frames'" in bad.stderr


LIAR = spec.DeviceType(
    name="liar", declared="phone", slowness=8.0, link=PHONE.link, lies=spec.Lies(kind="sign_flip")
)


def test_liars_alter_what_they_upload_and_nothing_else() -> None:
    truth = Statistics.zeros(2).add_rows(np.array([[1.0, 0.5], [0.2, 1.0]]), np.array([1.0, 2.0]))
    more = truth.add_row(np.ones(2), 3.0)
    for kind, factors in (("sign_flip", (-1.0, -1.0)), ("scale", (2.0, 2.0)), ("slow_drift", (2.0, 4.0))):
        liar = Liar(spec.Lies(kind=kind, factor=2.0))  # type: ignore[arg-type]
        for told, factor in zip((truth, more), factors, strict=True):
            altered = liar.alter(told)
            altered.require_valid()
            assert altered.gram is told.gram
            assert np.array_equal(altered.moment, factor * told.moment)
    replay = Liar(spec.Lies(kind="replay"))
    assert replay.alter(truth) is replay.alter(more) is truth


def test_a_guarded_team_parks_the_liar_and_the_replay_changes_nothing() -> None:
    phones = msgspec.structs.replace(PHONE, devices=4)
    for lies, parked in ((LIAR.lies, ["4"]), (spec.Lies(kind="replay"), [])):
        site = msgspec.structs.replace(SITE, types=(phones, msgspec.structs.replace(LIAR, lies=lies)))
        world = make_world(site, 3)
        assert world.types == ("phone",) * 5
        team = FederatedTeam(spec.Family(warm_start=8, guard=True), world, 3)
        play(world, team)
        watch = team.group_of(4).watch
        assert watch is not None
        assert watch.parked == parked
        assert team.policies[4].member.alone == bool(parked)


def test_without_liars_the_guard_changes_no_round() -> None:
    plain, guarded = (run_of(spec.Family(warm_start=8, guard=guard)) for guard in (False, True))
    assert np.array_equal(plain.arm, guarded.arm)
    assert plain.bytes == guarded.bytes


def test_the_regret_of_the_honest_stands_beside_that_of_all_where_somebody_lies() -> None:
    site = msgspec.structs.replace(SITE, types=(PHONE, LIAR))
    run = run_of(spec.Random(), site)
    figures = figures_of(run, in_seconds=True, settle_frames=5, honest=honest_devices(site))
    assert figures["honest_regret"] == pytest.approx(run.regret[run.device < 2].sum())
    assert figures["honest_regret"] < figures["regret"]
    assert "honest_regret" not in figures_of(
        run, in_seconds=True, settle_frames=5, honest=honest_devices(SITE)
    )
