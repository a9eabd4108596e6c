"""What profiles on the disk tell a device, and what it then need not measure."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from device import events as e
from device.compute import Frame, LocalAnswer
from device.events import ExitRow, Head
from device.known import Known, read_known
from device.runtime import run_device
from device.settings import DeviceSettings
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles.calibration import calibrate
from partition.profiles.profile_file import Profile
from tests.support.device_parts import PLAN
from tests.support.profiles import profile_of

TINY = "tests.support.tiny_network:make"
ALL = {"compare": ("ans", "neurosurgeon")}


class _Unused:
    """A compute that runs nothing: what is known need not be measured."""

    plan, exit_count, input_size, label = PLAN, 2, (8, 8), "unused"

    def __init__(self, *, emulated: bool = False) -> None:
        self.emulated = emulated

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        raise AssertionError

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        raise AssertionError

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        raise AssertionError


def settings(**fields: Any) -> DeviceSettings:
    given = {"id": "cam-1", "type": "pi4", "broker": BrokerAddress("localhost", 1), "warm_start": 4, **fields}
    return DeviceSettings(**given)


def saved(folder: Path, name: str = "here.json", **changes: Any) -> Path:
    path = folder / name
    profile_of(**changes).save(path)
    return path


def test_without_profiles_nothing_is_known() -> None:
    assert read_known(settings(), _Unused()) == Known()


def test_a_profile_tells_heads_tails_and_rows(tmp_path: Path) -> None:
    here, edge = saved(tmp_path), saved(tmp_path, "edge.json")
    known = read_known(settings(profile=here, edge_profile=edge, **ALL), _Unused())
    assert known.front_s == pytest.approx((0.002, 0.009, 0.020))
    assert known.edge_s == pytest.approx((0.0215, 0.0125, 0.0))
    assert [row.latency_s for row in known.rows] == pytest.approx([0.006, 0.020, 0.020, 0.0057])
    assert known.rows[0].context == (0.3, 0.0, 0.0, 0.0)
    assert read_known(settings(edge_profile=edge), _Unused()) == Known(edge_s=known.edge_s)


def test_of_a_banned_arm_no_times_are_handed_on(tmp_path: Path) -> None:
    class Banned(_Unused):
        plan = PLAN.without({0: "too large"})

    here, edge = saved(tmp_path), saved(tmp_path, "edge.json")
    known = read_known(settings(profile=here, edge_profile=edge, **ALL), Banned())
    assert known.front_s == pytest.approx((0.009, 0.020))
    assert known.edge_s == pytest.approx((0.0125, 0.0))


def test_a_profile_that_is_not_trusted_makes_no_warm_start(tmp_path: Path) -> None:
    known = read_known(settings(profile=saved(tmp_path, warnings=("busy",))), _Unused())
    assert known.rows == ()
    assert len(known.front_s) == 3


def test_profiles_that_do_not_belong_are_told(tmp_path: Path) -> None:
    here = saved(tmp_path)
    with pytest.raises(ConfigurationError, match="--emulate stretches"):
        read_known(settings(profile=here), _Unused(emulated=True))
    for given in ({}, {"profile": here}, {"edge_profile": here}):
        with pytest.raises(ConfigurationError, match="give --profile and --edge-profile"):
            read_known(settings(policy="neurosurgeon", **given), _Unused())
    elsewhere = replace(profile_of().machine, processor="Raspberry Pi 9")
    other = saved(tmp_path, "other.json", machine=elsewhere)
    with pytest.raises(ConfigurationError, match="of another machine"):
        read_known(settings(profile=other), _Unused())
    assert read_known(settings(edge_profile=other), _Unused()).edge_s != ()
    with pytest.raises(ConfigurationError, match="of model ffff"):
        read_known(settings(profile=saved(tmp_path, "model.json", model="f" * 16)), _Unused())


def _quiet(profile: Profile) -> Profile:
    """As if nothing had disturbed it, whatever else this machine does."""
    return replace(profile, warnings=())


def test_a_device_begins_with_what_its_profile_knows(tmp_path: Path) -> None:
    path = tmp_path / "tiny.json"
    profile = _quiet(calibrate(build(load_model(TINY, seed=0)), repeats=3))
    profile.save(path)
    seen: list[e.Event] = []

    async def main() -> dict[str, float]:
        given = settings(
            profile=path, edge_profile=path, model=TINY, frames=3, warm_start=7, wait_edge_s=0.0, flush_s=0.0,
            **ALL,
        )  # fmt: skip
        summary = await run_device(given, on_event=seen.append, connect=MemoryBroker().connect)
        return {name: sum(policy.answered.values()) for name, policy in summary.policies.items()}

    assert asyncio.run(main()) == {"fedlinucb_dw": 3, "ans": 3, "neurosurgeon": 3}
    (warm,) = [event for event in seen if isinstance(event, e.WarmStartFinished)]
    rows = profile.front_rows()
    assert warm.rows == tuple(ExitRow(*next(rows)) for _ in range(7))
