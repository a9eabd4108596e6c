"""`cans doctor bus` and `machine`: each of the planted faults is found, and a site that is well has none."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bus.address import BrokerAddress
from bus.connection import Endpoint
from bus.errors import BrokerUnreachable
from bus.messages import Feedback, GroupWords, State
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, INFER, STATE, WORDS, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from cans.broker.process import find_mosquitto
from cans.doctors import machine
from cans.doctors.bus import SITE, Seen, diagnose, look
from cans.doctors.findings import Finding, can
from cans.version import __version__
from tests.support.broker import mosquitto, need_mosquitto
from tests.support.samples import MODEL, SAMPLES
from tests.support.site import free_port

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
WORDS_SAID = next(each for _, each in SAMPLES if isinstance(each, GroupWords))
OTHER = "f" * 16
Message = tuple[str, bytes, bool]


def _state(role: str, id_: str, *, topics: Topics = TOPICS, **more: object) -> Message:
    said = State(role=role, id=id_, state="ready", boot=1, version=__version__)
    said = msgspec.structs.replace(said, **more)
    return topics.of(STATE, role=role, id=id_), bytes(encode(STATE, said)), True


def _words(changed: datetime) -> Message:
    said = msgspec.structs.replace(WORDS_SAID, changed=changed.isoformat(timespec="seconds"))
    return TOPICS.of(WORDS, type="pi4", model=MODEL), bytes(encode(WORDS, said)), True


WELL: tuple[Message, ...] = (
    _state("edge", "edge-1", models=MODEL, arms="a" * 16),
    _state("device", "cam-1", models=MODEL, type="pi4"),
    _state("aggregator", "main"),
    _words(datetime.now(UTC)),
)


def _late(count: int = 30) -> list[Message]:
    said = msgspec.structs.replace(SAID, device="cam-1", type="pi4", deadline_met=False)
    return [(TOPICS.of(FEEDBACK, type="pi4", device="cam-1"), bytes(encode(FEEDBACK, said)), False)] * count


def _found(messages: Sequence[Message], *, prefix: str = "cans/v1") -> list[Finding]:
    """Plant messages on a real broker; return what is found."""

    async def main() -> Seen:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("planter")) as planter:
            for topic, payload, retained in messages:
                if retained:
                    await planter.publish(topic, payload, qos=1, retain=True)
            looking = asyncio.create_task(look(broker.address, prefix, 1.2))
            await asyncio.sleep(0.5)
            for topic, payload, retained in messages:
                if not retained:
                    await planter.publish(topic, payload, qos=1)
            return await looking

    return diagnose(asyncio.run(main()), prefix, __version__)


def _amiss(findings: Sequence[Finding]) -> set[str]:
    return {each.name for each in findings if not each.ok}


def test_a_site_that_is_well_has_no_fault() -> None:
    findings = _found(WELL)
    assert _amiss(findings) == set(), [each for each in findings if not each.ok]
    assert can(findings) == {SITE: True}
    by_name = {each.name: each for each in findings}
    assert "mosquitto" in by_name["the broker"].found
    assert by_name["small messages are sent at once"].found.endswith("ms apart")
    assert "infer, state" in by_name["who may speak as somebody else"].found


_OTHER_CODECS = _state("device", "cam-2", models=MODEL, arms="b" * 16)
_OLDER = _state("device", "cam-2", models=MODEL, version="0.0.1")
_ACTIVATION = (TOPICS.of(INFER, edge="edge-1", device="cam-1"), b"?", True)
_LAMP = (TOPICS.of(STATE, role="device", id="lamp"), b'{"on":1}', True)
_PARKED = _state("aggregator", "main", detail="parked: cam-1")
_BUSY = _state("edge", "edge-1", models=MODEL, load=12.0)
_AHEAD = _words(datetime.now(UTC) + timedelta(hours=1))
_UNSERVED = "devices whose network no edge worker serves"
_PLANTED: dict[str, tuple[Sequence[Message], tuple[str, ...]]] = {
    "no edge worker": (WELL[1:], ("edge, ready", _UNSERVED)),
    "no aggregator": (WELL[:2], ("aggregator, ready",)),
    "no device": ((WELL[0], WELL[2]), ("device, ready",)),
    "a device that was lost": (
        (*WELL, _state("device", "cam-2", state="lost")),
        ("nodes that were lost",),
    ),
    "another network": ((*WELL, _state("device", "cam-2", models=OTHER)), (_UNSERVED,)),
    "other codecs": ((*WELL, _OTHER_CODECS), ("devices with other cuts or codecs",)),
    "another version": ((*WELL, _OLDER), ("versions",)),
    "a clock that is ahead": ((*WELL[:3], _AHEAD), ("clocks",)),
    "retained rubbish": ((*WELL, ("cans/v1/what/is/this", b"?", True)), ("retained rubbish",)),
    "a retained activation": ((*WELL, _ACTIVATION), ("retained rubbish",)),
    "somebody else's messages": ((*WELL, _LAMP), ("messages that are none of ours",)),
    "a parked device": ((*WELL, _PARKED), ("what aggregators complain of",)),
    "an edge worker that is overloaded": ((*WELL, _BUSY), ("overloaded edge workers",)),
    "frames that are late": ((*WELL, *_late()), ("deadlines missed",)),
}


@pytest.mark.parametrize("planted", _PLANTED)
def test_a_planted_fault_is_found_and_no_other(planted: str) -> None:
    messages, names = _PLANTED[planted]
    findings = _found(messages)
    assert _amiss(findings) == set(names)
    assert all(each.mend for each in findings if not each.ok)


def test_a_wrong_prefix_is_found_and_the_right_one_named() -> None:
    findings = _found(WELL, prefix="cans/v2")
    nodes = next(each for each in findings if each.name == "nodes")
    assert not nodes.ok
    assert "cans/v1" in nodes.mend
    assert can(findings) == {SITE: False}


def test_a_broker_that_holds_small_messages_back_is_found(tmp_path: Path) -> None:
    """Mosquitto's own default."""
    need_mosquitto()
    port, config = free_port(), tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay false\nmax_packet_size 100000\n"
    )
    binary = find_mosquitto()
    assert binary is not None
    process = subprocess.Popen([binary, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:

        async def main() -> Seen:
            for _ in range(100):
                try:
                    return await look(BrokerAddress(port=port), "cans/v1", 2.0)
                except BrokerUnreachable:  # until it listens
                    await asyncio.sleep(0.05)
            raise AssertionError("the broker did not start")

        amiss: set[str] = set()
        for _ in range(8):  # on a busy machine messages are apart anyway
            amiss |= _amiss(diagnose(asyncio.run(main()), "cans/v1", __version__))
            if "small messages are sent at once" in amiss:
                break
    finally:
        process.terminate()
        process.wait()
    assert {"small messages are sent at once", "its packet limit"} <= amiss


def test_what_only_a_broker_can_say() -> None:
    seen = Seen(protocol=4, sys={"$SYS/broker/publish/messages/dropped": "7"})
    assert {"MQTT 5", "messages that it has dropped"} <= _amiss(diagnose(seen, "cans/v1", "1"))
    untried = {each.name for each in diagnose(Seen(), "cans/v1", "1") if not each.tried}
    assert untried == {
        "who may speak as somebody else",
        "messages that it has dropped",
        "small messages are sent at once",
        "clocks",
        "deadlines missed",
    }


def test_who_may_speak_as_somebody_else_is_found_where_others_reach_the_broker() -> None:
    for local, pretended, well in ((True, {"state"}, True), (False, {"state"}, False), (False, set(), True)):
        seen = Seen(pretended=pretended, refused={"infer"}, local=local)
        assert ("who may speak as somebody else" not in _amiss(diagnose(seen, "cans/v1", "1"))) == well


def test_under_an_access_list_nobody_speaks_as_somebody_else(tmp_path: Path) -> None:
    who = ("watcher/wall", "device/pi4/cam-1", "edge/e", "aggregator/main")

    async def main() -> dict[str, Seen]:
        async with mosquitto(tmp_path, config="secure", identities=who) as broker:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    name: group.create_task(look(broker.address_of(name), "cans/v1", 3.0)) for name in who
                }
            return {name: task.result() for name, task in tasks.items()}

    seen = asyncio.run(main())
    assert {name: each.pretended for name, each in seen.items()} == {name: set() for name in who}
    assert {name: each.refused for name, each in seen.items()} == {name: {"infer", "state"} for name in who}
    rule = "who may speak as somebody else"
    for each in seen.values():
        (found,) = (one for one in diagnose(each, "cans/v1", "1") if one.name == rule)
        assert (found.ok, found.tried, found.found) == (True, True, "nobody with this login")


def test_a_count_that_mosquitto_has_let_expire_is_no_refusal() -> None:
    """It publishes what has changed, and what does not is gone after a minute."""
    for version, well in (("mosquitto version 2.0.11", True), ("another 1.0", False)):
        said = {"$SYS/broker/version": version, "$SYS/broker/uptime": "70 seconds"}
        findings = {each.name: each for each in diagnose(Seen(sys=said), "cans/v1", "1")}
        assert findings["messages that it has dropped"].tried is well


def _kernel(folder: Path, **words: str) -> Path:
    for name, word in words.items():
        place = folder / "cpu0" / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(word + "\n")
    return folder


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"cpu": lambda at: _kernel(at, cpufreq__scaling_governor="powersave")}, "governor"),
        ({"cpu": lambda at: _kernel(at, thermal_throttle__core_throttle_count="3")}, "throttled by heat"),
        ({"load": 99.0}, "load"),
        ({"environment": {"OMP_NUM_THREADS": "64"}}, "threads"),
        ({"environment": {"MKL_NUM_THREADS": "many"}}, "threads"),
    ],
)
def test_what_slows_a_machine_down_is_found(more: dict[str, object], name: str, tmp_path: Path) -> None:
    well: dict[str, Any] = {"environment": {}, "cpu": lambda at: at, "folder": tmp_path, "load": 0.1}
    planted = well | more
    findings = machine.examine(**(planted | {"cpu": planted["cpu"](tmp_path)}))
    assert _amiss(findings) == {name}


def test_a_quick_driver_keeps_its_governor_and_a_silent_system_has_no_fault(tmp_path: Path) -> None:
    said = {"cpufreq__scaling_governor": "powersave", "cpufreq__scaling_driver": "intel_pstate"}
    for cpu in (_kernel(tmp_path / "a", **said), tmp_path / "none"):
        assert _amiss(machine.examine({}, cpu=cpu, folder=tmp_path, load=0.0)) == set()


def test_the_command_says_it_for_people_and_programs() -> None:
    async def main() -> tuple[int | None, str]:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("planter")) as planter:
            for topic, payload, _ in WELL:
                await planter.publish(topic, payload, qos=1, retain=True)
            command = [
                "-m",
                "cans",
                "doctor",
                "bus",
                "--broker",
                broker.address.url,
                "--seconds",
                "1",
                "--json",
            ]
            process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=subprocess.PIPE)
            said, _ = await process.communicate()
            return process.returncode, said.decode()

    code, said = asyncio.run(main())
    assert code == 0
    assert json.loads(said)["can"] == {SITE: True}
    done = CliRunner().invoke(command_line, ["doctor", "bus", "--broker", "mqtt://127.0.0.1:1"])
    assert done.exit_code == 2
    assert CliRunner().invoke(command_line, ["doctor", "machine"]).exit_code == 0
