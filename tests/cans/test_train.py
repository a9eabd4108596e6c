"""`cans train`: from a folder of images to a file, and one sentence for what cannot work."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from bus.messages import ActivationRequest
from cans.__main__ import main
from device.compute import load_compute
from device.settings import DeviceSettings
from edge.events import Output
from edge.settings import EdgeSettings, ModelChoice
from edge.tails import load_tails
from partition.bottleneck import load
from partition.networks.exit_heads import dump, read
from tests.support.small_training import write_classes, write_images

MODEL = "tests.support.tiny_network:make"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 12)
    return folder


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def bottleneck(images: Path, out: Path, *more: str) -> Result:
    steps = ("--cut", "1", "--images", images, "--steps", "4", "--save-every", "2", "--out", out)
    return train("bottleneck", MODEL, *steps, *more)


def test_a_bottleneck_is_trained_and_said_how_good_it_is(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.safetensors"
    result = bottleneck(images, out)
    assert result.exit_code == 0, result.output
    assert load(out).name in result.output
    assert "on 3 held-out images" in result.output
    assert list(tmp_path.iterdir()) == [out]


def test_exits_are_trained_and_shown_as_a_table(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.safetensors"
    steps = ("--images", images, "--steps", "4", "--agreement", "0.5", "--out", out)
    result = train("exits", MODEL, "--after", "1", *steps)
    assert result.exit_code == 0, result.output
    (rule,) = read(out).info.rules
    assert rule.after in result.output
    assert f"{rule.latency_ms:.1f}" in result.output
    assert list(tmp_path.iterdir()) == [out]


def test_exits_learn_labels_and_say_how_often_they_are_right(tmp_path: Path) -> None:
    write_classes(tmp_path / "images", ("left", "right"), 8)
    (tmp_path / "labels.json").write_text('{"left": 2, "right": 5}')
    out = tmp_path / "e.safetensors"
    steps = ("--images", tmp_path / "images", "--steps", "4", "--agreement", "0.5", "--out", out)
    labels = ("--labels", tmp_path / "labels.json")
    result = train("exits", MODEL, "--after", "1", *steps, *labels)
    assert result.exit_code == 0, result.output
    info = read(out).info
    assert info.whole_accuracy is not None
    assert f"{info.whole_accuracy:.3f}" in result.output
    (tmp_path / "labels.json").write_text('{"left": 2, "right": 50}')
    result = train("exits", MODEL, "--after", "1", *steps, *labels)
    assert result.exit_code == 2
    assert "has the classes 0 to 9" in result.output
    result = train("exits", MODEL, "--after", "1", *steps, "--labels", "folders")
    assert result.exit_code == 2
    assert "is not named by the number of a class" in result.output


def test_ctrl_c_saves_and_resume_goes_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from partition.training.bottleneck import BottleneckTraining

    whole, out = tmp_path / "whole.safetensors", tmp_path / "b.safetensors"
    assert bottleneck(images, whole).exit_code == 0
    step = BottleneckTraining.step

    def interrupted(self: BottleneckTraining, number: int) -> float:
        if number == 2:
            signal.raise_signal(signal.SIGINT)
        return step(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(BottleneckTraining, "step", interrupted)
        result = bottleneck(images, out)
    assert result.exit_code == 130
    assert "go on with --resume" in result.output
    assert not out.exists()
    afresh = bottleneck(images, out)
    assert afresh.exit_code == 2
    assert "holds a training that was stopped: go on with --resume" in afresh.output
    assert bottleneck(images, out, "--resume").exit_code == 0
    assert load(out).name == load(whole).name


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (("--cut", "77"), "no cut '77' for a bottleneck: choose from 1 "),
        (("--images", "nowhere"), "cannot read the folder nowhere"),
        (("--out", "nowhere/b.safetensors"), "make the folder nowhere first"),
        (("--weights", "nowhere.pth"), "there is no weights file nowhere.pth"),
        (("--resume",), "there is no checkpoint"),
        (("--ratio", "1e9"), "choose a smaller --ratio"),
    ],
)
def test_one_sentence_for_what_cannot_work(
    changed: tuple[str, ...], sentence: str, images: Path, tmp_path: Path
) -> None:
    result = bottleneck(images, tmp_path / "b.safetensors", *changed)
    assert result.exit_code == 2
    assert sentence in result.output
    assert len([line for line in result.output.splitlines() if line.startswith("cans: ")]) == 1
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_device_and_edge_that_are_given_the_file_have_the_arm_in_common(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.safetensors"
    assert bottleneck(images, out).exit_code == 0
    broker = BrokerAddress("localhost", 1883)
    given = DeviceSettings(id="d", type="t", broker=broker, model=MODEL, bottlenecks=(out,))
    compute = load_compute(given)
    edge = EdgeSettings(id="e", broker=broker, models=(ModelChoice(MODEL),), bottlenecks=(out,))
    tails = load_tails(edge)
    name = load(out).name
    (arm,) = (number for number, each in enumerate(compute.plan.arms) if each.codec == name)
    head = compute.run_head(np.zeros((224, 224, 3), np.uint8), arm)
    request = ActivationRequest(
        id="1",
        device="d",
        type="t",
        model=compute.plan.model,
        cut=1,
        codec=name,
        dtype=head.dtype,
        shape=head.shape,
        seq=0,
        budget_ms=1000.0,
        payload=memoryview(head.payload),
    )
    (output,) = tails.run([request])
    assert isinstance(output, Output)
    assert output.shape == (10,)
    without = load_compute(replace(given, bottlenecks=()))
    assert without.plan.model == compute.plan.model
    assert without.plan.schema != compute.plan.schema
    for load_other in (
        lambda: load_compute(replace(given, weights_seed=1)),
        lambda: load_tails(replace(edge, weights_seed=1)),
    ):
        with pytest.raises(ConfigurationError, match="give the weights it was trained with"):
            load_other()


def test_a_device_that_is_given_exits_lets_them_answer(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "e.safetensors"
    steps = ("--images", images, "--steps", "4", "--agreement", "0.5", "--out", out)
    assert train("exits", MODEL, "--after", "1", *steps).exit_code == 0
    trained = read(out)
    always = msgspec.structs.replace(trained.info.rules[0], threshold=0.0)
    out.write_bytes(dump(replace(trained, info=msgspec.structs.replace(trained.info, rules=(always,)))))
    broker = BrokerAddress("localhost", 1883)
    given = DeviceSettings(id="d", type="t", broker=broker, model=MODEL, exits=out)
    compute = load_compute(given)
    head = compute.run_head(np.zeros((224, 224, 3), np.uint8), compute.plan.device_arm)
    assert head.exit == 0
    assert head.top is not None
    assert compute.exit_count == 2
    with pytest.raises(ConfigurationError, match="leave out --exits or ans"):
        replace(given, policy="ans")
