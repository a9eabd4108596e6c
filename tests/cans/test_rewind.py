"""`cans rewind` and `cans aggregator restore`: against a live aggregator, and as a person uses them."""

import asyncio
import json
import random
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aggregator.ledger import Ledger, Limits
from aggregator.runtime import run_aggregator
from aggregator.settings import AggregatorSettings
from bandits.federation import GuardSettings
from bus.connection import Delivery, Endpoint
from bus.mqtt import open_connection
from bus.recording.reading import Recording
from bus.snapshot import read_snapshot
from bus.topics import ACK, STATS, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from cans.recording.recorder import Recorder, RecordSettings
from cans.rewind import RewindSettings, rewound
from tests.reference.make import RECORDING
from tests.support.broker import mosquitto
from tests.support.uploads import upload

TOPICS = Topics()
_TIMES = 10


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, [*map(str, arguments)])
    return done.exit_code, done.output


def test_it_equals_the_live_aggregators_state_at_ten_random_times(tmp_path: Path) -> None:
    """Devices upload; at random times, once what was sent is acknowledged, the live state is kept aside."""
    out, kept = tmp_path / "site.mcap", list[tuple[int, Path]]()

    async def main() -> None:
        async with mosquitto() as broker:
            state_dir = tmp_path / "state"
            recorder = Recorder(RecordSettings(broker=broker.address, out=out, version="test"))
            recording = asyncio.create_task(recorder.run())
            settings = AggregatorSettings(id="agg", broker=broker.address, state_dir=state_dir)
            running = asyncio.create_task(run_aggregator(settings))
            endpoint = Endpoint("cams", subscriptions=((TOPICS.filter(ACK), 1),))
            async with open_connection(broker.address, endpoint) as link:
                events = link.events()
                await asyncio.sleep(1.0)  # both have subscribed
                chance = random.Random(4)
                seqs: dict[str, int] = {}
                for number in range(_TIMES):
                    sent = chance.randint(1, 6)
                    for camera in chance.sample(range(6), sent):  # one at a time of each, as devices do
                        device = f"cam-{camera}"
                        seqs[device] = seqs.get(device, 0) + 1
                        message = encode(STATS, upload(device, seqs[device]))
                        await link.publish(TOPICS.of(STATS, type="pi4", device=device), message, qos=1)
                    acknowledged = 0
                    async with asyncio.timeout(20):
                        while acknowledged < sent:
                            event = await anext(events)
                            if isinstance(event, Delivery):
                                event.ack()
                                acknowledged += 1
                    place = tmp_path / f"then-{number}"
                    shutil.copy(state_dir / "groups", place)
                    kept.append((time.time_ns(), place))
                    await asyncio.sleep(chance.uniform(0.05, 0.3))
            for task in (running, recording):
                task.cancel()
                await asyncio.wait({task})

    asyncio.run(main())
    with out.open("rb") as stream:
        began_ns = next(iter(Recording(stream))).steady_ns
    for at_ns, place in kept:
        found, _ = rewound(RewindSettings(file=out, at_s=(at_ns - began_ns) / 1e9, groups={}))
        snapshot = read_snapshot(place)
        assert snapshot is not None
        live = Ledger.load(snapshot, Limits(guard=GuardSettings()))
        assert list(live) == list(found.ledger)
        for key in live:
            ours, theirs = found.ledger[key], live[key]
            assert ours.version == theirs.version
            assert np.max(np.abs(ours.statistics.gram - theirs.statistics.gram)) <= 1e-12
            assert np.max(np.abs(ours.statistics.moment - theirs.statistics.moment)) <= 1e-12
        assert found.exact == found.broadcasts


def test_a_person_asks_what_was_known_and_begins_again_from_it(tmp_path: Path) -> None:
    code, said = _run("rewind", RECORDING)
    assert code == 0
    assert "device, whole network" in said
    assert re.search(r"held against (\d+) recorded broadcasts: \1 the same to the bit", said)
    whole = json.loads(_run("rewind", RECORDING, "--json")[1])
    code, said = _run("rewind", RECORDING, "--at", "0:04", "--json")
    figures = json.loads(said)
    assert 0 < figures["broadcasts"] < whole["broadcasts"]
    assert {each["device"] for each in figures["devices"]} == {"cam-1", "cam-2"}
    snapshot, state_dir = tmp_path / "then.groups", tmp_path / "state"
    assert _run("rewind", RECORDING, "--at", "4", "-o", snapshot)[0] == 0
    code, said = _run("rewind", RECORDING, "-o", snapshot)
    assert (code, "is there already" in said) == (2, True)
    code, said = _run("aggregator", "restore", snapshot, "--state-dir", state_dir)
    assert (code, said) == (0, f"{state_dir} holds drawn at version {figures['groups'][0]['version']}\n")
    assert "drawn" in _run("aggregator", "inspect", "--state-dir", state_dir)[1]
    payload = read_snapshot(state_dir / "groups")
    assert payload is not None
    assert Ledger.load(payload, Limits()).origin != figures["origin"]
    code, said = _run("aggregator", "restore", snapshot, "--state-dir", state_dir)
    assert (code, "is there already" in said) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rewind", "absent.mcap"), "cannot read absent.mcap"),
        (("rewind", RECORDING, "--state", "absent"), "absent does not exist"),
        (("rewind", RECORDING, "-o", "missing/x"), "cannot write missing/x"),
        (("aggregator", "restore", "absent"), "absent does not exist"),
        (("aggregator", "restore", RECORDING), "site.mcap"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    arguments: tuple[object, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = _run(*arguments)
    assert (code, sentence in said) == (2, True), said


def test_what_a_recording_cannot_tell_is_said(tmp_path: Path) -> None:
    early, public = tmp_path / "early.mcap", tmp_path / "public.mcap"
    assert _run("recording", "cut", RECORDING, early, "--to", "0.5")[0] == 0
    code, said = _run("rewind", early, "--at", "0.1")
    assert (code, "nobody can tell" in said) == (0, True)
    assert _run("recording", "redact", RECORDING, public)[0] == 0
    for arguments, sentence in (
        ((early,), "holds no upload: record stats/#"),
        ((early, "--at", "0.1", "-o", tmp_path / "x"), "nothing to begin from"),
        ((public,), "is redacted, so it holds no sums"),
        ((RECORDING, "--at", "5:00"), "--at counts from its first message"),
        ((RECORDING, "--at", "1:75"), "of a minute 60 seconds"),
    ):
        code, said = _run("rewind", *arguments)
        assert (code, sentence in said) == (2, True), said


def test_a_file_without_its_index_is_rewound_as_far_as_it_goes_and_that_is_said(tmp_path: Path) -> None:
    short = tmp_path / "short.mcap"
    data = RECORDING.read_bytes()
    short.write_bytes(data[: len(data) // 2])
    done = CliRunner().invoke(command_line, ["rewind", str(short)])
    assert done.exit_code == 0, done.output
    assert "is cut short" in done.stderr
    assert "the same to the bit" in done.stdout
