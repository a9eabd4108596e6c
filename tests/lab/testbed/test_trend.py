"""What is said of a long run: flat only where that is shown, and growth as loudly as none."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bus.errors import ConfigurationError
from lab.testbed.report.figures import draw
from lab.testbed.report.in_short import in_short
from lab.testbed.report.markdown import write_page
from lab.testbed.report.trend import Steadiness, steadiness_of
from lab.testbed.samples import Held, Sample
from tests.support.testbed_runs import Run, run

_HOUR_S = 3600.0
_AFTER = "testbed.trend_after_s=600.0"
_ALONE = (_AFTER, "testbed.sweep=[]")
_REPEATS = (
    "world.frames=15",
    "world.fps=0.25",
    "testbed.block_frames=15",
    "world.links_repeat_s=1200",
)  # a block takes a minute
Value = Callable[[float], float]


def watched(
    folder: Path,
    *,
    mib: Value = lambda _: 100.0,
    ms: Value = lambda _: 50.0,
    hours: float = 2.0,
    only: tuple[str, ...] = ("default",),
    absent_from_s: float = np.inf,
    load: float | None = None,
    overrides: tuple[str, ...] = (),
    answers: bool = True,
) -> Run:
    """Return a run with a sample a minute and policy: an edge worker of `mib`, frames that take `ms`."""
    made = run(folder, seeds=1, only=only, overrides=(*_ALONE, *overrides))
    samples = []
    for number, at_s in enumerate(np.arange(60.0, hours * _HOUR_S, 60.0)):
        held = {
            "broker": Held(resident_bytes=10 << 20, cpu_s=0.01 * at_s),
            "edge": Held(resident_bytes=int(mib(at_s) * 2**20), cpu_s=0.25 * at_s),
        }
        if at_s >= absent_from_s:
            del held["edge"]
        for policy in only:
            answered = tuple(ms(at_s) * share for share in np.linspace(0.9, 1.1, 21)) if answers else ()
            sample = Sample(
                at_s=at_s, round=number, policy=policy, held=held, answered_ms=answered, lost=0, load=load
            )
            samples.append(sample)
    repetition = msgspec.structs.replace(made.repetitions[0], samples=samples)
    return Run(made.plan, [repetition], made.report)


def only_one(made: Run) -> Steadiness:
    (found,) = steadiness_of(made.plan, made.repetitions)
    return found


def verdicts(made: Run) -> dict[str, str]:
    return {trend.name: trend.verdict for trend in only_one(made).trends}


def test_what_never_moves_is_flat_and_its_cost_is_known(tmp_path: Path) -> None:
    made = watched(tmp_path)
    assert set(verdicts(made).values()) == {"flat"}
    assert list(verdicts(made)) == ["broker", "edge", "latency, p50", "latency, p95"]
    assert only_one(made).cores == pytest.approx({"broker": 0.01, "edge": 0.25})


def test_a_leak_is_found_with_its_size_and_an_outage_tilts_nothing(tmp_path: Path) -> None:
    def leaks(at_s: float) -> float:
        return 100.0 + 12.0 * at_s / _HOUR_S

    def held_up(at_s: float) -> float:
        return 900.0 if 4000.0 < at_s < 4300.0 else 50.0

    made = watched(tmp_path, mib=leaks, ms=held_up)
    edge = next(trend for trend in only_one(made).trends if trend.name == "edge")
    assert edge.verdict == "grows"
    assert edge.an_hour == pytest.approx(12.0, rel=0.05)
    assert edge.ci95 is not None
    assert edge.ci95[0] <= 12.0 <= edge.ci95[1] + 1e-6
    assert verdicts(made)["latency, p50"] == "flat"
    said = {each.verdict: each for each in in_short(made.plan, made.report, made.repetitions)}
    assert said["Memory is not flat, or not shown to be:"].good is False
    assert "edge 1" in said["Memory is not flat, or not shown to be:"].text
    assert said["Latency is flat:"].good is True


def test_growth_before_things_have_settled_is_none(tmp_path: Path) -> None:
    assert verdicts(watched(tmp_path, mib=lambda at_s: min(at_s, 550.0)))["edge"] == "flat"


def test_what_falls_falls_and_what_is_noisy_is_not_shown_to_be_flat(tmp_path: Path) -> None:
    draws = np.random.default_rng(0).uniform(20.0, 90.0, 24)
    made = watched(tmp_path, mib=lambda at_s: 500.0 - at_s / 60.0, ms=lambda at_s: draws[int(at_s / 300.0)])
    assert verdicts(made)["edge"] == "falls"
    assert verdicts(made)["latency, p50"] == "not shown to be flat"


def test_a_short_run_knows_no_trend(tmp_path: Path) -> None:
    made = watched(tmp_path, hours=0.15)
    assert set(verdicts(made).values()) == {"too short to know"}
    assert "not known" in " ".join(each.text for each in in_short(made.plan, made.report, made.repetitions))


def test_links_that_repeat_are_compared_repeat_by_repeat(tmp_path: Path) -> None:
    def with_the_link(at_s: float) -> float:
        return 20.0 + at_s % 1200.0

    (by_time, _) = only_one(watched(tmp_path, ms=with_the_link)).latency
    assert by_time.over == "stretches of 300 s"
    assert np.ptp(by_time.value) > 500.0
    made = watched(tmp_path, ms=with_the_link, hours=4.0, overrides=_REPEATS)
    assert verdicts(made)["latency, p95"] == "flat"
    assert all(np.ptp(course.value) < 1e-9 for course in only_one(made).latency)
    (p50, p95) = (trend for trend in only_one(made).trends if trend.unit == "ms")
    assert (p50.over, p95.over) == ("repeats of the links' 1200 s",) * 2
    grows = watched(
        tmp_path, ms=lambda at_s: with_the_link(at_s) + at_s / 50.0, hours=4.0, overrides=_REPEATS
    )
    assert verdicts(grows)["latency, p50"] == "grows"


def test_the_last_repeat_counts_only_if_it_was_whole(tmp_path: Path) -> None:
    (p50, _) = only_one(watched(tmp_path, hours=1.5, overrides=_REPEATS)).latency
    assert p50.stretch.tolist() == [0, 1, 2, 3]
    (p50, _) = only_one(watched(tmp_path, hours=1.6, overrides=_REPEATS)).latency
    assert p50.stretch.tolist() == [0, 1, 2, 3]


def test_a_run_that_ends_within_the_first_repeat_has_points_all_the_same(tmp_path: Path) -> None:
    (p50, _) = only_one(watched(tmp_path, hours=0.3, overrides=_REPEATS)).latency
    assert p50.over.startswith("stretches of")
    assert np.isfinite(p50.value).all()


def test_repeats_hold_whole_blocks(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="makes no whole blocks"):
        watched(tmp_path, overrides=(*_REPEATS, "world.links_repeat_s=1201"))


def test_where_nothing_was_answered_nothing_is_said_of_latency(tmp_path: Path) -> None:
    made = watched(tmp_path, answers=False)
    said = " ".join(each.verdict for each in in_short(made.plan, made.report, made.repetitions))
    assert "Memory is flat" in said
    assert "Latency" not in said
    write_page(made.plan, made.report, made.repetitions, tmp_path / "long.md")


def test_policies_that_play_by_turns_have_a_course_each(tmp_path: Path) -> None:
    found = verdicts(watched(tmp_path, only=("default", "ans")))
    assert {"default, p50", "default, p95", "ans, p50", "ans, p95"} < set(found)


def test_who_was_away_for_a_while_is_judged_by_when_he_was_there(tmp_path: Path) -> None:
    made = watched(tmp_path, absent_from_s=4000.0)
    assert verdicts(made)["edge"] == "flat"
    assert only_one(made).cores["edge"] == pytest.approx(0.25)


def test_nothing_is_said_where_nobody_asked(tmp_path: Path) -> None:
    made = run(tmp_path)
    assert steadiness_of(made.plan, made.repetitions) == []
    assert "trend" not in {drawn.name for drawn in draw(made.plan, made.report, made.repetitions)}
    asked = run(tmp_path, overrides=(_AFTER,))  # of a run that was made before it was asked for
    assert steadiness_of(asked.plan, asked.repetitions) == []


def test_what_else_was_going_on_is_drawn_where_it_is_known(tmp_path: Path) -> None:
    for load, panels in ((None, 2), (1.5, 3)):
        made = watched(tmp_path, load=load)
        (drawn,) = (each for each in draw(made.plan, made.report, made.repetitions) if each.name == "trend")
        assert len(drawn.figure.axes) == panels


def test_the_page_has_figure_and_table(tmp_path: Path) -> None:
    made = watched(tmp_path)
    write_page(made.plan, made.report, made.repetitions, tmp_path / "long.md")
    text = (tmp_path / "long.md").read_text()
    assert "long-trend.png" in text
    assert "| edge | 100.0 MiB | +0.00 MiB (+0.00 to +0.00) | flat | 0.250 |" in text
