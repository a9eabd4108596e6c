"""Early exits: trained, calibrated, written, attached to a network, and answering on the device."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from bus.errors import ConfigurationError, LocalProtocolError
from partition.networks.exit_heads import NEVER, ExitHead, TrainedExits, dump, read
from partition.networks.zoo import Exit, load_model
from partition.partitioned import PartitionedModel, build
from partition.results import Kept, answer_of
from partition.training.checkpoint import run
from partition.training.exits import ExitsTraining, Recipe
from tests.support.small_training import small_images, small_model, small_network

RECIPE = Recipe(after=("1", "2"), agreement=0.75, steps=80, batch=8, rate=1e-2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExitsTraining, Path]:
    folder = tmp_path_factory.mktemp("exits")
    training = ExitsTraining(small_model(), small_images(24, 16), RECIPE)
    assert run(training, folder / "checkpoint", every=80)
    training.save(folder / "e.safetensors")
    return training, folder / "e.safetensors"


def test_what_is_read_is_what_was_written(trained: tuple[ExitsTraining, Path]) -> None:
    training, path = trained
    found = read(path)
    assert [rule.after for rule in found.info.rules] == [cut.name for cut in small_model().cuts[1:3]]
    assert (found.info.calibrated, found.info.held_out, found.info.target) == (8, 8, 0.75)
    calibrated = training.calibrate()
    for head, own in zip(found.heads, calibrated.heads, strict=True):
        for tensor, other in zip(head.state_dict().values(), own.state_dict().values(), strict=True):
            assert torch.equal(tensor, other)
    for rule in found.info.rules:
        assert 0.0 <= rule.answered <= 1.0
        assert 0.0 <= rule.kept <= 1.0
        assert 0.0 < rule.trunk_ms < rule.trunk_ms + rule.head_ms <= rule.latency_ms


def test_training_brings_the_heads_nearer_to_the_networks_answers() -> None:
    training = ExitsTraining(small_model(), small_images(24, 16), RECIPE)
    losses = [training.step(number) for number in range(80)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_rule_says_what_its_head_does_on_images_that_chose_no_threshold(
    trained: tuple[ExitsTraining, Path],
) -> None:
    found = read(trained[1])
    model = small_model()
    for number, (rule, head) in enumerate(zip(found.info.rules, found.heads, strict=True), start=1):
        sure, kept = [], []
        for frame in small_images(24, 16).held_out[8:]:
            result = model.run_head(frame, next(arm for arm in model.arms if arm.cut == number))
            assert isinstance(result.kept, Kept)
            with torch.no_grad():
                answer = answer_of(head(result.kept.crossing[0].clone()).numpy()[0])
            whole = model.finish(result.kept).top1
            sure.append(answer.confidence >= rule.threshold)
            kept.append(not sure[-1] or answer.top1 == whole)
        assert rule.answered == pytest.approx(np.mean(sure))
        assert rule.kept == pytest.approx(np.mean(kept))


def test_exits_of_a_file_are_those_that_warm_start_runs(trained: tuple[ExitsTraining, Path]) -> None:
    found = read(trained[1])
    exits = tuple(
        Exit(rule.after, head, rule.threshold, rule.answered)
        for rule, head in zip(found.info.rules, found.heads, strict=True)
    )
    model = build(replace(small_network(), exits=exits, exits_of=found.info.network))
    assert model.exit_count == 3
    assert model.hash == small_model().hash
    frame = small_images().held_out[0]
    with torch.no_grad():
        result = small_model().run_head(frame, small_model().arm("1/float32"))
        assert isinstance(result.kept, Kept)
        expected = answer_of(found.heads[0](result.kept.crossing[0].clone()).numpy()[0])
    assert model.run_exits(frame, 0).answer.top1 == expected.top1
    assert model.run_exits(frame, 0).answer.confidence == pytest.approx(expected.confidence)
    with pytest.raises(ConfigurationError, match="the exits were trained for model"):
        build(replace(small_network(seed=1), exits=exits, exits_of=found.info.network))


def test_load_model_attaches_a_file(trained: tuple[ExitsTraining, Path]) -> None:
    network = load_model("tests.support.tiny_network:make", exits=trained[1])
    assert network.exits is not None
    assert [each.after for each in network.exits] == [rule.after for rule in read(trained[1]).info.rules]
    assert network.exits_of == small_model().hash


def test_a_sentence_for_each_file_that_cannot_be_used(
    trained: tuple[ExitsTraining, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no file .* with exits"):
        read(tmp_path / "none")
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(ConfigurationError, match="cannot be read as safetensors"):
        read(tmp_path / "text")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ConfigurationError, match="does not hold exits of this version"):
        read(tmp_path / "other")
    found = read(trained[1])
    info = msgspec.structs.replace(found.info, rules=found.info.rules[:1])
    (tmp_path / "fewer").write_bytes(dump(TrainedExits(info, found.heads)))
    with pytest.raises(ConfigurationError, match="is damaged"):
        read(tmp_path / "fewer")


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (("99",), "has no cut '99' for an exit: choose from 1 "),
        (("0",), "has no cut '0'"),
        (("2", "1"), "in their order"),
        (("1", "1"), "in their order"),
        ((), "one cut or more"),
    ],
)
def test_a_sentence_for_exits_that_cannot_be(after: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ExitsTraining(small_model(), small_images(24, 16), replace(RECIPE, after=after))


def test_too_few_images_for_the_agreement_are_said_before_anything_is_trained() -> None:
    with pytest.raises(ConfigurationError, match=r"16 held-out images .* takes 197, that is 788 in"):
        ExitsTraining(small_model(), small_images(24, 16), replace(RECIPE, agreement=0.99))
    with pytest.raises(ConfigurationError, match="it takes 2, that is 8 in"):
        ExitsTraining(small_model(), small_images(24, 1), replace(RECIPE, agreement=0.5))


@pytest.mark.parametrize("shape", [(1, 5, 6, 7), (1, 6, 5), (1, 5)])
def test_a_head_takes_images_sequences_and_vectors(shape: tuple[int, ...]) -> None:
    head = ExitHead(shape, 4)
    many = torch.randn(3, *shape[1:])
    head.fit_input(many)
    assert head(many).shape == (3, 4)
    assert torch.allclose(head(many)[1:2], head(many[1:2]), atol=1e-5)
    before = head(many)
    head.get_buffer("temperature").fill_(2.0)
    assert torch.allclose(head(many), before / 2.0)
    assert NEVER > 1.0


def test_an_exit_answers_where_it_is_sure_and_else_changes_nothing(
    trained: tuple[ExitsTraining, Path],
) -> None:
    found = read(trained[1])
    frame = small_images().held_out[0]
    plain = small_model()
    first, second = (Exit(rule.after, head) for rule, head in zip(found.info.rules, found.heads, strict=True))

    def model(*thresholds: float) -> PartitionedModel:
        pairs = zip((first, second), thresholds, strict=True)
        return build(replace(small_network(), exits=tuple(replace(e, threshold=t) for e, t in pairs)))

    for arm in plain.arms:
        expected = plain.run_head(frame, arm)
        unsure = model(1.0, 1.0).run_head(frame, arm, early=True)
        assert unsure.exit_index is None
        assert bytes(unsure.payload or b"") == bytes(expected.payload or b"")
        always = model(0.0, 0.0)
        assert always.run_head(frame, arm).exit_index is None  # only who asks gets early answers
        sure = always.run_head(frame, arm, early=True)
        passes = arm.cut >= 1 and arm.codec not in {"jpeg", "uint8"}
        assert sure.exit_index == (0 if passes else None)
        if passes:
            assert sure.payload is None
            assert sure.answer is not None
            assert np.array_equal(sure.answer.logits, always.run_exits(frame, 0).answer.logits)
        later = model(NEVER, 0.0).run_head(frame, arm, early=True)
        assert later.exit_index == (1 if arm.cut >= 2 else None)


def test_an_exit_answers_for_the_deadlines_sake_from_a_head_or_from_what_one_kept(
    trained: tuple[ExitsTraining, Path],
) -> None:
    found = read(trained[1])
    frame = small_images().held_out[0]
    exits = tuple(
        Exit(rule.after, head, threshold, 0.25)
        for rule, head, threshold in zip(found.info.rules, found.heads, (1.0, NEVER), strict=True)
    )
    model = build(replace(small_network(), exits=exits, exits_of=found.info.network))
    assert model.trained_exits == ((1, True, 0.25), (2, False, 0.25))
    expected = [model.run_exits(frame, number).answer.logits for number in range(2)]
    for until in range(2):
        result = model.run_head(frame, model.device_only, early=True, until=until)
        assert (result.exit_index, result.forced) == (until, True)
        assert result.answer is not None
        assert np.array_equal(result.answer.logits, expected[until])
    for label, able in (("0/uint8", (0, 1)), ("1/float32", (0, 1)), ("2/float32", (1,))):
        kept = model.run_head(frame, model.arm(label), early=True).kept
        assert kept is not None
        for number in able:
            assert np.array_equal(model.finish_at(kept, number).logits, expected[number])
    passed = model.run_head(frame, model.arm("2/float32"), early=True).kept
    assert isinstance(passed, Kept)
    assert passed.passed is not None
    assert passed.passed[0] == 0
    assert model.finish_at(passed, 0) is passed.passed[1]  # known already
    with pytest.raises(LocalProtocolError, match="cannot answer at exit 0 from here"):
        model.finish_at(replace(passed, passed=None), 0)
    with pytest.raises(LocalProtocolError, match="cannot answer at exit 2"):
        model.finish_at(passed, 2)  # the network's own end
    plain = small_model()
    assert plain.trained_exits == ()
