"""`cans recording cut|merge|redact|diff|export`: files from files."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bus.errors import ConfigurationError
from bus.messages import ActivationRequest, InferenceReply, Rejection
from bus.recording.entries import Entry, Gap, Message
from bus.topics import FEEDBACK, INFER, REPLY, STATE, Topics
from bus.wire import encode
from cans.__main__ import main as command_line
from cans.recording.changing import cut, merge, redact
from cans.recording.opening import opened
from tests.support.recordings import BEGAN_NS, file_of, message
from tests.support.samples import SAMPLES

TOPICS = Topics()
BY_TOPIC = dict(reversed(SAMPLES))
REQUEST, REPLIED = BY_TOPIC[INFER], next(each for _, each in SAMPLES if isinstance(each, InferenceReply))
STATE_TOPIC = TOPICS.of(STATE, role="device", id="cam-1")
SAID = TOPICS.of(FEEDBACK, type="pi4", device="cam-1")


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["recording", *map(str, arguments)])
    return done.exit_code, done.output


def _entries(path: Path) -> list[Entry]:
    with opened(path) as recording:
        return list(recording)


def _payloads(path: Path) -> list[bytes | str]:
    return [each.payload if isinstance(each, Message) else each.kind for each in _entries(path)]


def _site(path: Path) -> Path:
    return file_of(
        path,
        (
            message(0, 0.0, STATE_TOPIC, bytes(encode(STATE, BY_TOPIC[STATE])), qos=1, retained=True),
            message(1, 1.0, SAID, bytes(encode(FEEDBACK, BY_TOPIC[FEEDBACK]))),
            Gap(2, BEGAN_NS, BEGAN_NS + 1_500_000_000, "too_slow", 3),
            message(3, 2.0, "cans/v1/note", b"the porch"),
            message(4, 61.0, SAID, b"broken"),
        ),
    )


def test_a_part_stands_alone(tmp_path: Path) -> None:
    site, out = _site(tmp_path / "site.mcap"), tmp_path / "part.mcap"
    code, said = _run("cut", site, out, "--from", "1.2", "--to", "1:00")
    assert (code, said) == (0, f"{out}: 3 entries\n")
    assert _payloads(out) == [bytes(encode(STATE, BY_TOPIC[STATE])), "too_slow", b"the porch"]
    assert [entry.number for entry in _entries(out)] == [0, 1, 2]
    few = tmp_path / "few.mcap"
    assert _run("cut", site, few, "--topics", "feedback/#")[0] == 0
    assert len(_entries(few)) == 3  # what may be missing is said all the same
    for arguments, sentence in (
        (("--topics", "nothing/#"), "no message of"),
        (("--from", "99:00"), "ends after 61.0 s"),
        (("--from", "3", "--to", "2"), "--to 2 is not behind --from 3"),
        (("--topics", "a/#/b"), "#"),
        ((), "is there already"),
    ):
        code, said = _run("cut", site, tmp_path / "none.mcap" if arguments else out, *arguments)
        assert (code, sentence in said) == (2, True), said


def test_what_cannot_be_finished_is_not_left_half(tmp_path: Path) -> None:
    site = _site(tmp_path / "site.mcap")
    for out in (tmp_path / "missing" / "x.mcap", tmp_path):
        with pytest.raises(ConfigurationError, match=r"cannot write|is there already"):
            cut(site, out, from_s=0.0, to_s=math.inf, filters=())

    class Odd:
        payload = topic = None
        number = 0
        steady_ns = wall_ns = 1

    from cans.recording import changing

    with pytest.raises(AttributeError):
        changing._write([Odd()], {}, tmp_path / "half.mcap")  # type: ignore[list-item] # on purpose
    assert not (tmp_path / "half.mcap").exists()


def test_several_become_one_in_the_order_of_arrival(tmp_path: Path) -> None:
    one = file_of(tmp_path / "one.mcap", [message(0, 0.0, SAID, b"a"), message(1, 2.0, SAID, b"c")])
    two = file_of(tmp_path / "two.mcap", [message(0, 1.0, SAID, b"b"), message(1, 3.0, SAID, b"d")])
    out = tmp_path / "both.mcap"
    assert _run("merge", one, two, "-o", out) == (0, f"{out}: 4 entries\n")
    assert _payloads(out) == [b"a", b"b", b"c", b"d"]
    assert [entry.number for entry in _entries(out)] == [0, 1, 2, 3]
    other = file_of(tmp_path / "other.mcap", [message(0, 1.0, SAID)], prefix="elsewhere")
    with pytest.raises(ConfigurationError, match="a file is named twice"):
        merge([one, one], tmp_path / "x.mcap")
    with pytest.raises(ConfigurationError, match="different sites: cans/v1, elsewhere"):
        merge([one, other], tmp_path / "x.mcap")


def test_what_is_given_away_names_nobody_and_says_what_is_left(tmp_path: Path) -> None:
    site, out = _site(tmp_path / "site.mcap"), tmp_path / "public.mcap"
    code, said = _run("redact", site, out)
    assert code == 0
    assert "left out: 1 messages on a topic that is not in the table" in said
    assert "left out: 1 messages that cannot be read" in said
    assert "left in: device: device-1" in said
    assert b"cam-1" not in b"".join(each.payload for each in _entries(out) if isinstance(each, Message))
    with opened(out) as recording:
        assert recording.about["redacted"]
    public = tmp_path / "again.mcap"
    code, said = _run("diff", out, out)
    assert (code, "is redacted, so it holds no answers" in said) == (2, True)
    assert not public.exists()
    assert redact(out, tmp_path / "again.mcap").left_out == {}


def _answered(path: Path, **changed: Any) -> Path:
    """Five requests, of which four are answered, one of them with a rejection, the first twice."""
    assert isinstance(REQUEST, ActivationRequest)
    infer, reply = TOPICS.of(INFER, edge="edge-1", device="cam-1"), TOPICS.of(REPLY, device="cam-1")
    entries: list[Entry] = [message(0, 0.0, reply, bytes(encode(REPLY, REPLIED)))]  # of before
    for number in range(1, 6):
        asked = msgspec.structs.replace(REQUEST, id=f"1-{number}", payload=b"")
        entries.append(message(len(entries), number, infer, bytes(encode(INFER, asked))))
        if number == 5:
            continue
        answer: InferenceReply | Rejection = msgspec.structs.replace(REPLIED, id=f"1-{number}")
        if number == 4:
            answer = Rejection(id="1-4", edge="edge-1", reason="overloaded")
        if number in changed.get("other", ()):
            answer = msgspec.structs.replace(answer, top=999)
        if number in changed.get("rejected", ()):
            answer = Rejection(id=f"1-{number}", edge="edge-1", reason="expired")
        if number in changed.get("unanswered", ()):
            continue
        at_s = number + 0.01 * changed.get("slower", 1.0)
        for _ in range(1 + (number == 1)):
            entries.append(message(len(entries), at_s, reply, bytes(encode(REPLY, answer))))
    entries.append(message(len(entries), 9.0, reply, b"broken"))
    return file_of(path, entries)


def test_the_same_answers_are_the_same_however_soon(tmp_path: Path) -> None:
    one, two = _answered(tmp_path / "1.mcap"), _answered(tmp_path / "2.mcap", slower=3.0)
    code, said = _run("diff", one, two, "--json")
    found = json.loads(said)
    assert code == 0
    assert (found["same"], found["compared"], found["exact"], found["other"]) == (True, 3, 3, [])
    assert found["waited_ms"] == pytest.approx([10.0, 30.0])
    code, said = _run("diff", one, two)
    assert "3 requests are answered in both: 0 by another class, 3 the same to the bit" in said
    assert "3.00" in said


def test_another_answer_none_and_a_refusal_are_told_apart(tmp_path: Path) -> None:
    one = _answered(tmp_path / "1.mcap")
    for changed, sentence in (
        ({"other": (2,)}, "another class: cam-1, request 1-2"),
        ({"rejected": (3,)}, "rejected in the second: expired 1"),
        ({"unanswered": (1,)}, "1 requests are answered in the first alone"),
    ):
        two = _answered(tmp_path / f"{next(iter(changed))}.mcap", **changed)
        code, said = _run("diff", one, two)
        assert (code, sentence in said) == (1, True), said
    nothing = file_of(tmp_path / "nothing.mcap", [message(0, 0.0, SAID)])
    code, said = _run("diff", one, nothing)
    assert (code, "no request is answered in both" in said) == (1, True)


def test_a_table_for_columns(tmp_path: Path) -> None:
    site, out = _site(tmp_path / "site.mcap"), tmp_path / "site.parquet"
    assert _run("export", site, "--format", "parquet", "-o", out)[0] == 0
    table = pq.read_table(out)
    assert table.num_rows == 5
    assert table["topic"].to_pylist()[:2] == [STATE_TOPIC, SAID]
    assert table["gap"].to_pylist()[2] == "too_slow"
    assert table["at"].to_pylist()[0].timestamp() == BEGAN_NS / 1e9
    assert json.loads(table["data"].to_pylist()[1])["kind"] == "feedback"
    assert _run("export", site, "--format", "parquet")[0] == 2
    assert _run("export", site, "--format", "parquet", "-o", tmp_path / "missing" / "x")[0] == 2
    assert _run("export", site, "--format", "csv", "-o", out)[0] == 2
