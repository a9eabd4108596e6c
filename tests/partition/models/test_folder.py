"""A folder of models: what appears is whole, what is damaged is one sentence, what goes is gone."""

import json
import resource
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bus.errors import ConfigurationError
from partition.bottleneck import load as load_bottleneck
from partition.models import folder as model_folder
from partition.models.entries import add, load
from partition.models.manifests import schema
from partition.networks.zoo import load_model
from partition.partitioned import build
from tests.support.small_training import trained_for

TINY = "tests.support.tiny_network:make"
DOCUMENTED = Path(__file__).parents[3] / "docs" / "schemas/model.json"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("models")
    return folder, add(folder, TINY).hash


@pytest.fixture
def models(filled: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """A folder of its own, with one model."""
    shutil.copytree(filled[0], tmp_path / "models")
    return tmp_path / "models", filled[1]


def left_over(folder: Path) -> list[str]:
    return [item.name for item in folder.iterdir() if item.name.startswith(".")]


def test_what_is_added_is_the_model_itself_and_adding_it_again_changes_nothing(tmp_path: Path) -> None:
    whole = build(load_model(TINY, seed=3))
    added = add(tmp_path, TINY, seed=3)
    assert (added.hash, added.new) == (whole.hash, True)
    again = add(tmp_path, TINY, seed=3)
    assert (again.hash, again.new) == (whole.hash, False)
    assert model_folder.hashes(tmp_path) == (whole.hash,)
    back = load(tmp_path, whole.hash)
    assert (back.hash, back.name, back.weights_label) == (whole.hash, TINY, "seeded:3")
    assert left_over(tmp_path) == []


def test_weights_come_from_safetensors(tmp_path: Path) -> None:
    network = load_model(TINY, seed=5)
    save_file(network.module.state_dict(), tmp_path / "w.safetensors")
    added = add(tmp_path / "models", TINY, weights=tmp_path / "w.safetensors")
    assert added.hash == build(network).hash
    (tmp_path / "broken.safetensors").write_bytes(b"hello")
    with pytest.raises(ConfigurationError, match="not a PyTorch state dictionary"):
        add(tmp_path / "models", TINY, weights=tmp_path / "broken.safetensors")
    assert model_folder.hashes(tmp_path / "models") == (added.hash,)


def test_names_move_and_go_with_their_model(models: tuple[Path, str]) -> None:
    folder, hash_ = models
    assert model_folder.use(folder, "current", hash_[:6]) == hash_
    assert model_folder.resolve(folder, "current") == hash_
    assert model_folder.read(folder, hash_).names == ("current",)
    assert model_folder.remove(folder, "current") == (hash_, ("current",))
    assert model_folder.hashes(folder) == ()
    assert model_folder.names(folder) == {}
    assert left_over(folder) == []


@pytest.mark.parametrize("word", ["current", "0000", "../models", "names", "", "/etc", "ABCD", "abc"])
def test_a_model_that_is_not_there_is_one_sentence(models: tuple[Path, str], word: str) -> None:
    folder, hash_ = models
    for act in (model_folder.resolve, model_folder.remove):
        with pytest.raises(ConfigurationError, match="there is no model"):
            act(folder, word)
    assert model_folder.hashes(folder) == (hash_,)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "abcd", "Current"])
def test_a_name_leads_nowhere_else(models: tuple[Path, str], name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        model_folder.use(models[0], name, models[1])


def test_a_name_that_holds_a_path_stands_for_nothing(models: tuple[Path, str]) -> None:
    folder, hash_ = models
    model_folder.use(folder, "current", hash_)
    (folder / "names" / "current").write_text("../../etc")
    assert model_folder.names(folder) == {}


def relink(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "model.json").write_text("{"), "model.json"),
        (lambda path: (path / "model.json").write_text("[]"), "model.json"),
        (lambda path: (path / "model.json").write_bytes(b"\xff"), "model.json"),
        (lambda path: (path / "model.json").unlink(), "no such file"),
        (lambda path: edit(path, "hash", "0" * 16), "is of model 0000000000000000"),
        (lambda path: edit(path, "format", 2), "model.json"),
        (lambda path: (path / "weights.safetensors").write_bytes(b"x"), "is not what model.json says"),
        (lambda path: (path / "weights.safetensors").unlink(), "no such file"),
        (lambda path: relink(path / "weights.safetensors"), "too many levels of symbolic links"),
        (lambda path: relink(path / "model.json"), "too many levels of symbolic links"),
        (relink, "it is a link"),
    ],
)
def test_a_damaged_entry_is_one_sentence_and_can_be_removed(
    models: tuple[Path, str], change: object, words: str
) -> None:
    folder, hash_ = models
    change(folder / hash_)  # type: ignore[operator]
    with pytest.raises(ConfigurationError, match=words):
        load(folder, hash_)
    assert model_folder.remove(folder, hash_) == (hash_, ())
    assert model_folder.hashes(folder) == ()


def edit(path: Path, key: str, value: object) -> None:
    manifest = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps(manifest | {key: value}))


def test_other_weights_with_a_manifest_that_fits_them_are_another_model(models: tuple[Path, str]) -> None:
    folder, hash_ = models
    file = folder / hash_ / "weights.safetensors"
    save_file({k: v + 1 for k, v in load_model(TINY).module.state_dict().items()}, file)
    sha256, size = model_folder.digest(file)
    edit(folder / hash_, "weights", {"sha256": sha256, "bytes": size})
    with pytest.raises(ConfigurationError, match="has changed since it was added"):
        load(folder, hash_)


def test_two_writers_of_one_model_make_one_entry(tmp_path: Path) -> None:
    found = []
    writers = [threading.Thread(target=lambda: found.append(add(tmp_path, TINY))) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(added.new for added in found) == [False, True]
    assert len(model_folder.hashes(tmp_path)) == 1
    assert left_over(tmp_path) == []


def test_a_full_disk_leaves_nothing_half_done(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(ConfigurationError, match="cannot use the model folder"):
            add(tmp_path / "models", TINY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(ConfigurationError, match="cannot use the model folder"):
        model_folder.hashes(tmp_path / "models")
    assert model_folder.hashes(tmp_path / "absent") == ()


def test_an_archive_is_kept_beside_its_manifest(tmp_path: Path) -> None:
    example = (torch.zeros(1, 3, 224, 224),)
    torch.export.save(torch.export.export(load_model(TINY).module, example), tmp_path / "tiny.pt2")
    added = add(tmp_path / "models", str(tmp_path / "tiny.pt2"))
    (tmp_path / "tiny.pt2").unlink()
    assert load(tmp_path / "models", added.hash).hash == added.hash
    assert (
        json.loads((tmp_path / "models" / added.hash / "model.json").read_text())["source"]["kind"] == "pt2"
    )


def test_what_was_trained_for_a_model_comes_out_with_it(tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path / "trained")
    name = load_bottleneck(bottleneck).name
    folder = tmp_path / "models"
    added = add(folder, TINY, bottlenecks=(bottleneck,), exits=exits)
    plain = build(load_model(TINY))
    assert added.hash == plain.hash
    shutil.rmtree(tmp_path / "trained")
    back = load(folder, added.hash)
    assert {(arm.cut, arm.codec) for arm in back.arms} == {(a.cut, a.codec) for a in plain.arms} | {(1, name)}
    assert [cut for cut, *_ in back.trained_exits] == [1]
    entry = model_folder.read(folder, added.hash)
    files = [entry.path / part.file for part in entry.trained]
    weights = entry.path / "weights.safetensors"
    assert entry.bytes == sum(file.stat().st_size for file in (*files, weights))
    assert left_over(folder) == []


def test_given_to_the_commands_too_a_bottleneck_is_one_arm(tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path)
    hash_ = add(tmp_path / "models", TINY, bottlenecks=(bottleneck,)).hash
    back = load(tmp_path / "models", hash_, bottlenecks=(load_bottleneck(bottleneck),), exits=exits)
    assert [arm.codec for arm in back.arms].count(load_bottleneck(bottleneck).name) == 1
    assert len(back.trained_exits) == 1


def test_a_model_that_is_there_gets_what_is_trained_later_and_keeps_what_is_not_given(tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path)
    folder = tmp_path / "models"
    hash_ = add(folder, TINY).hash
    before = model_folder.version(folder, hash_)
    added = add(folder, TINY, exits=exits)
    assert (added.hash, added.new, added.changed) == (hash_, False, True)
    with_exits = model_folder.version(folder, hash_)
    assert before != with_exits
    assert not add(folder, TINY, exits=exits).changed
    assert not add(folder, TINY).changed
    assert model_folder.version(folder, hash_) == with_exits
    assert add(folder, TINY, bottlenecks=(bottleneck,)).changed
    manifest = model_folder.read(folder, hash_).manifest
    assert (len(manifest.bottlenecks), len(manifest.exits)) == (1, 1)
    assert load(folder, hash_).exit_count == 2
    assert left_over(folder) == []


@pytest.mark.parametrize("kind", ["bottleneck", "exits"])
def test_a_trained_file_that_is_not_what_the_manifest_says_is_not_opened(kind: str, tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path / "ours")
    hash_ = add(tmp_path / "models", TINY, bottlenecks=(bottleneck,), exits=exits).hash
    (file,) = (tmp_path / "models" / hash_).glob(f"{kind}-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"{kind}-.* is not what model\.json says"):
        load(tmp_path / "models", hash_)
    with pytest.raises(ConfigurationError, match=r"is not what model\.json says"):
        add(tmp_path / "models", TINY, exits=exits)


def test_what_was_trained_for_another_model_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path / "other", seed=1)
    with pytest.raises(ConfigurationError, match="is for model"):
        add(tmp_path / "models", TINY, bottlenecks=(bottleneck,))
    with pytest.raises(ConfigurationError, match="the exits were trained for model"):
        add(tmp_path / "models", TINY, exits=exits)
    with pytest.raises(ConfigurationError, match="does not hold exits of this version"):
        add(tmp_path / "models", TINY, exits=bottleneck)
    assert model_folder.hashes(tmp_path / "models") == ()


def test_the_documented_schema_is_the_manifests() -> None:
    assert json.loads(DOCUMENTED.read_text()) == json.loads(json.dumps(schema()))
