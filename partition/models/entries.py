"""Puts models into a model folder and takes them out again, checked: bytes, and the hash recomputed.

What was trained for a model, bottlenecks and exits, goes in and comes out with it.

What a model is (its module) comes from a built-in name, an installed package or an archive; its weights
always from `weights.safetensors`, which holds numbers only.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from msgspec.structs import replace as replace_fields
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from bus.errors import ConfigurationError
from partition.bottleneck import BottleneckCodec, require_used
from partition.bottleneck import load as load_bottleneck
from partition.models import folder as model_folder
from partition.models.manifests import Archive, BuiltIn, Callable, File, Manifest, Part
from partition.networks.sources import parse
from partition.networks.zoo import Network, load_model
from partition.partitioned import PartitionedModel, build


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` has done.

    Attributes:
        hash: of the model.
        new: False if the folder had it already.
        changed: it had, and has other bottlenecks or exits now.
    """

    hash: str
    new: bool
    changed: bool = False


def add(
    folder: Path,
    text: str,
    *,
    weights: Path | None = None,
    seed: int = 0,
    bottlenecks: Sequence[Path] = (),
    exits: Path | None = None,
) -> Added:
    """Put a model into a folder, whole or not at all.

    If it is there already, bottlenecks and exits that are given take the place of those that it has.

    Args:
        folder: made if it is not there.
        text: what `partition.networks.sources` knows: a built-in name, a callable with its
            arguments, an archive.
        weights: safetensors or a state dictionary; the source's own or seeded ones when None.
        seed: of weights without a file.
        bottlenecks: files trained for this very model.
        exits: a file trained for it.

    Raises:
        ConfigurationError: a model that cannot be opened or cut, what was trained for another one, a disk
            that is full, or a damaged entry of the same hash.
    """
    codecs = [load_bottleneck(path) for path in bottlenecks]
    network = load_model(text, weights=weights, seed=seed, exits=exits)
    with model_folder.unfinished(folder) as made:
        model = build(network, bottlenecks=codecs)
        require_used(codecs, [model.hash])
        cuts = {arm.codec: arm.cut for arm in model.arms}
        manifest = replace_fields(
            _manifest_of(network, text, seed, model.hash, made),
            bottlenecks=tuple(
                _taken(made, "bottleneck", path, cuts[codec.name])
                for path, codec in zip(bottlenecks, codecs, strict=True)
            ),
            exits=()
            if exits is None
            else (_taken(made, "exits", exits, min((at for at, *_ in model.trained_exits), default=0)),),
        )
        new = model_folder.finish(made, manifest)
        changed = False if new else _changed(folder, made, manifest)
    return Added(model.hash, new, changed)


def _manifest_of(network: Network, text: str, seed: int, hash_: str, made: Path) -> Manifest:
    """Write weights and archive; return what is to be said of them.

    Raises:
        OSError: the disk is full, and so on.
    """
    _save(network.module, made / model_folder.WEIGHTS)
    sha256, size = model_folder.digest(made / model_folder.WEIGHTS)
    kind = parse(text).kind
    source: BuiltIn | Callable | Archive
    match kind:
        case "name":
            source = BuiltIn(name=text, seed=seed)
        case "callable":
            source = Callable(text=text, seed=seed)
        case "archive":
            shutil.copyfile(text, made / model_folder.ARCHIVE)
            archived, archive_bytes = model_folder.digest(made / model_folder.ARCHIVE)
            source = Archive(sha256=archived, bytes=archive_bytes)
        case _:
            assert_never(kind)
    return Manifest(
        hash=hash_,
        name=Path(text).name if kind == "archive" else text,
        source=source,
        weights=File(sha256=sha256, bytes=size),
        weights_label=network.weights_label,
        input_shape=network.input_shape,
        derived=tuple(sorted(network.derived)),
        added=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _taken(made: Path, kind: str, path: Path, cut: int) -> Part:
    """Copy a trained file, to be named by its content; return what is to be said of it.

    Raises:
        OSError: the disk is full, and so on.
    """
    copy = made / kind
    shutil.copyfile(path, copy)
    sha256, size = model_folder.digest(copy)
    name = f"{kind}-{sha256[:16]}.safetensors"
    copy.rename(made / name)
    return Part(file=name, cut=cut, sha256=sha256, bytes=size)


def _changed(folder: Path, made: Path, manifest: Manifest) -> bool:
    """Give the model that is there what `manifest` names besides; return whether that is anything else.

    Raises:
        ConfigurationError: it is damaged.
        OSError: the disk is full, and so on.
    """
    entry = model_folder.read(folder, manifest.hash)
    _check_files(entry)
    wanted = replace_fields(
        entry.manifest,
        bottlenecks=manifest.bottlenecks or entry.manifest.bottlenecks,
        exits=manifest.exits or entry.manifest.exits,
    )
    if wanted == entry.manifest:
        return False
    model_folder.change(made, wanted)
    return True


def load(
    folder: Path,
    hash_: str,
    *,
    codecs: Sequence[str] | None = None,
    bottlenecks: Sequence[BottleneckCodec] = (),
    exits: Path | None = None,
    threads: int | Sequence[int] = 1,
    device: str = "cpu",
    backend: str = "eager",
) -> PartitionedModel:
    """Return a model of a folder; takes seconds, so call it in a thread.

    Args:
        folder: where.
        hash_: all 16 digits; see `model_folder.resolve`.
        codecs: as for `partition.partitioned.build`, like `device` and `backend`.
        bottlenecks: besides those of the entry; those of other networks are left out.
        exits: in place of those of the entry; see `partition.networks.zoo.load_model`.
        threads: of torch; see `build`.
        device: "cpu", "cuda" or "auto".
        backend: see `build`.

    Raises:
        ConfigurationError: not there, damaged, other bytes than its manifest says, another hash than its
            name, or a source that cannot be opened here.
    """
    entry = model_folder.read(folder, hash_)
    _check_files(entry)
    manifest, file = entry.manifest, entry.path / model_folder.WEIGHTS
    if exits is None and manifest.exits:
        exits = entry.path / manifest.exits[0].file
    trained = {codec.name: codec for codec in bottlenecks}
    for part in manifest.bottlenecks:
        codec = load_bottleneck(entry.path / part.file)
        trained.setdefault(codec.name, codec)
    match manifest.source:
        case BuiltIn(name=name, seed=seed):
            network = load_model(name, weights=file, seed=seed, exits=exits)
        case Callable(text=text, seed=seed):
            network = load_model(text, weights=file, seed=seed, exits=exits)
        case Archive():
            network = load_model(str(entry.path / model_folder.ARCHIVE), weights=file, exits=exits)
        case _:
            assert_never(manifest.source)
    network = replace(
        network,
        name=manifest.name,
        weights_label=manifest.weights_label,
        derived=frozenset(manifest.derived),
    )
    model = build(
        network,
        codecs=codecs,
        bottlenecks=tuple(trained.values()),
        threads=threads,
        device=device,
        backend=backend,
    )
    if model.hash != hash_:
        raise ConfigurationError(
            f"the model {hash_} of {folder} is {model.hash} here: its source ({manifest.name}) or this "
            "software has changed since it was added; add it again on this machine"
        )
    return model


def _check_files(entry: model_folder.Entry) -> None:
    """Hold all bytes of an entry against its manifest, before any of them is read as something."""
    manifest = entry.manifest
    model_folder.require(entry.path / model_folder.WEIGHTS, manifest.weights.sha256)
    if isinstance(manifest.source, Archive):
        model_folder.require(entry.path / model_folder.ARCHIVE, manifest.source.sha256)
    for part in entry.trained:
        model_folder.require(entry.path / part.file, part.sha256)


def _save(module: nn.Module, path: Path) -> None:
    """Write every entry of the state; those that share memory are written once each, which the format asks.

    Raises:
        OSError: the disk is full, and so on.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
    try:
        save_file(state, path)
    except SafetensorError as error:
        # The library says everything with one exception; written here, it can only be the file.
        raise OSError(None, str(error)) from None
