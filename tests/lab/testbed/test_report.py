"""What a testbed's report says is what its numbers say: losses as loudly as wins, and nothing invented."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bus.errors import ConfigurationError
from lab.results_index import table
from lab.simulator.compare import Results, compare_with
from lab.testbed.plan import Block
from lab.testbed.report import series
from lab.testbed.report.disturbance import disturbance_of
from lab.testbed.report.figures import COLOURS, draw
from lab.testbed.report.in_short import Sentence, in_short
from lab.testbed.report.markdown import write_page
from lab.testbed.report.prediction import prediction_of
from lab.testbed.report.ratios import ratio
from lab.testbed.report.tables import devices_of, differences, named, on_devices, spent
from tests.support.testbed_runs import MEANS, Run, run, steady


def sentences(made: Run) -> list[Sentence]:
    return in_short(made.plan, made.report, made.repetitions)


def said_of(made: Run, words: str) -> Sentence:
    (found,) = (each for each in sentences(made) if words in f"{each.verdict} {each.text}")
    return found


def slow_default(policy: str, device: str, frame: int, seed: int) -> float:
    return steady(policy, device, frame, seed) * (3.0 if policy == "default" else 1.0)


def test_a_ratio_is_of_means_over_the_repetitions_that_both_have() -> None:
    own = {"1": 10.0, "2": 30.0, "3": 50.0, "9": 1e9}
    found = ratio("a", own, "b", {"1": 20.0, "2": 40.0, "3": 60.0})
    assert found is not None
    assert (found.own_ms, found.other_ms, found.value, found.seeds) == (30.0, 40.0, 0.75, 3)
    assert found.ci95 is not None
    # Whatever is drawn lies between the least and the greatest ratio of one repetition.
    assert 0.5 <= found.ci95[0] < 0.75 < found.ci95[1] <= 50.0 / 60.0
    assert found.verdict == "faster"


def test_a_ratio_that_never_varies_is_its_own_interval() -> None:
    found = ratio("a", {"1": 2.0, "2": 4.0, "3": 8.0}, "b", {"1": 1.0, "2": 2.0, "3": 4.0})
    assert found is not None
    assert (found.value, found.ci95, found.verdict) == (2.0, (2.0, 2.0), "slower")


def test_a_ratio_around_one_shows_nothing() -> None:
    found = ratio("a", {"1": 9.0, "2": 11.0, "3": 9.0, "4": 11.0}, "b", dict.fromkeys("1234", 10.0))
    assert found is not None
    assert found.verdict == "level"


def test_too_few_repetitions_have_no_interval_and_strangers_no_ratio() -> None:
    found = ratio("a", {"1": 1.0, "2": 2.0}, "b", {"1": 2.0, "2": 2.0})
    assert found is not None
    assert (found.ci95, found.verdict) == (None, "unproven")
    assert ratio("a", {"1": 1.0}, "b", {"2": 1.0}) is None


def test_who_wins_is_said_to_win(tmp_path: Path) -> None:
    made = run(tmp_path)
    rival = said_of(made, "times the mean latency of ans")
    assert (rival.verdict, rival.good) == ("Faster.", True)
    assert re.search(
        r"takes 0\.\d{3} times.*interval of the ratio 0\.\d+ to 0\.\d+, 4 repetitions", rival.text
    )
    assert said_of(made, "It is the best of").good
    assert said_of(made, "The fastest.").good
    assert said_of(made, "On phone-1").good
    assert said_of(made, "All frames were answered").good
    assert said_of(made, "100.0 % of the answers").good
    assert not [each for each in sentences(made) if each.good is False]


def test_who_loses_is_said_to_lose_everywhere_it_does(tmp_path: Path) -> None:
    made = run(tmp_path, ms=slow_default)
    rival = said_of(made, "times the mean latency of ans")
    assert (rival.verdict, rival.good) == ("Slower.", False)
    assert said_of(made, "It is the best of").text.startswith("default takes 2.1")
    behind = said_of(made, "Not the fastest.")
    assert behind.good is False
    # The nearest to being beaten last; estimates are no rivals.
    assert re.findall(r"[\w/ -]+(?= \(\d)", behind.text.partition(": ")[2]) == [
        "two_arm", " device_only", " always 13/int8-zstd", " ans", " edge_only_jpeg",
    ]  # fmt: skip
    assert said_of(made, "On board-1").verdict == "Slower."
    assert said_of(made, "times those of ans").good is False
    assert said_of(made, "Slower at first and later").good is False


def test_a_win_of_first_frames_alone_is_called_that(tmp_path: Path) -> None:
    def later(policy: str, device: str, frame: int, seed: int) -> float:
        return steady(policy, device, frame, seed) * (3.0 if policy == "default" and frame >= 5 else 0.1)

    found = said_of(run(tmp_path, ms=later), "afterwards")
    assert (found.verdict, found.good) == ("Faster at first, slower later:", False)


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_repetitions_are_called_unproven_and_no_interval_is_invented(tmp_path: Path, seeds: int) -> None:
    made = run(tmp_path, seeds=seeds)
    first = sentences(made)[0]
    assert (first.verdict, first.good) == ("Unproven.", False)
    assert "interval of the ratio" not in " ".join(each.text for each in sentences(made))
    assert said_of(made, "times the mean latency of ans").verdict == "Faster here."
    found = differences(made.plan, made.report, "ans")
    assert found.comparisons == []
    assert "3 are the least" in found.why


def test_lost_late_and_wrong_answers_are_said_with_their_shares(tmp_path: Path) -> None:
    def ms(policy: str, device: str, frame: int, seed: int) -> float | None:
        if policy == "default" and frame == 1:
            return None
        return 5000.0 if policy == "ans" and frame == 2 else steady(policy, device, frame, seed)

    made = run(tmp_path, ms=ms, wrong=(3,))
    assert "default 90.00 % answered" in said_of(made, "Frames were lost.").text
    assert "ans 10.00 %" in said_of(made, "Deadlines were missed:").text
    right = said_of(made, "of the answers of default")
    assert (right.verdict, right.good) == (f"{100 * 8 / 9:.1f} %", False)


def test_the_least_agreement_is_somebody_elses_where_it_is(tmp_path: Path) -> None:
    found = said_of(run(tmp_path, wrong=(3,)), "of the answers of default")
    assert found.text.endswith("the uncut network's.")
    made = run(tmp_path)
    made.report["policies"]["ans"]["agreement"]["mean"] = 0.5
    assert "the least of all is 50.0 %, of ans" in said_of(made, "of the answers of default").text


def test_what_was_not_played_is_not_judged(tmp_path: Path) -> None:
    made = run(tmp_path, only=("ans", "edge_only_jpeg"), overrides=("testbed.sweep=[]",))
    words = [f"{each.verdict} {each.text}" for each in sentences(made)]
    assert words[0] == " default was not played, so nothing is said of it."
    assert [each for each in words if "Agreement is not known" in each]
    assert differences(made.plan, made.report, "default").why == "default was not played"


def test_default_alone_is_compared_with_nobody(tmp_path: Path) -> None:
    made = run(tmp_path, only=("default",), overrides=("testbed.sweep=[]",))
    words = " ".join(each.text for each in sentences(made))
    assert "ans was not played" in words
    assert "None of device_only" in words
    assert "fastest" not in " ".join(each.verdict for each in sentences(made))
    assert differences(made.plan, made.report, "default").why == "nothing else than default was played"


def test_the_best_of_one_simple_policy_is_no_best(tmp_path: Path) -> None:
    made = run(tmp_path, only=("default", "two_arm"), overrides=("testbed.sweep=[]",))
    assert "hindsight" not in " ".join(each.text for each in sentences(made))
    assert said_of(made, "Not played: device_only").verdict == "Faster."


def test_agreement_of_others_is_said_without_default_being_judged(tmp_path: Path) -> None:
    made = run(tmp_path, only=("ans", "device_only"), overrides=("testbed.sweep=[]",))
    assert not [each for each in sentences(made) if "of the answers of" in each.text]


def test_differences_are_those_of_compare_corrected_for_what_is_shown(tmp_path: Path) -> None:
    made = run(tmp_path, seeds=6)
    report = made.report
    others = ["default", "device_only", "edge_only_jpeg", "two_arm", "best_fixed", "oracle"]
    results = Results("here", report["by_seed"], report["provenance"]["worlds"], 5)
    expected = {
        one.policy: one for one in compare_with(results, "ans", others).comparisons if one.figure == "mean_ms"
    }
    found = differences(made.plan, report, "ans")
    assert {one.policy: one for one in found.comparisons} == expected
    assert found.why == ""


def test_tables_label_who_was_played_who_estimated_and_who_swept(tmp_path: Path) -> None:
    made = run(tmp_path)
    kinds = {each.label: each.kind for each in named(made.plan, made.report)}
    assert kinds["default"] == "played"
    assert kinds["oracle"] == kinds["best_fixed"] == "estimated"
    assert kinds["always 13/int8-zstd"] == "swept"
    assert list(kinds)[-1] == "always 13/int8-zstd"
    rows = on_devices(made.plan, made.report, made.repetitions)
    assert {row.policy.kind for row in rows} == {"played", "swept"}
    for row in rows:
        assert row.means_ms == pytest.approx([MEANS[row.policy.name]] * 2, rel=0.02)
    for each in spent(made.plan, made.report, made.repetitions):
        assert each.stages_ms["head"] == pytest.approx(0.6 * MEANS[each.policy.name], rel=0.02)
        assert each.stages_ms["vain"] == 0.0


def test_a_device_that_answered_nothing_has_no_mean(tmp_path: Path) -> None:
    def ms(policy: str, device: str, frame: int, seed: int) -> float | None:
        return None if device == "board-1" and policy == "ans" else steady(policy, device, frame, seed)

    made = run(tmp_path, ms=ms)
    (row,) = (r for r in on_devices(made.plan, made.report, made.repetitions) if r.policy.name == "ans")
    assert row.means_ms[1] is None


def test_links_are_told_in_words(tmp_path: Path) -> None:
    links = [
        '{kind="constant",mbit_s=3.0}', '{kind="two_state",mbit_s=9.0,bad_mbit_s=1.0}', '{kind="lte"}',
        '{kind="trace",file="bus.csv"}',
    ]  # fmt: skip
    words = ["a link of 3 Mbit/s", "9 or 1 Mbit/s", "generated LTE", "recorded link bus.csv"]
    for link, word in zip(links, words, strict=True):
        kind = f'{{name="phone",devices=1,join_at_s=1.25,link={link}}}'
        other = '{name="first",link={kind="constant",mbit_s=1.0}}'
        experiment = (
            run(tmp_path, overrides=(f"world.types=[{other},{kind}]",)).plan if word != words[3] else None
        )
        if experiment is None:
            (tmp_path / "bus.csv").write_text("second,mbit_per_s\n0,1\n1,2\n")
            experiment = run(
                tmp_path, overrides=(f"world.types=[{other},{kind}]", f'world.traces="{tmp_path}"')
            ).plan
        assert word in devices_of(experiment)[1][1]
        assert "joins in round 2" in devices_of(experiment)[1][1]


def test_predictions_are_held_against_what_was_played(tmp_path: Path) -> None:
    predicted = {"default": 60.0, "ans": 90.0, "device_only": 80.0, "oracle": 1.0, "somebody": 3.0}
    made = run(tmp_path, predicted=predicted)
    found = prediction_of(made.report, ["oracle"])
    assert [row.policy for row in found.rows] == ["default", "ans", "device_only", "oracle"]
    measured = {
        name: made.report["policies"][name]["mean_ms"]["mean"] for name in predicted if name != "somebody"
    }
    errors = [abs(predicted[name] / measured[name] - 1.0) for name in ("default", "ans", "device_only")]
    assert found.mean_error == pytest.approx(np.mean(errors))
    assert found.rank == pytest.approx(1.0)


@pytest.mark.parametrize(
    "predicted", [{"default": 60.0, "ans": 90.0}, dict.fromkeys(("default", "ans", "two_arm"), 5.0)]
)
def test_no_order_is_claimed_where_there_is_none(tmp_path: Path, predicted: dict[str, float]) -> None:
    assert prediction_of(run(tmp_path, predicted=predicted).report, []).rank is None


def test_without_a_prediction_nothing_is_said_of_one(tmp_path: Path) -> None:
    found = prediction_of(run(tmp_path).report, [])
    assert (found.rows, found.mean_error, found.rank) == ([], None, None)


def test_blocks_beside_a_slow_machine_are_counted_once_whatever_devices_there_are(tmp_path: Path) -> None:
    def slower(block: Block, attempt: int) -> float:
        if block.policy == "ans":
            return 0.5  # however often
        return 0.3 if block.policy == "default" and attempt == 0 else 0.02

    made = run(tmp_path, seeds=2, slower=slower)
    found = disturbance_of(made.plan, made.repetitions)
    rounds = 2 * made.plan.rounds
    assert found.again == rounds * (2 + 1)
    assert found.kept == rounds
    assert len(found.blocks) == rounds * (len(made.plan.policies) + 3)
    by_name = {each.policy: each for each in found.policies}
    assert (by_name["ans"].again, by_name["ans"].worst) == (2 * rounds, 0.5)
    assert (by_name["default"].blocks, by_name["default"].worst) == (rounds, 0.02)
    assert found.worst == 0.5


def test_curves_hold_every_frame_that_was_answered(tmp_path: Path) -> None:
    def ms(policy: str, device: str, frame: int, seed: int) -> float | None:
        return None if frame == 3 else steady(policy, device, frame, seed)

    made = run(tmp_path, ms=ms)
    frames = series.frames_of(made.repetitions[0], "ans", "phone-1")
    assert list(frames.number) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert list(frames.lost) == [3]
    total_ms, share = series.distribution(made.repetitions, "ans")
    assert share[-1] == pytest.approx(0.9)
    assert all(a <= b for a, b in pairwise(total_ms))
    number, mean_ms = series.by_frame(made.repetitions, "ans")
    assert list(number) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert mean_ms.mean() == pytest.approx(MEANS["ans"], rel=0.02)


def test_long_curves_are_thinned_to_means(tmp_path: Path) -> None:
    x = np.arange(4000.0)
    few, means = series.thinned(x, 2.0 * x)
    assert few.size == 400
    assert means == pytest.approx(2.0 * few)
    assert few.mean() == pytest.approx(x.mean())
    made = run(tmp_path, overrides=("world.frames=200", "seeds=2"))
    total_ms, share = series.distribution(made.repetitions, "ans")
    assert total_ms.size <= 400
    assert share[-1] == 1.0


def test_rates_are_where_frames_are_due_and_a_trace_repeats_itself(tmp_path: Path) -> None:
    made = run(tmp_path)  # blocks of 5 frames, 4 a second
    number, rate = series.rates(made.plan, [7.0, 8.0], 0)
    assert list(number) == list(range(10))
    assert list(rate) == [7, 7, 7, 7, 8, 8, 8, 8, 7, 7]
    slow = run(tmp_path, overrides=("world.types=[{name='a',fps=1.0,link={kind='constant',mbit_s=1.0}}]",))
    # Its frames come each second, but the next block begins when it is the site's time.
    assert list(series.rates(slow.plan, [0.0, 1, 2, 3, 4, 5], 0)[1]) == [0, 1, 2, 3, 4, 1, 2, 3, 4, 5]


def test_choices_are_shares_and_arms_stand_in_their_order(tmp_path: Path) -> None:
    made = run(tmp_path)
    found = series.choices(made.plan, made.repetitions, "default", "phone-1")
    assert found.frame == [float(frame) for frame in range(10)]
    assert set(found.arm) == {"13/int8-zstd"}
    assert found.share == [1.0] * 10
    assert series.arms_in_order(made.repetitions, ["end/none", "strange", "0/jpeg"]) == [
        "0/jpeg", "end/none", "strange",
    ]  # fmt: skip


def test_no_more_curves_than_can_be_told_apart(tmp_path: Path) -> None:
    made = run(tmp_path)
    shown = [each.name for each in series.drawn(made.plan, made.report)]
    assert shown == ["default", "ans", "device_only", "edge_only_jpeg", "two_arm"]
    assert len(shown) <= len(COLOURS)


def test_figures_take_the_colours_of_the_page_and_share_no_names(tmp_path: Path) -> None:
    made = run(tmp_path, predicted=MEANS, ms=lambda *which: None if which[2] == 3 else steady(*which))
    drawn = draw(made.plan, made.report, made.repetitions)
    written = [each.svg() for each in drawn]
    names = [name for svg in written for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(names) == len(set(names))
    for svg in written:
        assert not [colour for colour in COLOURS if colour in svg]
        assert "currentColor" in svg
        for target in re.findall(r'(?:url\(|xlink:href=")#([^)"]+)', svg):
            assert target in names
    assert "var(--c0)" in written[0]


def test_a_page_stands_beside_its_figures_and_the_index_finds_what_it_says(tmp_path: Path) -> None:
    made = run(tmp_path, predicted=MEANS | {"oracle": 1.0}, slower=lambda block, attempt: 0.2)
    page = tmp_path / "pages" / "headline.md"
    made.report["links"] = [{"rate_mbit": 4.0, "goodput_mbit": 4.4, "waits_ms": 12.0}]
    write_page(made.plan, made.report, made.repetitions, page)
    text = page.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 6
    assert {path.name for path in page.parent.iterdir()} == {page.name, *pictures}
    assert "    cans testbed experiment.toml\n" in text
    assert "| oracle (estimated) |" in text
    assert text.count("p, Holm") == 2
    assert "disturbed ones count all the same**" in text
    assert "rank correlation 1.00" in text
    assert "| 4 | 4.4 | **+10.00 %** | 12 |" in text
    (row,) = (line for line in table(page.parent).splitlines() if line.startswith("| [headline]"))
    assert "measured, not simulated" in row
    assert "**Faster.** default takes" in row


def test_a_page_of_one_repetition_invents_no_interval(tmp_path: Path) -> None:
    made = run(tmp_path, seeds=1, only=("default", "ans"), overrides=('testbed.product=""',))
    made.report["provenance"]["commit"] = ""
    page = tmp_path / "pages" / "one.md"
    write_page(made.plan, made.report, made.repetitions, page)
    text = page.read_text(encoding="utf-8")
    assert "not compared" in text
    assert " to " not in re.sub(r"[^|]*$", "", "\n".join(re.findall(r"^\| .*$", text, re.MULTILINE)))
    assert "Predicted" not in text
    assert "commit" not in text


def test_a_page_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = run(tmp_path, seeds=1, only=("default", "ans"))
    with pytest.raises(ConfigurationError, match="cannot write the page"):
        write_page(made.plan, made.report, made.repetitions, tmp_path / "file" / "page.md")


def test_real_devices_are_said_to_be_real_and_no_link_is_drawn_that_nobody_shaped(tmp_path: Path) -> None:
    made = run(tmp_path)
    machines = {device.name: f"a board called {device.name}, 4 cores" for device in made.plan.devices}
    made.report["provenance"] |= {"mode": "hardware", "machines": machines, "emulated": "nothing"}
    page = tmp_path / "pages" / "boards.md"
    write_page(made.plan, made.report, made.repetitions, page)
    text = page.read_text(encoding="utf-8")
    assert "- phone-1: a board called phone-1, 4 cores, 4 frames/s at most, its own link as it is" in text
    assert "times slower than this machine" not in text
    assert "Latency over time in the first repetition" in text
    first = draw(made.plan, made.report, made.repetitions)[0]
    assert [axes.get_ylabel() for axes in first.figure.axes] == ["capture to answer, ms", ""]
