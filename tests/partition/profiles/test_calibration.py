"""What calibration finds of a real network: parts that add up, and every name in its place."""

import gc
from pathlib import Path

import pytest

from bus.errors import ConfigurationError
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles import machine
from partition.profiles.calibration import calibrate
from partition.profiles.machine import Watch, this_machine
from partition.profiles.profile_file import Profile, as_json, decode_profile
from tests.support.profiles import timing

TINY = "tests.support.tiny_network:make"


@pytest.fixture(scope="module")
def profile() -> Profile:
    return calibrate(build(load_model(TINY, seed=0), threads=1), repeats=5)


def test_parts_add_up(profile: Profile) -> None:
    model = build(load_model(TINY, seed=0))
    assert (profile.model, profile.schema) == (model.hash, model.schema.hash)
    assert [arm.label for arm in profile.arms] == [arm.label for arm in model.arms]
    assert [segment.name for segment in profile.segments] == [cut.name for cut in model.cuts[1:]]
    frames = {"0/uint8", "0/jpeg"}
    heads = [arm.head.median_ms for arm in profile.arms if arm.label not in frames]
    assert heads == sorted(heads)  # arms are in the order of their cuts
    tails = [arm.tail.median_ms for arm in profile.arms if not arm.label.startswith("0/")]
    assert tails == sorted(tails, reverse=True)
    by_label = {arm.label: arm for arm in profile.arms}
    # The edge worker normalises the frame that crosses as it is; nobody else does it for him.
    assert by_label["0/uint8"].head.median_ms == 0.0
    assert by_label["0/float32"].head == profile.normalise
    assert by_label["end/none"].tail.median_ms == by_label["end/none"].payload_bytes == 0.0
    assert by_label["0/uint8"].payload_bytes == 224 * 224 * 3
    for arm in profile.arms:
        for each in (arm.head, arm.encode, arm.decode, arm.tail):
            assert each.low_ms <= each.median_ms <= each.high_ms
    assert len(profile.exits) == model.exit_count


def test_operators_are_the_networks_own(profile: Profile) -> None:
    kinds = [each.kind for each in profile.operators]
    assert kinds == ["Conv2d", "ReLU", "Conv2d", "ReLU", "AdaptiveAvgPool2d", "Flatten", "Linear"]
    assert len({each.name for each in profile.operators}) == len(kinds)
    assert all(each.time.median_ms > 0.0 for each in profile.operators)


def test_few_rounds_are_said_to_be_few_and_the_file_holds_it_all(profile: Profile) -> None:
    assert "5 rounds are too few" in profile.warnings[0]
    assert decode_profile(as_json(profile)) == profile
    assert profile.machine == this_machine()
    assert profile.machine.differs_from(this_machine()) == ""


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
def test_fewer_rounds_than_settle_are_rounds_too(repeats: int) -> None:
    rounds: list[int] = []
    found = calibrate(build(load_model(TINY, seed=0)), repeats=repeats, on_round=rounds.append)
    assert rounds == list(range(1, repeats + 1))
    assert found.repeats == repeats
    assert decode_profile(as_json(found)) == found
    # All of them are filled: a round that settles writes where one that counts does, and counts not.
    times = [each.time for each in found.segments] + [each.time for each in found.exits]
    for time in times:
        assert 0.0 < time.low_ms <= time.median_ms <= time.high_ms
    assert f"{repeats} rounds are too few" in found.warnings[0]


@pytest.mark.parametrize("repeats", [0, -1])
def test_no_rounds_at_all_are_refused(repeats: int) -> None:
    with pytest.raises(ConfigurationError, match=f"^{repeats} rounds time nothing"):
        calibrate(build(load_model(TINY, seed=0)), repeats=repeats)


def test_rounds_are_told_and_the_garbage_collector_comes_back() -> None:
    rounds: list[int] = []
    calibrate(build(load_model(TINY, seed=0)), repeats=3, on_round=rounds.append)
    assert rounds == [1, 2, 3]
    assert gc.isenabled()


def test_a_round_that_is_interrupted_ends_it() -> None:
    def interrupt(rounds: int) -> None:
        raise KeyboardInterrupt(rounds)

    with pytest.raises(KeyboardInterrupt):
        calibrate(build(load_model(TINY, seed=0)), repeats=3, on_round=interrupt)
    assert gc.isenabled()


def test_what_a_raspberry_pi_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as such a machine has them, read through the same code."""
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    frequency = tmp_path / "cpu" / "cpu0" / "cpufreq"
    frequency.mkdir(parents=True)
    (frequency / "scaling_governor").write_text("powersave\n")
    (frequency / "scaling_driver").write_text("cpufreq-dt\n")
    heat = tmp_path / "cpu" / "cpu0" / "thermal_throttle"
    heat.mkdir()
    (heat / "core_throttle_count").write_text("3\n")
    quota, firmware = tmp_path / "cpu.stat", tmp_path / "get_throttled"
    quota.write_text("usage_usec 5\nnr_periods 9\nnr_throttled 1\n")
    firmware.write_text("50000\n")
    for name, path in (
        ("_CPUINFO", info), ("_CPU", tmp_path / "cpu"), ("_QUOTA", quota), ("_FIRMWARE", firmware)
    ):  # fmt: skip
        monkeypatch.setattr(machine, name, path)
    assert this_machine().processor == "Raspberry Pi 4 Model B Rev 1.4"
    watch = Watch()
    quota.write_text("usage_usec 5\nnr_periods 9\nnr_throttled 2\n")
    firmware.write_text("50005\n")
    found = watch.conditions(threads=2, probe=timing(1.0), network_drift=0.1, probe_drift=0.2)
    assert (found.governor, found.driver, found.threads) == ("powersave", "cpufreq-dt", 2)
    assert found.throttled == 1 + 5
    assert 0.0 <= found.taken_share <= 1.0
    assert (found.network_drift, found.probe_drift) == (0.1, 0.2)
