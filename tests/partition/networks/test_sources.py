"""What people write for a model, and archives that would do more than hold tensors."""

import os
import zipfile
from pathlib import Path

import pytest
import torch

from bus.errors import ConfigurationError
from partition.graphs.survey import survey
from partition.networks.sources import parse
from partition.networks.zoo import load_model, open_any
from partition.partitioned import build
from tests.support.foreign_networks import Skips

HERE = "tests.support.foreign_networks"


def test_all_forms_of_a_callable() -> None:
    assert parse("mobilenet_v2").kind == "name"
    plain = parse("a.b:c.d")
    assert (plain.kind, plain.place, plain.attribute) == ("callable", "a.b", "c.d")
    assert parse('m:f({"w": 3, "s": "a(b)@1x2"})').kwargs == {"w": 3, "s": "a(b)@1x2"}
    assert parse("m:f([1, true])@96x128").args == (1, True)
    assert parse("m:f([1, true])@96x128").size == (96, 128)
    assert parse("m:f(3)").args == (3,)
    assert parse("m:f()").args == ()
    assert parse("dir/net.pt2").kind == "archive"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("m:f({width: 3})", "are no JSON"),
        ("m:f(", "names no model"),
        ("m:", "names no model"),
        ("my.nets:branch@96", "frames behind it, height and width, as in @96x96"),
        ("mobilenet_v2@96x96", "built-in networks take 224x224.*: write mobilenet_v2$"),
        ("net.pt2@96x96", "the frames that it was exported with: write net.pt2"),
        ("net.torchscript", "TorchScript, ONNX and weights hold no graph"),
        ("net.onnx", "save the network with torch.export.save as .pt2"),
    ],
)
def test_what_names_no_model_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no_such_package:f", "there is no module 'no_such_package' here"),
        (f"{HERE}:Skip", f"there is no 'Skip' in {HERE}: did you mean 'Skips'?"),
        (f"{HERE}:Skips.zzzzz", f"there is no 'zzzzz' in {HERE}.Skips: name what is called there"),
        (f"{HERE}:no_module", "returned int: it must return a torch.nn.Module"),
        (f'{HERE}:with_width({{"depth": 3}})', "unexpected keyword argument 'depth'"),
        ("nowhere.pt2", "there is no archive nowhere.pt2"),
    ],
)
def test_a_model_that_cannot_be_opened_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        open_any(text)


def test_arguments_and_seed_reach_the_callable() -> None:
    opened = open_any(f'{HERE}:with_width({{"width": 5}})', seed=3)
    first, example, label = opened.module, opened.example, opened.weights_label
    again = open_any(f"{HERE}:Skips(5)@32x48", seed=3).module
    assert isinstance(first, Skips)
    assert first.down.out_channels == 5
    assert torch.equal(first.down.weight, again.get_parameter("down.weight"))
    assert label == "seeded:3"
    assert tuple(example.tensors[0].shape) == (1, 3, 224, 224)
    assert not first.training


def test_devices_play_a_callable_s_network_at_the_size_that_was_written() -> None:
    model = build(load_model(f"{HERE}:Skips@32x48"))
    assert tuple(model.input_size) == (32, 48)


def _archive(path: Path) -> Path:
    example = (torch.randn(1, 3, 16, 16),)
    torch.export.save(torch.export.export(Skips().eval(), example), path)
    return path


@pytest.mark.filterwarnings("ignore")
def test_an_archive_brings_network_weights_and_example(tmp_path: Path) -> None:
    path = _archive(tmp_path / "net.pt2")
    before = dict(os.environ)
    opened = open_any(str(path))
    module, example, label = opened.module, opened.example, opened.weights_label
    found = survey(module, example, batches=(1,))
    assert found.exact
    assert len(found.cuts) >= 4
    assert label.startswith("file:")
    assert dict(os.environ) == before
    model = build(load_model(str(path)))
    assert tuple(model.input_size) == (16, 16)
    assert model.weights_label == label


@pytest.mark.filterwarnings("ignore")
def test_an_archive_with_objects_is_not_loaded(tmp_path: Path) -> None:
    path = _archive(tmp_path / "net.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/data/constants/custom_obj_0", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ConfigurationError, match="holds objects"):
        open_any(str(path))


class _Executes:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (os.environ["CANS_TEST_TRAP"],))


@pytest.mark.filterwarnings("ignore")
def test_an_archive_whose_tensors_are_code_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "executed"
    monkeypatch.setenv("CANS_TEST_TRAP", str(trap))
    torch.save(_Executes(), tmp_path / "trap.pt")
    source = _archive(tmp_path / "net.pt2")
    path = tmp_path / "bad.pt2"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            samples = name.endswith("sample_inputs/model.pt")
            new.writestr(name, (tmp_path / "trap.pt").read_bytes() if samples else old.read(name))
    with pytest.raises(ConfigurationError, match="no archive that this torch"):
        open_any(str(path))
    assert not trap.exists()


def test_a_file_that_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "text.pt2"
    path.write_text("hello")
    with pytest.raises(ConfigurationError, match=r"text\.pt2 is no archive that this torch") as raised:
        open_any(str(path))
    assert "\n" not in str(raised.value)


def test_an_archive_that_takes_no_frames_is_for_looking_at_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(4, 2), (torch.randn(1, 4),)), path)
    with pytest.raises(ConfigurationError, match="devices play frames"):
        load_model(str(path))
