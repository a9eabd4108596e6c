"""`cans record` and `cans recording` on a real broker: what was there, what was missed, what is left."""

import asyncio
import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bus.address import BrokerAddress
from bus.connection import Connection, Endpoint, Properties
from bus.errors import ConfigurationError
from bus.messages import ActivationRequest
from bus.mqtt import open_connection
from bus.recording.entries import Entry, Gap, Message
from bus.recording.packing import Packer
from bus.topics import FEEDBACK, INFER, NOBODY, STATE, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from cans.recording.contents import contents_of, verify
from cans.recording.opening import opened
from cans.recording.record_view import record_and_tell, withheld
from cans.recording.recorder import BrokersDrops, Recorded, Recorder, RecordSettings
from tests.support.broker import CutProxy, mosquitto
from tests.support.recordings import file_of, message
from tests.support.samples import SAMPLES

TOPICS = Topics()
BY_TOPIC = dict(reversed(SAMPLES))
STATE_TOPIC = TOPICS.of(STATE, role="device", id="cam-1")
INFER_TOPIC = TOPICS.of(INFER, edge="edge-1", device="cam-1")
Doing = Callable[[Connection, Recorder], Coroutine[Any, Any, None]]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it is not told when
            await asyncio.sleep(0.02)


def _recorded(out: Path, doing: Doing, *, proxied: bool = False, **more: Any) -> Recorded:
    """Record while something is done; a retained state is there before."""

    async def main() -> Recorded:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("writer")) as writer:
            await writer.publish(STATE_TOPIC, encode(STATE, BY_TOPIC[STATE]), qos=1, retain=True)
            async with CutProxy(broker.address) as proxy:
                address = BrokerAddress(port=proxy.port) if proxied else broker.address
                recorder = Recorder(RecordSettings(broker=address, out=out, version="test", **more))
                task = asyncio.create_task(recorder.run())
                await _until(lambda: recorder.recorded.messages > 0 or task.done())
                if proxied:
                    proxy.refusing = True
                    proxy.cut()
                    await asyncio.sleep(0.5)
                    proxy.refusing = False
                    await _until(lambda: recorder.recorded.gaps > 0)
                await doing(writer, recorder)
                if not task.done():
                    task.cancel()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.result()
                return recorder.recorded

    return asyncio.run(main())


async def _publish(writer: Connection, recorder: Recorder) -> None:
    said = Properties(response_topic="cans/v1/reply/cam-1", correlation_data=b"7", user=(("a", "b"),))
    before = recorder.recorded.messages
    await writer.publish(INFER_TOPIC, encode(INFER, BY_TOPIC[INFER]), qos=1, properties=said)
    await writer.publish("cans/v1/../else", b"\xff\xfe", qos=1)
    await _until(lambda: recorder.recorded.messages >= before + 2)


def _entries(path: Path) -> list[Entry]:
    with opened(path) as recording:
        return list(recording)


def _run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["recording", *arguments])
    return done.exit_code, done.output


def test_retained_messages_come_first_then_all_with_what_they_said(tmp_path: Path) -> None:
    out = tmp_path / "site.mcap"
    began_ns = time.time_ns()
    recorded = _recorded(out, _publish)
    first, infer, odd = _entries(out)
    assert isinstance(first, Message)
    assert (first.topic, first.retained, first.payload) == (
        STATE_TOPIC, True, encode(STATE, BY_TOPIC[STATE]),
    )  # fmt: skip
    assert isinstance(infer, Message)
    assert bytes(infer.payload) == bytes(encode(INFER, BY_TOPIC[INFER]))
    assert infer.properties is not None
    assert infer.properties.correlation_data == b"7"
    assert infer.properties.user == (("a", "b"),)
    assert isinstance(odd, Message)
    assert (odd.topic, odd.payload, odd.retained) == ("cans/v1/../else", b"\xff\xfe", False)
    assert began_ns < first.steady_ns < infer.steady_ns < time.time_ns()
    assert verify(out) == ""
    assert (recorded.messages, recorded.gaps, recorded.size) == (3, 0, out.stat().st_size)


def test_a_connection_that_was_away_is_a_gap_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "site.mcap"
    _recorded(out, _publish, proxied=True)
    kinds = [entry.kind if isinstance(entry, Gap) else entry.topic for entry in _entries(out)]
    assert kinds[0] == STATE_TOPIC
    assert kinds.index("disconnected") < kinds.index(INFER_TOPIC)
    (gap,) = (entry for entry in _entries(out) if isinstance(entry, Gap))
    assert 0.3 < gap.seconds < 20.0
    code, said = _run("info", str(out))
    assert code == 0
    assert "a gap at" in said
    assert "disconnected, for" in said


def test_what_the_broker_says_that_it_has_dropped_is_counted_from_then_on() -> None:
    drops = BrokersDrops()
    assert [drops.more(said) for said in (b"7", b"7", b"9", b"?", b"2", b"3")] == [0, 0, 2, 0, 0, 1]


def test_a_file_has_its_size_and_another_one_follows(tmp_path: Path) -> None:
    out = tmp_path / "site.mcap"

    async def much(writer: Connection, recorder: Recorder) -> None:
        for number in range(6):
            await writer.publish(f"cans/v1/x/{number}", os.urandom(200_000), qos=1)
            await asyncio.sleep(0.6)  # longer than between two writes

    recorded = _recorded(out, much, most_bytes=300_000, rotate=True)
    assert recorded.files[:2] == [out, tmp_path / "site-0002.mcap"]
    numbers = [entry.number for path in recorded.files for entry in _entries(path)]
    assert numbers == list(range(7))
    assert all(path.stat().st_size < 1_000_000 for path in recorded.files)
    assert all(verify(path) == "" for path in recorded.files)
    alone = _recorded(tmp_path / "one.mcap", much, most_bytes=300_000)
    assert alone.files == [tmp_path / "one.mcap"]


def test_a_kill_costs_what_was_not_written_yet_and_the_file_is_read_and_mended(tmp_path: Path) -> None:
    out, mended = tmp_path / "site.mcap", tmp_path / "mended.mcap"

    async def main() -> None:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("writer")) as writer:
            await writer.publish(STATE_TOPIC, encode(STATE, BY_TOPIC[STATE]), qos=1, retain=True)
            command = [sys.executable, "-m", "cans", "record", "--broker", broker.address.url, "-o", str(out)]
            process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
            await _until(lambda: out.exists() and out.stat().st_size > 400)
            for number in range(20):
                await writer.publish(f"cans/v1/x/{number}", b"{}", qos=1)
                await asyncio.sleep(0.1)
            process.send_signal(signal.SIGKILL)
            await process.wait()

    asyncio.run(main())
    found = contents_of(out)
    assert found.ending is not None
    assert found.ending.kind == "cut short"
    assert found.messages >= 1 + 20 - 12  # of a second at ten a second
    code, said = _run("verify", str(out))
    assert code == 1
    assert f"cans recording repair {out}" in said
    assert _run("repair", str(out), str(mended))[0] == 0
    assert _entries(mended) == _entries(out)
    assert _run("verify", str(mended)) == (0, f"{mended} is whole\n")
    code, said = _run("repair", str(out), str(mended))
    assert (code, "is there already" in said) == (2, True)


def test_what_was_recorded_in_figures_and_lines(tmp_path: Path) -> None:
    out = tmp_path / "site.mcap"
    _recorded(out, _publish)
    code, said = _run("info", str(out), "--json")
    assert code == 0
    figures = json.loads(said)
    assert figures["topics"]["infer"]["messages"] == 1
    assert figures["nodes"] == {"edge": ["edge-1"], "device": ["cam-1"]}
    assert set(figures["topics"]) == {"state", "infer", "other"}
    assert (figures["ending"], figures["retained"], figures["messages"]) == ("whole", 1, 3)
    code, said = _run("info", str(out))
    assert "1 retained" in said
    lines = [json.loads(line) for line in _run("export", str(out))[1].splitlines()]
    assert [line["topic"] for line in lines][:2] == [STATE_TOPIC, INFER_TOPIC]
    assert lines[1]["properties"]["correlation_data"] == "37"
    activation = BY_TOPIC[INFER]
    assert isinstance(activation, ActivationRequest)
    assert lines[1]["data"]["device"] == activation.device
    table = tmp_path / "site.csv"
    assert _run("export", str(out), "-o", str(table), "--format", "csv")[0] == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["topic"] for row in rows] == [line["topic"] for line in lines]
    assert _run("export", str(out), "-o", str(table))[0] == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"filters": ("a/#/b",)}, "#"),
        ({"rotate": True}, "--rotate needs --max-size"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        RecordSettings(broker=BrokerAddress(), out=tmp_path / "x.mcap", **more)


def test_nothing_is_overwritten_and_what_is_no_recording_is_said(tmp_path: Path) -> None:
    there = tmp_path / "there.mcap"
    there.write_text("a letter")
    with pytest.raises(ConfigurationError, match="nothing is overwritten"):
        RecordSettings(broker=BrokerAddress(), out=there)
    for name in (str(there), str(tmp_path / "absent.mcap")):
        for part in ("info", "verify", "export"):
            code, said = _run(part, name)
            assert code == 2
            assert f"cannot read {name}" in said


def test_a_disk_that_is_full_is_said_and_what_it_holds_is_read(tmp_path: Path) -> None:
    """A bound on the size of files stands for the disk's: writing fails in the middle just so."""
    out = tmp_path / "site.mcap"

    async def main() -> tuple[int, str]:
        async with mosquitto() as broker, open_connection(broker.address, Endpoint("writer")) as writer:
            await writer.publish(STATE_TOPIC, encode(STATE, BY_TOPIC[STATE]), qos=1, retain=True)
            recording = f"{sys.executable} -m cans record --broker {broker.address.url} -o {out}"
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", f"ulimit -f 100; exec {recording}", stderr=asyncio.subprocess.PIPE
            )
            await _until(lambda: out.exists() and out.stat().st_size > 400)
            for number in range(3):
                await writer.publish(f"cans/v1/x/{number}", os.urandom(60_000), qos=1)
                await asyncio.sleep(0.6)
            _, said = await asyncio.wait_for(process.communicate(), 20)
            assert process.returncode is not None
            return process.returncode, said.decode()

    code, said = asyncio.run(main())
    assert code == 2
    assert f"cannot write {out}: File too large" in said
    assert "Traceback" not in said
    found = contents_of(out)
    assert found.messages == 2
    assert found.ending is not None
    assert found.ending.kind == "cut short"


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            settings = RecordSettings(broker=broker.address, out=tmp_path / "missing" / "x.mcap", seconds=5.0)
            await Recorder(settings).run()

    with pytest.raises(ConfigurationError, match=r"cannot write .*No such file or directory"):
        asyncio.run(main())


def test_a_watcher_is_told_that_an_access_list_keeps_something_from_its_recording(tmp_path: Path) -> None:
    """A real one: the subscription is granted, and activations are never delivered."""
    who, feedback = ("watcher/wall", "device/pi4/cam-1"), TOPICS.of(FEEDBACK, type="pi4", device="cam-1")

    async def main() -> str:
        async with mosquitto(tmp_path / "broker", config="secure", identities=who) as broker:
            said, out = io.StringIO(), tmp_path / "a.mcap"
            settings = RecordSettings(broker=broker.address_of(who[0]), out=out, version="test", seconds=2.0)
            telling = asyncio.create_task(record_and_tell(settings, said, quiet=False))
            await _until(out.exists)
            async with open_connection(broker.address_of(who[1]), Endpoint("cam-1")) as device:
                for _ in range(20):
                    await device.publish(INFER_TOPIC, b"x", qos=1)
                    await device.publish(feedback, b"{}", qos=1)
            recorded = await telling
            assert recorded.heard == {"feedback": 20}
            return said.getvalue()

    assert "no request, answer or statistics were heard" in asyncio.run(main())
    settings = RecordSettings(broker=BrokerAddress(), out=tmp_path / "b.mcap")
    assert not withheld(Recorded(heard=Counter(feedback=20, infer=1)), settings)
    assert not withheld(Recorded(heard=Counter(feedback=19)), settings)
    some = dataclasses.replace(settings, filters=("cans/v1/feedback/#",))
    assert not withheld(Recorded(heard=Counter(feedback=20)), some)


def test_those_are_named_who_were_there_and_not_who_asked_whether_he_may_speak(tmp_path: Path) -> None:
    asked = TOPICS.of(INFER, edge=f"{NOBODY}1", device=f"{NOBODY}1")
    there = [TOPICS.of(STATE, role=role, id=id_) for role, id_ in (("edge", "e"), ("aggregator", "main"))]
    path = file_of(tmp_path / "a.mcap", [message(at, at, topic) for at, topic in enumerate((asked, *there))])
    assert contents_of(path).nodes == {"edge": {"e"}}


def test_a_file_that_was_cut_at_its_last_message_says_that_all_of_it_is_read(tmp_path: Path) -> None:
    packer, path = Packer({"prefix": "cans/v1"}, "test"), tmp_path / "a.mcap"
    packer.add(message(0, 0.0, STATE_TOPIC))
    held = packer.cut()
    path.write_bytes(held)
    assert "1 messages in all of it can be read" in verify(path)
    path.write_bytes(held + b"\x06")
    assert f"1 messages in its first {len(held)} of {len(held) + 1} bytes can be read" in verify(path)


def test_names_that_are_not_ours_are_recorded_and_not_remembered(tmp_path: Path) -> None:
    async def publish(writer: Connection, recorder: Recorder) -> None:
        for number in range(20):
            await writer.publish(f"cans/v1/somebody-elses-{number}/x", b"x", qos=1)
        await _until(lambda: recorder.recorded.messages == 21)

    recorded = _recorded(tmp_path / "a.mcap", publish)
    assert (recorded.messages, recorded.heard) == (21, {"state": 1})
