"""Puts models into a model folder and takes them out again, checked: bytes, and the hash recomputed.

What a model is (its module) comes from a built-in name, an installed package or an archive; its weights
always from `weights.safetensors`, which holds numbers only.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from bus.errors import ConfigurationError
from partition.bottleneck import BottleneckCodec
from partition.models import folder as model_folder
from partition.models.manifests import Archive, BuiltIn, Callable, File, Manifest
from partition.networks.sources import parse
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` has done.

    Attributes:
        hash: of the model.
        new: False if the folder had it already.
    """

    hash: str
    new: bool


def add(folder: Path, text: str, *, weights: Path | None = None, seed: int = 0) -> Added:
    """Put a model into a folder, whole or not at all.

    Args:
        folder: made if it is not there.
        text: what `partition.networks.sources` knows: a built-in name, a callable with its
            arguments, an archive.
        weights: safetensors or a state dictionary; the source's own or seeded ones when None.
        seed: of weights without a file.

    Raises:
        ConfigurationError: a model that cannot be opened or cut, a disk that is full, or a damaged entry of
            the same hash.
    """
    network = load_model(text, weights=weights, seed=seed)
    parsed = parse(text)
    source: BuiltIn | Callable | Archive
    with model_folder.unfinished(folder) as made:
        _save(network.module, made / model_folder.WEIGHTS)
        sha256, size = model_folder.digest(made / model_folder.WEIGHTS)
        match parsed.kind:
            case "name":
                source = BuiltIn(name=text, seed=seed)
            case "callable":
                source = Callable(text=text, seed=seed)
            case "archive":
                shutil.copyfile(text, made / model_folder.ARCHIVE)
                archived, archive_bytes = model_folder.digest(made / model_folder.ARCHIVE)
                source = Archive(sha256=archived, bytes=archive_bytes)
            case _:
                assert_never(parsed.kind)
        manifest = Manifest(
            hash=build(network).hash,
            name=Path(text).name if parsed.kind == "archive" else text,
            source=source,
            weights=File(sha256=sha256, bytes=size),
            weights_label=network.weights_label,
            input_shape=network.input_shape,
            derived=tuple(sorted(network.derived)),
            added=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        new = model_folder.finish(made, manifest)
    if not new:
        _check_files(model_folder.read(folder, manifest.hash))
    return Added(manifest.hash, new)


def load(
    folder: Path,
    hash_: str,
    *,
    codecs: Sequence[str] | None = None,
    bottlenecks: Sequence[BottleneckCodec] = (),
    exits: Path | None = None,
    threads: int = 1,
    device: str = "cpu",
    backend: str = "eager",
) -> PartitionedModel:
    """Return a model of a folder; takes seconds, so call it in a thread.

    Args:
        folder: where.
        hash_: all 16 digits; see `model_folder.resolve`.
        codecs: as for `partition.partitioned.build`, like `device` and `backend`.
        bottlenecks: those of other networks are left out.
        exits: see `partition.networks.zoo.load_model`.
        threads: of torch.
        device: "cpu", "cuda" or "auto".
        backend: see `build`.

    Raises:
        ConfigurationError: not there, damaged, other bytes than its manifest says, another hash than its
            name, or a source that cannot be opened here.
    """
    entry = model_folder.read(folder, hash_)
    _check_files(entry)
    manifest, file = entry.manifest, entry.path / model_folder.WEIGHTS
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
        network, codecs=codecs, bottlenecks=bottlenecks, threads=threads, device=device, backend=backend
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
    for part in (*manifest.bottlenecks, *manifest.exits):
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
