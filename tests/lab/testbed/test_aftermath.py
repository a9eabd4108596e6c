"""What came of an event: frames lost, answered alone, and how many until latency was back."""

from pathlib import Path

import msgspec
import pytest

from bus.errors import ConfigurationError
from lab.testbed.report.aftermath import Aftermath, aftermaths_of, back_words
from lab.testbed.report.in_short import in_short
from lab.testbed.report.markdown import write_page
from tests.support.testbed_runs import Ms, Run, run

_EVENT = "{what='link_gone',round=1,at_s=5.0,for_s=3.0}"
_LATER = "{what='edge_killed',round=3,at_s=5.0,for_s=3.0}"
_BROKER = "{what='broker_restarted',round=0,at_s=0.0,for_s=3.0}"


def broken(folder: Path, ms: Ms, *, events: str = _EVENT, seeds: int = 3) -> Run:
    """Return a run of rounds of 20 frames, one a second: round 1 begins with frame 20, its event at 25."""
    overrides = (
        "world.frames=80", "world.fps=1.0", "testbed.block_frames=20", "testbed.sweep=[]",
        f"testbed.events=[{events}]",
    )  # fmt: skip
    return run(folder, seeds=seeds, only=("default", "ans"), ms=ms, overrides=overrides)


def rows_of(made: Run, event: int = 0) -> dict[str, Aftermath]:
    found = aftermaths_of(made.plan, made.report, made.repetitions)
    return {row.policy.name: row for row in found[event].rows}


def hit(policy: str, device: str, frame: int, seed: int) -> float | None:
    """Nothing happens to ans; default is slow for six frames, and loses one of them."""
    del device, seed
    if policy == "default" and 25 <= frame < 31:
        return None if frame == 26 else 900.0
    return 50.0


def test_frames_are_counted_from_the_event_to_the_end_of_its_block(tmp_path: Path) -> None:
    made = broken(tmp_path, hit)
    rows = rows_of(made)
    ours = rows["default"]
    assert (ours.frames, ours.lost, ours.worst_ms, ours.before_ms) == (3 * 2 * 15, 3 * 2, 900.0, 50.0)
    assert ours.back_frames == {"mean": 6.0, "ci95": [6.0, 6.0]}
    assert (ours.never, ours.judged) == (0, 6)
    other = rows["ans"]
    assert (other.lost, other.worst_ms) == (0, 50.0)
    assert other.back_frames == {"mean": 0.0, "ci95": [0.0, 0.0]}
    (said,) = (
        each
        for each in in_short(made.plan, made.report, made.repetitions)
        if each.verdict == "6 frames were lost:"
    )
    assert "default 6.0 (6.0 to 6.0), 6 frames lost; ans 0.0" in said.text


def test_a_frame_under_way_meets_the_event_and_the_next_is_taken_when_it_is_answered(tmp_path: Path) -> None:
    # The frame of second 3 takes 2.5 s: it is under way at second 5, and the one after begins at 5.5.
    made = broken(tmp_path, lambda _, __, frame, ___: 2500.0 if frame == 23 else 50.0)
    assert rows_of(made)["default"].frames == 3 * 2 * 17


def test_one_good_frame_between_bad_ones_is_no_return(tmp_path: Path) -> None:
    def flickers(policy: str, device: str, frame: int, seed: int) -> float:
        del policy, device, seed
        return 900.0 if 25 <= frame < 35 and frame != 28 else 50.0

    found = rows_of(broken(tmp_path, flickers))["default"].back_frames
    assert found is not None
    assert found["mean"] == 10.0


def test_later_blocks_count_until_something_else_breaks(tmp_path: Path) -> None:
    def until(frame_back: int) -> Ms:
        return lambda _, __, frame, ___: 900.0 if 25 <= frame < frame_back else 50.0

    found = rows_of(broken(tmp_path, until(45), events=f"{_EVENT},{_LATER}"))["default"]
    assert found.back_frames is not None
    assert found.back_frames["mean"] == 20.0
    gone = rows_of(broken(tmp_path, until(60), events=f"{_EVENT},{_LATER}"))["default"]
    assert (gone.back_frames, gone.never, back_words(gone)) == (None, 6, "never")


def test_some_are_back_and_some_are_not(tmp_path: Path) -> None:
    def one_device(policy: str, device: str, frame: int, seed: int) -> float:
        del policy, seed
        return 900.0 if frame >= 25 and device == "phone-1" else 50.0

    assert back_words(rows_of(broken(tmp_path, one_device))["ans"]) == "0.0 (0.0 to 0.0), never on 3 of 6"


def test_without_frames_before_nobody_can_tell(tmp_path: Path) -> None:
    made = broken(tmp_path, hit, events=_BROKER)
    row = rows_of(made)["default"]
    assert (row.frames, row.before_ms, back_words(row)) == (3 * 2 * 20, None, "not known")
    write_page(made.plan, made.report, made.repetitions, tmp_path / "outage.md")
    text = (tmp_path / "outage.md").read_text()
    assert "the broker is stopped, and started again 3 s later (round 1, 0 s into each block)" in text
    assert "No frame was lost" in text


def test_who_answers_alone_is_counted_and_an_answer_that_never_comes_has_no_worst(tmp_path: Path) -> None:
    made = broken(tmp_path, lambda _, __, frame, ___: None if 25 <= frame < 40 else 50.0, seeds=1)
    assert rows_of(made)["default"].worst_ms is None
    turns = [
        msgspec.structs.replace(
            turn,
            played=msgspec.structs.replace(
                turn.played, rows=tuple(msgspec.structs.replace(row, by="device") for row in turn.played.rows)
            ),
        )
        for turn in broken(tmp_path, hit, seeds=1).repetitions[0].turns
    ]
    repetition = msgspec.structs.replace(made.repetitions[0], turns=turns)
    found = aftermaths_of(made.plan, made.report, [repetition])[0].rows[0]
    assert (found.alone, found.frames) == (2 * 14, 2 * 15)


def test_without_a_repetition_of_it_back_has_no_interval(tmp_path: Path) -> None:
    assert back_words(rows_of(broken(tmp_path, hit, seeds=1))["default"]) == "6.0"


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ("{what='link_gone',round=4,at_s=0.0,for_s=1.0}", "there are 4 rounds, the first is 0"),
        ("{what='link_gone',round=1,at_s=15.0,for_s=5.0}", "is over after 20 s, and a block after 20 s"),
        ("{what='link_goes',round=1,at_s=1.0,for_s=5.0}", "link_goes"),
    ],
)
def test_an_event_that_cannot_be_is_one_sentence(tmp_path: Path, event: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        broken(tmp_path, hit, events=event)
