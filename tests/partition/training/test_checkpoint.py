"""A training that is killed and resumed, and what may be wrong with its file."""

from pathlib import Path

import pytest
import torch

from bus.errors import ConfigurationError
from partition.training.bottleneck import BottleneckTraining
from partition.training.bottleneck import Recipe as BottleneckRecipe
from partition.training.checkpoint import Progress, Training, run, write_atomically
from partition.training.exits import ExitsTraining
from partition.training.exits import Recipe as ExitsRecipe
from tests.support.small_training import small_images, small_model


def a_bottleneck(seed: int = 0) -> BottleneckTraining:
    recipe = BottleneckRecipe(cut=1, ratio=16, steps=9, batch=4, seed=seed)
    return BottleneckTraining(small_model(), small_images(), recipe)


def some_exits() -> ExitsTraining:
    recipe = ExitsRecipe(after=("1",), agreement=0.5, steps=9, batch=4)
    return ExitsTraining(small_model(), small_images(), recipe)


def leaves(state: object) -> list[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return [leaf for value in values for leaf in leaves(value)]


@pytest.mark.parametrize("make", [a_bottleneck, some_exits])
@pytest.mark.parametrize("killed_at", [3, 4, 8])
def test_killed_and_resumed_it_ends_as_if_nothing_had_happened(
    make: type[Training[object]], killed_at: int, tmp_path: Path
) -> None:
    whole, first, second = make(), make(), make()
    assert run(whole, tmp_path / "whole", every=3)

    def die(progress: Progress) -> None:
        if progress.step == killed_at:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(first, tmp_path / "killed", every=3, report=die)
    assert run(second, tmp_path / "killed", every=3, resume=True)
    pairs = list(zip(leaves(whole.state()), leaves(second.state()), strict=True))
    assert len(pairs) > 10
    assert all(torch.equal(one, other) for one, other in pairs)


def test_told_to_stop_it_saves_where_it_is(tmp_path: Path) -> None:
    whole, first, second = a_bottleneck(), a_bottleneck(), a_bottleneck()
    run(whole, tmp_path / "whole", every=100)
    steps: list[int] = []
    ended = run(
        first,
        tmp_path / "stopped",
        every=100,
        report=lambda progress: steps.append(progress.step),
        stop=lambda: len(steps) == 4,
    )
    assert not ended
    assert steps == [1, 2, 3, 4, 5]
    assert run(
        second,
        tmp_path / "stopped",
        every=100,
        resume=True,
        report=lambda progress: steps.append(progress.step),
    )
    assert steps[5:] == [6, 7, 8, 9]
    assert second.codec().name == whole.codec().name


def test_a_sentence_for_each_checkpoint_that_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no checkpoint"):
        run(a_bottleneck(), tmp_path / "none", resume=True)
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(ConfigurationError, match="is no checkpoint"):
        run(a_bottleneck(), tmp_path / "text", resume=True)
    run(a_bottleneck(), tmp_path / "other")
    with pytest.raises(ConfigurationError, match="is of another training"):
        run(a_bottleneck(seed=1), tmp_path / "other", resume=True)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "file"
    write_atomically(place, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigurationError, match="no space left on device; what was there before still is"):
        write_atomically(place, b"new")
    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]
