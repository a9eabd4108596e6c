"""What an edge worker makes of its model folder, with real networks."""

from functools import partial
from pathlib import Path

import pytest

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from edge import events as ev
from edge.library import Library
from edge.settings import EdgeSettings
from edge.tails import PartitionedTails
from partition.bottleneck import load as load_bottleneck
from partition.models import folder as model_folder
from partition.models.entries import add, load
from tests.support.small_training import trained_for

TINY = "tests.support.tiny_network:make"


def library(folder: Path) -> tuple[Library, PartitionedTails]:
    tails = PartitionedTails(())
    return Library(folder, tails, partial(load, folder)), tails


def test_it_follows_what_comes_and_goes_and_forgets_what_the_session_dropped(tmp_path: Path) -> None:
    here, tails = library(tmp_path)
    assert here.look() == []
    first = add(tmp_path, TINY).hash
    assert here.look() == [ev.ModelLoaded(first, tails.models[first])]
    assert here.look() == []
    model_folder.remove(tmp_path, first)
    assert here.look() == [ev.ModelRemoved(first)]
    assert first in tails.models  # until the session has dropped it
    add(tmp_path, TINY)
    assert here.look() == [ev.ModelLoaded(first, tails.models[first])]
    here.drop(first)  # came too late: it is back
    assert here.look() == []
    assert first in tails.models
    model_folder.remove(tmp_path, first)
    here.look()
    here.drop(first)
    assert here.look() == []
    assert tails.models == {}


def test_a_damaged_entry_is_left_out_until_it_is_made_anew(tmp_path: Path) -> None:
    here, _ = library(tmp_path)
    hash_ = add(tmp_path, TINY).hash
    (tmp_path / hash_ / "weights.safetensors").write_bytes(b"x")
    other = add(tmp_path, TINY, seed=1).hash
    assert [change.model for change in here.look()] == [other]
    assert here.look() == []
    model_folder.remove(tmp_path, hash_)
    add(tmp_path, TINY)
    assert [change.model for change in here.look()] == [hash_]


def test_a_model_that_is_given_a_bottleneck_is_announced_with_its_arm(tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path / "trained")
    name = load_bottleneck(bottleneck).name
    folder = tmp_path / "models"
    here, tails = library(folder)
    hash_ = add(folder, TINY).hash
    (first,) = here.look()
    assert add(folder, TINY, bottlenecks=(bottleneck,)).changed
    (second,) = here.look()
    assert isinstance(first, ev.ModelLoaded)
    assert second == ev.ModelLoaded(hash_, first.arms | {(1, name)})
    assert tails.models == {hash_: second.arms}
    assert here.look() == []
    add(folder, TINY, exits=exits)
    assert here.look() == [second]  # exits are the device's; to the edge worker nothing has changed
    # Damaged meanwhile, it is served as it was.
    (file,) = (folder / hash_).glob("bottleneck-*")
    file.write_bytes(b"x")
    with model_folder.unfinished(folder) as made:
        model_folder.change(made, model_folder.read(folder, hash_).manifest)
    assert here.look() == []
    assert tails.models == {hash_: second.arms}


def test_one_that_was_made_anew_while_it_went_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    bottleneck, _ = trained_for(TINY, tmp_path / "trained")
    folder = tmp_path / "models"
    here, _ = library(folder)
    hash_ = add(folder, TINY).hash
    here.look()
    model_folder.remove(folder, hash_)
    assert here.look() == [ev.ModelRemoved(hash_)]
    add(folder, TINY, bottlenecks=(bottleneck,))
    (change,) = here.look()
    assert isinstance(change, ev.ModelLoaded)
    assert (1, load_bottleneck(bottleneck).name) in change.arms


def test_a_folder_that_vanishes_takes_no_model_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    here, tails = library(folder)
    hash_ = add(folder, TINY).hash
    here.look()
    folder.rename(tmp_path / "away")
    with pytest.raises(ConfigurationError, match="is gone"):
        here.look()
    assert hash_ in tails.models
    (tmp_path / "away").rename(folder)
    assert here.look() == []


def test_more_models_than_are_loaded_at_once_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.library.MOST_MODELS", 1)
    here, tails = library(tmp_path)
    first, second = (add(tmp_path, TINY, seed=seed).hash for seed in (0, 1))
    assert [change.model for change in here.look()] == [min(first, second)]
    assert here.look() == []
    assert here.look() == []  # said once, not with every look
    assert len(tails.models) == 1


def test_an_entry_that_goes_while_it_is_looked_at_is_no_more_than_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = library(tmp_path)
    monkeypatch.setattr("edge.library.hashes", lambda _folder: ["0123456789abcdef"])
    assert here.look() == []


def test_times_between_looks_and_of_grace_must_make_sense() -> None:
    for wrong in ({"poll_s": 0.0}, {"grace_s": -1.0}):
        with pytest.raises(ConfigurationError, match="between looks and of grace"):
            EdgeSettings(id="edge-1", broker=BrokerAddress(), version="1", **wrong)  # type: ignore[arg-type]
