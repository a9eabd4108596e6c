"""The cells of an experiment's grid: what they change, what they are called, and what cannot be."""

from pathlib import Path

import pytest

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.experiment import axes_in, load
from lab.simulator.grid import axes_of, cells_of, chosen, folder_of, in_words
from lab.simulator.merging import merged

EXPERIMENTS = sorted(Path("lab/experiments").glob("*.toml"))
GOOD = """
title = "A test"
[world]
frames = 5
[[world.types]]
name = "phone"
link = { kind = "lte", mbit_s = 12.0, sigma = 0.25 }
[[world.types]]
name = "board"
link = { kind = "constant", mbit_s = 8.0 }
[policies.default]
[policies.edge]
learner = "fixed"
arm = "0/jpeg"
[grid.edge.idle]
[grid.edge.loaded]
world.changes = [{ what = "queue", wait_ms = 50.0 }]
policies.edge.arm = "0/uint8"
[grid.link."1 Mbit/s"]
world.types.0.link = { kind = "lte", mbit_s = 1.0 }
[grid.link.steady]
world.types.0.link = { kind = "constant", mbit_s = 3.0 }
world.types.1.slowness = 4.0
"""


def written(folder: Path, text: str = GOOD) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def site(experiment: spec.Experiment) -> spec.Site:
    assert isinstance(experiment.world, spec.Site)
    return experiment.world


def test_cells_are_every_combination_the_last_axis_changing_first(tmp_path: Path) -> None:
    axes = axes_in(written(tmp_path))
    assert cells_of(axes) == [
        {"edge": "idle", "link": "1 Mbit/s"},
        {"edge": "idle", "link": "steady"},
        {"edge": "loaded", "link": "1 Mbit/s"},
        {"edge": "loaded", "link": "steady"},
    ]
    assert [folder_of(cell) for cell in cells_of(axes)][:2] == ["idle,1-mbit-s", "idle,steady"]
    assert in_words(cells_of(axes)[0]) == "edge=idle,link=1 Mbit/s"
    assert cells_of({}) == []


def test_a_cell_changes_what_its_values_say_and_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path)
    experiment = load(path, cell={"edge": "loaded", "link": "1 Mbit/s"})
    phone, board = site(experiment).types
    assert phone.link == spec.Lte(mbit_s=1.0, sigma=0.25)  # of one kind: the other keys stay
    assert board == spec.DeviceType(name="board", link=spec.Constant(mbit_s=8.0))
    assert site(experiment).changes == (spec.Change(what="queue", wait_ms=50.0),)
    assert experiment.policies["edge"] == spec.Fixed(arm="0/uint8")
    assert experiment.worlds == dict.fromkeys(("default", "edge"), experiment.world)
    assert experiment.grid == {}
    steady = site(load(path, cell={"edge": "idle", "link": "steady"}))
    assert steady.types[0].link == spec.Constant(mbit_s=3.0)  # another kind starts anew
    assert (steady.types[1].slowness, steady.changes) == (4.0, ())
    assert list(load(path).grid) == ["edge", "link"]


def test_what_a_person_sets_beats_what_a_cell_says(tmp_path: Path) -> None:
    cell = {"edge": "idle", "link": "steady"}
    said = ["world.types.1.slowness=9.0", "world.types.0.link.mbit_s=2.0"]
    phone, board = site(load(written(tmp_path), overrides=said, cell=cell)).types
    assert (phone.link, board.slowness) == (spec.Constant(mbit_s=2.0), 9.0)


def test_an_item_of_a_list_is_set_by_its_place(tmp_path: Path) -> None:
    more = ["world.types.1={ name = 'box', link = { kind = 'constant', mbit_s = 1.0 } }"]
    assert [kind.name for kind in site(load(written(tmp_path), overrides=more)).types] == ["phone", "box"]
    for bad in ("world.types.2.slowness=1.0", "world.types.x=1", "world.types.-1.slowness=1.0"):
        with pytest.raises(ConfigurationError, match="types is a list without an item"):
            load(written(tmp_path), overrides=[bad])
    assert merged({"a": [{"b": 1}, 2]}, {"a": {"0": {"b": 3}, "1": 4}}) == {"a": [{"b": 3}, 4]}
    with pytest.raises(ConfigurationError, match="a is a list without an item '0': there are none"):
        merged({"a": []}, {"a": {"0": 1}})


@pytest.mark.parametrize(
    ("patterns", "folders"),
    [
        ([], ["idle,1-mbit-s", "idle,steady", "loaded,1-mbit-s", "loaded,steady"]),
        (["link=1 Mbit/s"], ["idle,1-mbit-s", "loaded,1-mbit-s"]),
        (["link=1 Mbit/s, edge=idle"], ["idle,1-mbit-s"]),
        (["link=*Mbit/s,edge=load?d"], ["loaded,1-mbit-s"]),
        (["edge=loaded,link=steady", "edge=idle"], ["idle,1-mbit-s", "idle,steady", "loaded,steady"]),
    ],
)
def test_patterns_name_cells(tmp_path: Path, patterns: list[str], folders: list[str]) -> None:
    assert [folder_of(cell) for cell in chosen(axes_in(written(tmp_path)), patterns)] == folders


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("lnik=steady", "there is no axis 'lnik': did you mean 'link'?"),
        ("link=stedy", "link has no value 'stedy': did you mean 'steady'?"),
        ("steady", "say --cells AXIS=VALUE,AXIS=VALUE"),
        ("link=", "say --cells AXIS=VALUE,AXIS=VALUE"),
        ("link=steady,link=1*", "names the axis 'link' twice"),
    ],
)
def test_a_pattern_that_names_nothing_is_one_sentence(tmp_path: Path, pattern: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        chosen(axes_in(written(tmp_path)), [pattern])
    assert said in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"has no section \[grid\]"):
        chosen({}, [pattern])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[grid.edge.idle]", '[grid."a b".x]', "'a b' will not do as an axis"),
        ("[grid.edge.idle]", '[grid.edge."a,b"]', "'a,b' will not do as a value"),
        ("[grid.edge.idle]", '[grid.edge."LOADED"]', "'LOADED' and another value are one folder, loaded"),
        ("[grid.edge.idle]", "[grid.other]\n[grid.edge.idle]", "grid.other needs values"),
        ("[grid.edge.idle]", "[grid.edge]\nidle = 3", "grid.edge.idle is a section of what it changes"),
        ("title =", "grid = 3\ntitle =", "grid is a section"),
    ],
)
def test_a_grid_that_cannot_be_is_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = GOOD[: GOOD.index("[grid")] if new.startswith("grid = 3") else GOOD
    with pytest.raises(ConfigurationError) as raised:
        load(written(tmp_path, text.replace(old, new)))
    assert said in str(raised.value)
    assert "grid.toml" in str(raised.value)
    with pytest.raises(ConfigurationError, match=r"grid\.toml"):
        axes_in(tmp_path / "grid.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("policies.edge.arm", "policies.egde.arm", "a cell may change policies, not add 'egde'"),
        ("world.types.1", "world.types.2", "grid.link.steady: types is a list without an item '2'"),
        ("world.types.1.slowness", "world.types.1.slownes", "there is no key 'slownes': did you mean 'slow"),
    ],
)
def test_a_cell_that_cannot_be_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as raised:
        load(path, cell={"edge": "loaded", "link": "steady"})
    assert said in str(raised.value)
    assert "in the cell edge=loaded,link=steady" in str(raised.value)


def test_there_is_no_other_cell(tmp_path: Path) -> None:
    for cell in ({"edge": "idle"}, {"edge": "idle", "link": "x"}, {"link": "steady", "edge": "idle"}):
        with pytest.raises(ConfigurationError, match="the grid has no cell"):
            load(written(tmp_path), cell=cell)
    assert list(axes_of({})) == []


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_cell_of_every_experiment_of_the_project_can_be_read(path: Path) -> None:
    cells = cells_of(axes_in(path))
    assert len({folder_of(cell) for cell in cells}) == len(cells)
    for cell in cells:
        assert load(path, cell=cell).policies
