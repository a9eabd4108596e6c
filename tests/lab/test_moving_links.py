"""Links of the simulator: how long a transfer takes, and what a recording may be."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.engine import play
from lab.simulator.jobs import make_world
from lab.simulator.links import ManyLinks, MovingLink, link_of, samples_for
from lab.simulator.teams import team_of


def rng() -> np.random.Generator:
    return np.random.default_rng(9)


def mbit(link: spec.Link, samples: int = 20_000) -> np.ndarray:
    return link_of(link, samples, rng(), "").mbit_s


def test_a_transfer_takes_what_the_rates_on_its_way_allow() -> None:
    link = MovingLink(np.array([1.0, 4.0, 0.5]), 0.0)
    begin = np.array([0.0, 0.5, 0.5, 2.0, 3.0, 0.0])
    bits = np.array([1e6, 0.5e6, 2.5e6, 0.25e6, 1e6, 5.5e6])
    # The last goes once round: 1 + 4 + 0.5 Mbit in three seconds.
    assert np.allclose(link.transfer_s(begin, bits), [1.0, 0.5, 1.0, 0.5, 1.0, 3.0])


@given(
    st.lists(st.floats(0.02, 50.0), min_size=1, max_size=20),
    st.floats(0.0, 1000.0),
    st.floats(0.0, 1e8),
    st.floats(0.0, 1e8),
)
def test_two_transfers_in_a_row_take_as_long_as_one_of_both(
    rates: list[float], begin: float, first: float, second: float
) -> None:
    link = MovingLink(np.array(rates), 0.0)

    def takes(begin_s: float, bits: float) -> float:
        return float(link.transfer_s(np.array([begin_s]), np.array([bits]))[0])

    once = takes(begin, first)
    assert once >= -1e-6
    assert once + takes(begin + once, second) == pytest.approx(
        takes(begin, first + second), rel=1e-6, abs=1e-3
    )


def test_many_links_at_once_are_to_the_bit_what_each_is_alone() -> None:
    """Of several lengths and rates, from moments before and after their ends, nothing sent included."""
    random = rng()
    links = [MovingLink(random.uniform(0.02, 9.0, size), 0.0) for size in (1, 3, 40, 700)]
    begin_s = random.uniform(0.0, 60.0, (5, len(links), 6))
    begin_s[0] = 2.0  # on a sample
    bits = np.array([0.0, 1.0, 1e5, 1e6, 2e7, 3e8])
    together = ManyLinks(links).transfer_s(begin_s, bits)
    for frame in range(5):
        for device, link in enumerate(links):
            alone = link.transfer_s(begin_s[frame, device], bits)
            assert np.array_equal(together[frame, device], alone)


def test_generated_links_have_the_moments_they_are_asked_for() -> None:
    lte = mbit(spec.Lte(mbit_s=6.0, sigma=0.7, outages_per_hour=0.0))
    assert np.median(lte) == pytest.approx(6.0, rel=0.1)
    logs = np.log(lte)
    assert logs.std() == pytest.approx(0.7, rel=0.1)
    after = np.corrcoef(logs[:-15], logs[15:])[0, 1]
    assert after == pytest.approx(np.exp(-1.0), abs=0.1)
    cut = mbit(spec.Lte(mbit_s=6.0, sigma=0.0, outages_per_hour=60.0, outage_s=5.0, floor_mbit_s=0.1))
    assert set(np.unique(cut)) == {0.1, 6.0}
    assert (cut == 0.1).mean() == pytest.approx(60 * 5.5 / 3600, rel=0.3)
    two = mbit(spec.TwoState(mbit_s=8.0, bad_mbit_s=1.0, good_s=60.0, bad_s=20.0))
    assert set(np.unique(two)) == {1.0, 8.0}
    assert (two == 8.0).mean() == pytest.approx(0.75, abs=0.07)
    assert mbit(spec.Constant(mbit_s=3.0)).tolist() == [3.0]


def traces(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return str(folder)


def test_a_recording_is_played_from_anywhere_and_never_stands_still(tmp_path: Path) -> None:
    folder = traces(tmp_path, one="second,mbit_per_s\n0,1\n1,2\n2,0\n")
    link = link_of(spec.Trace(file="one.csv", scale=2.0), 100, rng(), folder)
    assert sorted(link.mbit_s) == [0.02, 2.0, 4.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("second,mbit_per_s\n", "is empty"),
        ("second,mbit_per_s\n0,nan\n", "negative or not finite"),
        ("second,mbit_per_s\n0,-1\n", "negative or not finite"),
        ("second,rate\n0,1\n", "needs the columns second,mbit_per_s"),
        ("second,mbit_per_s\n0,fast\n", "needs the columns second,mbit_per_s"),
        ("time,mbit_per_s\n0,1\n", "needs the columns second,mbit_per_s"),
        ("second,mbit_per_s\n0,1\n2,1\n1,1\n", "seconds must increase, see line 4"),
        ("second,mbit_per_s\n0,1\n0,1\n1,1\n", "seconds must increase, see line 3"),
        ("second,mbit_per_s\n0,1\ninf,1\n", "seconds that are not finite"),
        ("second,mbit_per_s\n0,1\n1600000000,1\n", "longer than 1000000 s: are these seconds"),
    ],
)
def test_a_file_that_is_no_trace_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        link_of(spec.Trace(file="bad.csv"), 1, rng(), traces(tmp_path, bad=text))


def test_the_seconds_of_a_recording_say_how_long_each_rate_holds(tmp_path: Path) -> None:
    text = "second,mbit_per_s\n1600000010,3.97\n1600000011,0\n1600000014,2\n1600000014.25,6\n1600000015,1.1\n"
    link = link_of(spec.Trace(file="gap.csv"), 1, rng(), traces(tmp_path, gap=text))
    # A gap holds the last rate; two rows in a second count for a quarter and three quarters of it.
    played = [3.97, 0.02, 0.02, 0.02, 5.0, 1.1]
    assert link.mbit_s.tolist() in [played[start:] + played[:start] for start in range(len(played))]


def test_a_folder_of_recordings_takes_the_place_of_what_moves(tmp_path: Path) -> None:
    folder = traces(tmp_path, a="second,mbit_per_s\n0,3\n", b="second,mbit_per_s\n0,5\n")

    def kind(name: str, link: spec.Link) -> spec.DeviceType:
        return spec.DeviceType(name=name, devices=3, link=link)

    site = spec.Site(
        types=(kind("fixed", spec.Constant(mbit_s=9.0)), kind("moving", spec.Lte(delay_ms=7.0))),
        traces=folder,
    )
    links = make_world(site, 1).links  # type: ignore[attr-defined]
    assert [link.mbit_s[0] for link in links] == [9.0, 9.0, 9.0, 5.0, 3.0, 5.0]
    assert links[-1].delay_s == 0.007
    (tmp_path / "empty").mkdir()
    for nowhere in ("empty", "missing"):
        lost = spec.Site(types=(kind("moving", spec.Lte()),), traces=str(tmp_path / nowhere))
        with pytest.raises(ConfigurationError, match="there is no trace"):
            make_world(lost, 1)
    with pytest.raises(ConfigurationError, match="--traces"):
        make_world(spec.Site(types=(kind("moving", spec.Trace(file="c.csv")),)), 1)


DEAD = spec.DeviceType(name="phone", slowness=8.0, link=spec.Constant(mbit_s=0.001))


def test_a_device_gives_up_on_a_dead_link_and_finishes_what_it_kept() -> None:
    world = make_world(spec.Site(frames=5, types=(DEAD,), noise=spec.Noise(sigma=0.0, hiccups=0.0)), 1)
    turn = next(world.turns())
    jpeg, alone = world.arms.index("0/jpeg"), world.arms.index("end/none")
    assert turn.cost_of(jpeg).censored
    device_s = turn.cost_of(jpeg).device_s or 0.0
    assert turn.cost_of(jpeg).link_s == pytest.approx(0.7 - device_s)  # waited in vain
    assert turn.costs[jpeg] == pytest.approx(0.7 + turn.costs[alone], rel=0.01)
    assert not turn.cost_of(alone).censored
    assert turn.costs[alone] < 0.3


def test_a_patient_device_gives_up_after_a_multiple_of_what_finishing_takes() -> None:
    settings = spec.Site(frames=5, types=(DEAD,), noise=spec.Noise(sigma=0.0, hiccups=0.0), patience=2.0)
    world = make_world(settings, 1)
    turn = next(world.turns())
    jpeg, alone = world.arms.index("0/jpeg"), world.arms.index("end/none")
    cost = turn.cost_of(jpeg)
    assert cost.censored
    assert cost.link_s == pytest.approx(2.0 * turn.costs[alone], rel=0.01)
    assert cost.total_s == pytest.approx(3.0 * turn.costs[alone], rel=0.05)


def test_ours_follows_a_link_that_moves_and_leaves_one_that_dies() -> None:
    def mean(learner: spec.Learner, link: spec.Link, seed: int) -> float:
        site = spec.Site(
            frames=400, fps=2.0, types=(spec.DeviceType(name="board", devices=2, slowness=4.0, link=link),)
        )
        world = make_world(site, seed)
        return float(play(world, team_of(learner, world, seed)).cost.mean())

    ours = spec.Family(share="type", warm_start=40, link="measured", beta_prior=0.3)
    learned = spec.Family(share="type", warm_start=40)
    for link in (spec.TwoState(mbit_s=8.0, bad_mbit_s=0.3, good_s=40.0, bad_s=40.0), spec.Lte()):
        of = {
            name: np.mean([mean(learner, link, seed) for seed in range(3)])
            for name, learner in (("ours", ours), ("learned", learned), ("oracle", spec.Oracle()))
        }
        assert of["ours"] < of["learned"]
        assert of["ours"] < 1.25 * of["oracle"]  # 400 frames, learning included


def test_a_generated_link_may_repeat_and_is_to_the_second_what_it_was() -> None:
    moving = (spec.DeviceType(name="moving", link=spec.Lte()),)
    long = make_world(spec.Site(frames=300, types=moving), 1).links[0]  # type: ignore[attr-defined]
    again = make_world(spec.Site(frames=300, types=moving, links_repeat_s=60), 1).links[0]  # type: ignore[attr-defined]
    assert (long.mbit_s.size > 300, again.mbit_s.size) == (True, 60)
    begins, bits = np.array([3.0, 30.0, 59.0]), np.full(3, 2e6)
    assert np.allclose(again.transfer_s(begins, bits), again.transfer_s(begins + 60.0, bits))
    # Who needs less than that is not given more.
    assert samples_for(10.0, 60) == samples_for(10.0, None) == 11
