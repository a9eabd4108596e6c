"""What an experiment file may say, and the sentence for what it may not."""

from pathlib import Path
from typing import Any

import pytest

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.experiment import load
from tests.support.experiments import SIMULATED

TWIN = '[[world.types]]\nname = "phone"\nlink = { kind = "constant", mbit_s = 1.0 }\n'
GOOD = """
title = "A test"
seeds = 2
[world]
kind = "site"
frames = 5
[[world.types]]
name = "phone"
devices = 2
slowness = 8.0
link = { kind = "constant", mbit_s = 12.0 }
[family]
alpha = 0.5
[policies.linucb]
[policies.ours]
learner = "fedlinucb_dw"
alpha = 0.25
world.frames = 7
[policies.switch]
learner = "two_arm"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "experiment.toml"
    path.write_text(text)
    return path


def tuned(kind: Any, name: str, **said: object) -> Any:
    return kind(**{**spec.TUNED.get(name, {}), **said})


@pytest.mark.parametrize("path", SIMULATED, ids=lambda path: path.stem)
def test_every_experiment_of_the_project_can_be_read(path: Path) -> None:
    experiment = load(path)
    assert experiment.asks.endswith("?")
    assert experiment.seeds >= 10 or path.stem == "long"  # whose one repetition takes two hours
    assert experiment.first_seed >= 1000  # seeds below are for tuning


def test_settings_come_from_the_policy_then_the_family_then_the_preset(tmp_path: Path) -> None:
    experiment = load(written(tmp_path, GOOD))
    assert experiment.policies["linucb"] == tuned(spec.Family, "linucb", share="device", alpha=0.5)
    assert experiment.policies["ours"] == tuned(
        spec.Family, "fedlinucb_dw", share="type", warm_start=40, alpha=0.25
    )
    assert experiment.policies["switch"] == tuned(spec.TwoArm, "two_arm")
    frames = {name: world.frames for name, world in experiment.worlds.items() if isinstance(world, spec.Site)}
    assert frames == {"linucb": 5, "ours": 7, "switch": 5}


def test_what_was_tuned_yields_to_what_an_experiment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(spec.TUNED, "linucb", {"beta_prior": 0.7, "alpha": 0.125})
    experiment = load(written(tmp_path, GOOD.replace('"two_arm"', '"two_arm"\nsmoothing = 0.25')))
    linucb, switch = experiment.policies["linucb"], experiment.policies["switch"]
    assert linucb == spec.Family(share="device", beta_prior=0.7, alpha=0.5)  # [family] says alpha
    assert switch == tuned(spec.TwoArm, "two_arm", smoothing=0.25)


def test_what_makes_a_member_of_the_family_is_not_the_familys_to_say(tmp_path: Path) -> None:
    experiment = load(written(tmp_path, GOOD.replace("alpha = 0.5", 'share = "all"\nwarm_start = 7')))
    assert experiment.policies["linucb"] == tuned(spec.Family, "linucb", share="device", warm_start=7)
    assert experiment.policies["ours"] == tuned(
        spec.Family, "fedlinucb_dw", share="type", warm_start=40, alpha=0.25
    )


def test_keys_are_overridden_and_policies_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    experiment = load(
        path, overrides=["seeds=3", "world.noise.sigma=0.5", "world.network=mobilenet_v2"], only=["switch"]
    )
    assert experiment.seeds == 3
    assert list(experiment.policies) == list(experiment.worlds) == ["switch"]
    assert isinstance(experiment.world, spec.Site)
    assert experiment.world.noise.sigma == 0.5


def test_a_policy_changes_one_key_of_a_section_of_the_world_and_leaves_the_others(tmp_path: Path) -> None:
    text = GOOD.replace("[[world.types]]", "[world.noise]\nsigma = 0.3\nhiccups = 0.5\n[[world.types]]")
    path = written(tmp_path, text.replace("world.frames = 7", "world.noise.sigma = 0.1"))
    experiment = load(path, overrides=["policies.switch.world.noise.hiccup_ms=7.0"])
    noise = {name: world.noise for name, world in experiment.worlds.items() if isinstance(world, spec.Site)}
    assert noise["linucb"] == spec.Noise(sigma=0.3, hiccups=0.5)
    assert noise["ours"] == spec.Noise(sigma=0.1, hiccups=0.5)
    assert noise["switch"] == spec.Noise(sigma=0.3, hiccups=0.5, hiccup_ms=7.0)


def test_a_policy_may_play_in_a_world_of_another_kind(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("world.frames = 7", 'world = { kind = "synthetic", rounds = 9 }'))
    assert load(path).worlds["ours"] == spec.Synthetic(rounds=9)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (
            "linucb = { regrets = 1.0 }",
            "published.linucb: there is no figure 'regrets': did you mean 'regret'?",
        ),
        ("linucb = { mean = 1.0 }", "did you mean 'mean_ms'?"),
        ("ours = { mean_ms = 1.0 }", "published.ours: there is no figure 'mean_ms'"),
        ("linucbb = { regret = 1.0 }", "published: there is no policy 'linucbb': did you mean 'linucb'?"),
    ],
)
def test_a_published_figure_that_nothing_can_stand_beside(tmp_path: Path, figure: str, said: str) -> None:
    synthetic = GOOD.replace("world.frames = 7", 'world = { kind = "synthetic" }')
    text = f"{synthetic}[published]\n{figure}\n"
    for only in ([], ["switch"]):
        if only and "ours" in figure:
            continue  # whose world is known only when it plays
        with pytest.raises(ConfigurationError) as raised:
            load(written(tmp_path, text), only=only)
        assert said in str(raised.value)
    good = text.replace(figure, "linucb = { later_mean_ms = 1.0, regret = 2.0 }")
    assert load(written(tmp_path, good), only=["switch"]).published["linucb"]["regret"] == 2.0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seeds = 2", "seeds = 0", "seeds: Expected `int` >= 1"),
        ("seeds = 2", "sedes = 2", "there is no key 'sedes': did you mean 'seeds'?"),
        ("frames = 5", "frame = 5", "world: there is no key 'frame': did you mean 'frames'?"),
        ("slowness = 8.0", "slownes = 8.0", "world.types[0]: there is no key 'slownes': did you mean 'slow"),
        ("slowness = 8.0", "slowness = nan", "world.types[0].slowness"),
        ("slowness = 8.0", "slowness = 8.0\nwhole_ms = 100.0", "world.types[0]: give whole_ms or slowness"),
        ("frames = 5", "frames = 5\nedge_slowness = 2.0\nedge_whole_ms = 40.0", "world: give edge_whole_ms"),
        ("mbit_s = 12.0", "mbit_s = -1.0", "world.types[0].link.mbit_s: Expected `float` > 0.0"),
        ('kind = "site"', 'kind = "sight"', "world: there is no kind 'sight': did you mean 'site'?"),
        ("[policies.linucb]", "[policies.linucbb]", "there is no learner 'linucbb': did you mean 'linucb'?"),
        ("alpha = 0.25", "alfa = 0.25", "policies.ours: there is no key 'alfa': did you mean 'alpha'?"),
        ("alpha = 0.25", "alpha = -1.0", "policies.ours.alpha: Expected `float` >= 0.0"),
        ("world.frames = 7", "world.frames = 0", "policies.ours.world.frames: Expected `int` >= 1"),
        ("[policies.linucb]", '[policies."a b"]\nlearner = "linucb"', "'a b' will not do as a name"),
        ("[[world.types]]", f"{TWIN}[[world.types]]", "two types are called 'phone'"),
        ("title =", "title", "is no TOML"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as raised:
        load(written(tmp_path, GOOD.replace(old, new)))
    assert said in str(raised.value)
    assert "experiment.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = 'x'", "no policy plays"),
        ("title = 'x'\npolicies = 3", "no policy plays"),
        ("title = 'x'\n[policies]\nlinucb = 3\n[world]", "policies.linucb is a section"),
        ("title = 'x'\n[policies.linucb]", "no world"),
        ("title = 'x'\nfamily = 3\n[policies.linucb]", "family is a section"),
        ("title = 'x'\n[policies.linucb]\nworld = 3\n[world]", r"policies.linucb.world is a section"),
        ("title = 'x'\n[policies.linucb]\n[world]\nkind='site'", "missing required field `types`"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load(written(tmp_path, text))


def test_no_file_no_such_policy_and_a_bad_override(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the experiment"):
        load(tmp_path / "nothing.toml")
    path = written(tmp_path, GOOD)
    with pytest.raises(ConfigurationError, match="no policy 'linucbw': did you mean 'linucb'"):
        load(path, only=["linucbw"])
    for bad in ("world.frames", "=3", "title.more=3"):
        with pytest.raises(ConfigurationError, match="will not do"):
            load(path, overrides=[bad])
