"""The reference recording: every version reads it, and a real edge worker answers its requests as then."""

import json
from pathlib import Path

import pytest

from bus.recording.entries import Message
from bus.topics import METRICS, TABLE, Topics
from bus.wire import decode
from cans.recording.contents import contents_of, verify
from cans.recording.diff import answers_of, difference
from cans.recording.opening import opened, prefix_of
from tests.reference.make import FRAMES, RECORDING, start_edge, start_recorder, stop_recorder
from tests.support.site import site

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
# Other processors sum in another order.
_ROUNDING = 1e-3


def test_it_is_whole_small_and_has_every_row_of_the_table() -> None:
    assert verify(RECORDING) == ""
    assert RECORDING.stat().st_size < 1_000_000
    assert {topic.name for topic in TABLE} <= set(contents_of(RECORDING).rows)


def test_every_message_of_then_is_read_now() -> None:
    topics = Topics(prefix_of(RECORDING))
    read = 0
    with opened(RECORDING) as recording:
        for entry in recording:
            assert isinstance(entry, Message)  # without a gap
            address = topics.parse(entry.topic)
            assert address is not None, entry.topic
            if address.topic == METRICS:
                assert json.loads(entry.payload)
            elif entry.payload:
                decode(address.topic, entry.payload)
            read += 1
    assert read > 100


def test_a_real_edge_worker_answers_its_requests_as_it_did(tmp_path: Path) -> None:
    again = tmp_path / "again.mcap"
    with site(tmp_path) as where:
        where.broker()
        start_edge(where, "replay")
        where.until(lambda: "connected" in where.log("edge"), "the edge worker serves")
        start_recorder(where, again, "replay")
        where.until(again.exists, "the recorder writes")
        # A device sends when it has its answer; a replay waits for none, so there is more time for each.
        paced = ("--topics", "infer/#", "--speed", "0.3")
        where.start("replay", "replay", str(RECORDING), "--broker", where.url, *paced)
        assert where.finished("replay") == 0, where.log("replay")
        assert stop_recorder(where) in {0, 130}
    then, now = answers_of(RECORDING), answers_of(again)
    found = difference(then, now)
    assert found.same, found
    assert found.compared == len(then.answered) >= 2 * 3 * FRAMES
    assert found.alone == 0
    assert found.off < _ROUNDING
