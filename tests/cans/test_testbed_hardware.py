"""What devices say of themselves: whether they fit the experiment, and how slow the simulator takes them."""

from pathlib import Path

import msgspec
import pytest

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from cans.testbed.hardware import emulated_by, require_alike, run_line
from cans.testbed.hardware_prediction import slowness_of
from cans.testbed.inventory import Inventory
from cans.version import __version__
from lab.simulator import spec
from lab.simulator.experiment import load
from lab.testbed.orders import Present
from lab.testbed.plan import Plan
from partition.profiles.profile_file import as_json
from tests.support.profiles import MODEL, profile_of

_TWO_TYPES = Path(__file__).parents[1] / "lab" / "testbed" / "two_types.toml"
_IDS = {"phone": ["hall"], "board": ["kitchen"]}
_BROKER = BrokerAddress("laptop.local", username="coordinator/main")
_INVENTORY = Inventory(_BROKER, (), "cans/testbed", frozenset(), _IDS, "")
_HALL = Present(
    number=1,
    label="small seeded:0",
    model=MODEL,
    arms=("0/jpeg", "1/int8-zstd", "end/none"),
    versions={"cans": __version__},
    machine="a board, 4 cores",
)


def _plan(*overrides: str) -> Plan:
    return Plan(load(_TWO_TYPES, overrides=overrides), _IDS)


def _present(**changes: object) -> dict[str, Present]:
    return {"hall": msgspec.structs.replace(_HALL, **changes), "kitchen": _HALL}


def test_devices_that_play_the_same_may_play() -> None:
    require_alike(_plan(), _present(), _INVENTORY, profile_of())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"versions": {"cans": "0.0.1"}}, "hall runs cans 0.0.1, and this is"),
        ({"model": "f" * 16}, "hall plays another network .*run cans device --lab --id hall"),
        ({"arms": ("0/jpeg", "end/none")}, r"other arms than the experiment \(1/int8-zstd is on one side"),
        ({"arms": ("end/none", "1/int8-zstd", "0/jpeg")}, "in another order"),
    ],
)
def test_who_would_play_something_else_is_named(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        require_alike(_plan(), _present(**changes), _INVENTORY, profile_of())


def test_what_is_to_be_run_on_a_device_is_a_line_for_its_shell() -> None:
    plan = _plan("testbed.codecs=['uint8','jpeg']", "testbed.weights='out/n e/weights.pth'")
    assert run_line(plan, plan.devices[0], _INVENTORY) == (
        "cans device --lab --id hall --type phone --broker mqtt://laptop.local:1883 --prefix cans/testbed "
        "--wait-for-broker --wait-edge-s 120 --model mobilenet_v2 --codecs uint8,jpeg --weights weights.pth"
    )


def test_what_pretends_to_be_slow_is_not_called_real() -> None:
    assert emulated_by(_present()).startswith("nothing:")
    assert "the slowness of hall (started with --emulate)" in emulated_by(_present(emulated=True))


def test_the_simulators_types_are_as_slow_as_the_profiles_of_their_devices() -> None:
    ours = profile_of()
    slow = [
        msgspec.structs.replace(
            arm, head=msgspec.structs.replace(arm.head, median_ms=4.0 * arm.head.median_ms),
            encode=msgspec.structs.replace(arm.encode, median_ms=4.0 * arm.encode.median_ms),
        )
        for arm in ours.arms
    ]  # fmt: skip
    theirs = as_json(msgspec.structs.replace(ours, arms=tuple(slow))).decode()
    present = {
        "hall": msgspec.structs.replace(_HALL, profile=theirs),
        "kitchen": msgspec.structs.replace(_HALL, profile=as_json(ours).decode()),
    }
    said = slowness_of(_plan(), present, ours)
    assert said is not None
    plan = _plan(said)
    assert isinstance(plan.world, spec.Site)
    assert {kind.name: kind.slowness for kind in plan.world.types} == {"phone": 4.0, "board": 1.0}
    assert [kind.link for kind in plan.world.types] == [kind.link for kind in _plan().world.types]


def test_without_a_profile_of_each_nothing_is_predicted() -> None:
    assert slowness_of(_plan(), _present(), profile_of()) is None
    with pytest.raises(ConfigurationError, match="hall has sent no profile"):
        slowness_of(_plan(), _present(profile="{}"), profile_of())
