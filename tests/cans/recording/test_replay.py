"""`cans replay` on a real broker: as it was, as far apart as it was, and nothing left behind."""

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint, Properties
from bus.errors import ConfigurationError
from bus.mqtt import open_connection
from bus.recording.entries import Entry, Gap
from bus.recording.packing import Packer
from bus.topics import FEEDBACK, INFER, STATE, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from cans.recording.replay_view import in_words, replay_and_tell
from cans.recording.replayer import Replayed, Replayer, ReplaySettings
from tests.support.broker import CutProxy, mosquitto
from tests.support.recordings import BEGAN_NS, file_of, message
from tests.support.samples import SAMPLES

LIVE, AGAIN = Topics(), Topics("replay")
BY_TOPIC = dict(reversed(SAMPLES))
STATE_TOPIC = LIVE.of(STATE, role="device", id="cam-1")
LAST = "replay/x/99"  # of those that are played over a connection that is lost
INFER_TOPIC = LIVE.of(INFER, edge="edge-1", device="cam-1")
Between = Callable[[Replayer], Coroutine[Any, Any, None]]


SITE: tuple[Entry, ...] = (
    message(0, 0.0, STATE_TOPIC, bytes(encode(STATE, BY_TOPIC[STATE])), qos=1, retained=True),
    message(
        1, 0.1, INFER_TOPIC, bytes(encode(INFER, BY_TOPIC[INFER])),
        properties=Properties(response_topic="cans/v1/reply/cam-1", correlation_data=b"7"),
    ),
    Gap(2, BEGAN_NS, BEGAN_NS + 150_000_000, "too_slow", 3),
    message(3, 0.2, LIVE.of(FEEDBACK, type="pi4", device="cam-1"), b'{"seq":1}'),
    message(4, 0.3, STATE_TOPIC, b'{"state":"lost"}', qos=1),
    message(5, 0.4, "elsewhere/x", b"\xff"),
    message(6, 0.45, "$SYS/broker/load", b"1"),
    message(7, 0.5, LIVE.of(FEEDBACK, type="pi4", device="cam-1"), b'{"seq":2}'),
)  # fmt: skip


def _file(path: Path, entries: Sequence[Entry] = SITE) -> Path:
    return file_of(path, entries)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it is not told when
            await asyncio.sleep(0.01)


class _Seen:
    """What a subscriber to everything has got, and when."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.at_s: list[float] = []

    async def listen(self, connection: Connection) -> None:
        async for event in connection.events():
            if isinstance(event, Delivery):
                self.deliveries.append(event)
                self.at_s.append(asyncio.get_running_loop().time())
                event.ack()

    @property
    def topics(self) -> list[str]:
        return [each.topic for each in self.deliveries if each.payload]


async def _go_on() -> None:
    """Nobody has to be waited for."""


def _played(
    file: Path, between: Between | None = None, *, proxied: bool = False, asked: Any = _go_on, **more: Any
) -> tuple[_Seen, Replayed, list[Delivery]]:
    """Play; return what a subscriber saw meanwhile, what was played, and what was retained afterwards."""

    async def main() -> tuple[_Seen, Replayed, list[Delivery]]:
        seen, after = _Seen(), _Seen()
        everything = (("#", 1),)
        async with (
            mosquitto() as broker,
            CutProxy(broker.address) as proxy,
            open_connection(broker.address, Endpoint("seer", subscriptions=everything)) as seer,
        ):
            listening = asyncio.create_task(seen.listen(seer))
            address = BrokerAddress(port=proxy.port) if proxied else broker.address
            settings = ReplaySettings(broker=address, file=file, onto="replay", **more)
            replayer = Replayer(settings, asked)
            playing = asyncio.create_task(replayer.run())
            if between is not None:
                await between(replayer)
                if proxied:
                    proxy.cut()
            await asyncio.wait({playing}, timeout=20)
            if not playing.done():
                playing.cancel()
                await asyncio.wait({playing})
            if not playing.cancelled():
                playing.result()
            # QoS 0 that a cut connection had taken is counted, and gone: the last one tells the end.
            await _until(
                lambda: LAST in seen.topics if proxied else len(seen.topics) >= replayer.replayed.messages
            )
            async with open_connection(broker.address, Endpoint("late", subscriptions=everything)) as late:
                coming = asyncio.create_task(after.listen(late))
                await asyncio.sleep(0.2)
                coming.cancel()
            listening.cancel()
            return seen, replayer.replayed, [each for each in after.deliveries if each.retained]

    return asyncio.run(main())


def test_every_message_comes_again_on_a_topic_of_its_own_as_far_apart_as_it_was(tmp_path: Path) -> None:
    seen, replayed, left = _played(_file(tmp_path / "site.mcap"))
    assert seen.topics == [
        AGAIN.of(STATE, role="device", id="cam-1"),
        AGAIN.of(INFER, edge="edge-1", device="cam-1"),
        AGAIN.of(FEEDBACK, type="pi4", device="cam-1"),
        AGAIN.of(STATE, role="device", id="cam-1"),
        "replay/elsewhere/x",
        AGAIN.of(FEEDBACK, type="pi4", device="cam-1"),
    ]
    infer = seen.deliveries[1]
    assert bytes(infer.payload) == bytes(encode(INFER, BY_TOPIC[INFER]))
    assert infer.properties is not None
    assert infer.properties.response_topic == "replay/reply/cam-1"
    assert infer.properties.correlation_data == b"7"
    assert [each.qos for each in seen.deliveries[:3]] == [1, 0, 0]
    assert (replayed.messages, replayed.left_out, replayed.lost, replayed.rounds) == (6, 1, 0, 1)
    assert seen.at_s[5] - seen.at_s[0] > 0.45  # never before its time; how late is the benchmark's to say
    assert left == []


def test_what_is_retained_may_be_left_behind(tmp_path: Path) -> None:
    _, _, left = _played(_file(tmp_path / "site.mcap"), keep=True, speed=10.0)
    assert [(each.topic, bytes(each.payload)) for each in left] == [
        (AGAIN.of(STATE, role="device", id="cam-1"), b'{"state":"lost"}')
    ]


def test_a_part_begins_with_what_was_retained_then(tmp_path: Path) -> None:
    seen, replayed, _ = _played(_file(tmp_path / "site.mcap"), from_s=0.35, to_s=0.42)
    assert [bytes(each.payload) for each in seen.deliveries if each.payload] == [
        b'{"state":"lost"}', b"\xff",
    ]  # fmt: skip
    assert replayed.messages == 2
    cleared = (*SITE[:1], message(1, 0.1, STATE_TOPIC, b"", qos=1), SITE[5])
    seen, _, _ = _played(_file(tmp_path / "cleared.mcap", cleared), from_s=0.35)
    assert seen.topics == ["replay/elsewhere/x"]


def test_only_what_is_asked_for_by_whole_topics_or_from_behind_the_prefix_on(tmp_path: Path) -> None:
    file = _file(tmp_path / "site.mcap")
    for filters, count in ((("infer/#",), 1), (("cans/v1/feedback/+/+", "elsewhere/#"), 3), (("x",), 0)):
        seen, replayed, _ = _played(file, filters=filters, speed=float("inf"))
        assert replayed.messages == count == len(seen.topics)
        assert not replayed.lateness  # nothing was due


def test_it_goes_round_until_it_is_told_to_stop_and_then_tidies_up(tmp_path: Path) -> None:
    async def three_rounds(replayer: Replayer) -> None:
        await _until(lambda: replayer.replayed.rounds >= 3)

    async def stopped(replayer: Replayer) -> None:
        await three_rounds(replayer)
        for task in asyncio.all_tasks():
            if task.get_coro().__qualname__ == "Replayer.run":  # type: ignore[union-attr]
                task.cancel()

    _, replayed, left = _played(_file(tmp_path / "site.mcap"), stopped, loop=True, speed=50.0)
    assert replayed.rounds >= 3
    assert replayed.messages >= 15  # but for those under way when it was told
    assert left == []


def test_a_pause_moves_all_that_follows(tmp_path: Path) -> None:
    asked: list[float] = []

    async def ask() -> None:
        asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.5)

    seen, replayed, _ = _played(_file(tmp_path / "site.mcap"), asked=ask, pause_at_s=0.25)
    assert len(asked) == 1
    assert seen.at_s[2] <= asked[0] <= seen.at_s[3]
    assert seen.at_s[3] - seen.at_s[2] > 0.5
    assert replayed.late_ms(1.0) < 400.0  # a pause makes nobody late
    assert _played(_file(tmp_path / "b.mcap"), asked=ask, pause_at_s=0.05, from_s=0.15)[1].messages == 5
    assert len(asked) == 1  # it lies before the part


def test_a_lost_connection_costs_what_was_under_way_alone(tmp_path: Path) -> None:
    many = [message(number, number / 100.0, f"cans/v1/x/{number}", qos=number % 2) for number in range(100)]

    async def some(replayer: Replayer) -> None:
        await _until(lambda: replayer.replayed.messages >= 20)

    seen, replayed, _ = _played(_file(tmp_path / "site.mcap", many), some, proxied=True)
    assert replayed.messages + replayed.lost == 100
    assert replayed.lost <= 64  # as many as wait for the broker at most
    acknowledged = {topic for topic in seen.topics if int(topic.rpartition("/")[2]) % 2}
    assert len(acknowledged) >= 50 - replayed.lost
    assert len(seen.topics) >= 20  # and those before the cut


def test_what_a_file_that_was_cut_short_still_holds_is_played_and_said(tmp_path: Path) -> None:
    file = _file(tmp_path / "site.mcap")
    more = tmp_path / "short.mcap"
    packer = Packer({"prefix": "cans/v1"}, "test")
    packer.add(SITE[0])
    first = packer.cut()
    packer.add(SITE[1])
    more.write_bytes(first + packer.cut()[:-10])
    _, replayed, _ = _played(more, speed=float("inf"))
    assert replayed.messages == 1
    assert any("cut short" in sentence for sentence in in_words(replayed))
    assert not any("cut short" in sentence for sentence in in_words(_played(file, speed=50.0)[1]))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"onto": "a//b"}, "prefix"),
        ({"filters": ("a/#/b",)}, "#"),
        ({"from_s": 3.0, "to_s": 2.0}, "--to 2 is not behind --from 3"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(tmp_path: Path, more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ReplaySettings(**{"broker": BrokerAddress(), "file": tmp_path / "x", "onto": "replay", **more})


def _run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["replay", *arguments])
    return done.exit_code, done.output


def test_a_live_site_is_never_fed_by_accident(tmp_path: Path) -> None:
    file = str(_file(tmp_path / "site.mcap"))
    for arguments, sentence in (
        (("--prefix", "cans/v1"), "--onto-live plays there"),
        (("--onto-live",), "give --yes"),
        (("--onto-live", "--prefix", "x"), "leave --prefix out"),
        (("--pause-at", "1"), "it needs a terminal"),
        (("--from", "abc"), "give seconds, M:SS or H:MM:SS"),
    ):
        code, said = _run(file, *arguments)
        assert (code, sentence in said) == (2, True), said
    code, said = _run(str(tmp_path / "absent.mcap"))
    assert (code, "cannot read" in said) == (2, True)
    empty = _file(tmp_path / "empty.mcap", ())
    code, said = _run(str(empty), "--broker", "mqtt://127.0.0.1:1")
    assert (code, "holds no message" in said) == (2, True)


def test_the_command_plays_asks_and_says_what_became_of_it(tmp_path: Path) -> None:
    file = _file(tmp_path / "site.mcap")

    async def main() -> tuple[int | None, str, list[str]]:
        seen = _Seen()
        async with (
            mosquitto() as broker,
            open_connection(broker.address, Endpoint("seer", subscriptions=(("#", 1),))) as seer,
        ):
            listening = asyncio.create_task(seen.listen(seer))
            ours, theirs = pty.openpty()
            command = [sys.executable, "-m", "cans", "replay", str(file), "--broker", broker.address.url]
            process = await asyncio.create_subprocess_exec(
                *command, "--onto-live", "--pause-at", "0:00.25", stdin=theirs, stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            os.close(theirs)
            await asyncio.sleep(0.5)
            os.write(ours, b"y\n")
            await _until(lambda: len(seen.deliveries) == 3)
            await asyncio.sleep(0.5)
            assert len(seen.deliveries) == 3  # it waits
            os.write(ours, b"\n")
            _, said = await asyncio.wait_for(process.communicate(), 20)
            listening.cancel()
            left = _Seen()
            async with open_connection(broker.address, Endpoint("late", subscriptions=(("#", 1),))) as late:
                coming = asyncio.create_task(left.listen(late))
                await _until(lambda: bool(left.deliveries))
                coming.cancel()
            assert left.topics == [STATE_TOPIC]  # a live site's own: the replay must not remove it
            return process.returncode, said.decode(), seen.topics

    code, said, topics = asyncio.run(main())
    assert code == 0, said
    assert topics[0] == STATE_TOPIC
    assert "paused at 0.25 s" in said
    assert "6 messages" in said
    assert "late by p50" in said


def test_progress_is_shown_where_there_is_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> Replayed:
        async with mosquitto() as broker:
            settings = ReplaySettings(broker=broker.address, file=_file(tmp_path / "s.mcap"), onto="replay")
            return await replay_and_tell(settings, sys.stderr, quiet=True)

    assert asyncio.run(main()).messages == 6
    assert capsys.readouterr().err == ""
