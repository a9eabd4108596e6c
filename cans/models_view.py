"""What `cans models` prints, and what it does to the folder."""

import json
from pathlib import Path

import click
import msgspec

from bus.errors import ConfigurationError
from partition.models import folder as model_folder
from partition.models.manifests import Manifest

_MIB = 1024 * 1024


def show_all(folder: Path, *, as_json: bool) -> None:
    """Print every entry; a damaged one with what is wrong, without hiding the others."""
    hashes = model_folder.hashes(folder)
    if not hashes and not as_json:
        click.echo(f"{folder} holds no models: add one with `cans models add SOURCE`")
    for hash_ in hashes:
        try:
            entry = model_folder.read(folder, hash_)
        except ConfigurationError as error:
            click.echo(json.dumps({"hash": hash_, "error": str(error)}) if as_json else f"{hash_}  {error}")
            continue
        manifest = entry.manifest
        if as_json:
            said = msgspec.to_builtins(manifest) | {"names": entry.names, "bytes": entry.bytes}
            click.echo(json.dumps(said))
        else:
            called = f"  [{', '.join(entry.names)}]" if entry.names else ""
            size = (
                f"{entry.bytes / _MIB:9.2f} MiB" if entry.bytes >= _MIB else f"{entry.bytes / 1024:9.2f} KiB"
            )
            click.echo(
                f"{hash_}  {size}  {manifest.added}  {manifest.name} ({manifest.weights_label})"
                f"{_trained_words(manifest)}{called}"
            )


def _trained_words(manifest: Manifest) -> str:
    """Say what was trained for a model and goes with it."""
    said = [f"bottleneck at cut {part.cut}" for part in manifest.bottlenecks] + ["exits"] * bool(
        manifest.exits
    )
    return f" + {', '.join(said)}" if said else ""


def show_one(folder: Path, word: str, *, check: bool) -> None:
    """Print one manifest.

    Raises:
        ConfigurationError: no such model, or, with `check`, one that cannot be loaded.
    """
    entry = model_folder.read(folder, model_folder.resolve(folder, word))
    if check:
        from partition.models.entries import load  # noqa: PLC0415 - torch, which takes a second

        load(folder, entry.hash)
    said = msgspec.to_builtins(entry.manifest) | {"names": entry.names, "bytes": entry.bytes}
    click.echo(json.dumps(said, indent=2))


def add_one(
    folder: Path,
    source: str,
    *,
    weights: Path | None,
    seed: int,
    bottlenecks: tuple[Path, ...],
    exits: Path | None,
    name: str | None,
) -> None:
    """Add a model, with what was trained for it, and say its hash.

    Raises:
        ConfigurationError: it cannot be opened, cut or written, a file is another model's, or the name will
            not do.
    """
    from partition.models.entries import add  # noqa: PLC0415 - torch, which takes a second

    if name is not None:
        model_folder.require_alias(name)  # before seconds are spent
    added = add(folder, source, weights=weights, seed=seed, bottlenecks=bottlenecks, exits=exits)
    there = " was there already" if not added.new else ""
    click.echo(f"{added.hash}{there}{', and has other trained files now' if added.changed else ''}")
    if name is not None:
        click.echo(f"{name} is {model_folder.use(folder, name, added.hash)}")
