"""From a TOML file to an `Experiment`, or one sentence that says what is wrong and where."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from bus.errors import ConfigurationError
from lab.simulator.grid import Axes, Cell, axes_of, in_cell, in_words
from lab.simulator.merging import Table, item_of, merged
from lab.simulator.names import nearest
from lab.simulator.spec import (
    FIGURES,
    PRESETS,
    TIMED_FIGURES,
    TUNED,
    Experiment,
    Family,
    Learner,
    Site,
    World,
)

_NO_CELL: Mapping[str, str] = {}


def load(
    path: Path, *, overrides: Sequence[str] = (), only: Sequence[str] = (), cell: Cell = _NO_CELL
) -> Experiment:
    """Read an experiment.

    Args:
        path: a TOML file.
        overrides: "world.frames=100", each value as TOML writes it; applied before anything is checked, and
            after what a cell changes.
        only: names of policies to keep; all when empty.
        cell: of the file's grid; the file as it stands when empty.

    Raises:
        ConfigurationError: no such file, no TOML, an unknown key, a value out of range; one sentence.
    """
    table = _read(path)
    axes = _axes(table, path)
    where = f", in the cell {in_words(cell)}" if cell else ""
    try:
        if cell:
            table = in_cell(table, axes, cell)
        for override in overrides:
            _override(table, override)
        return _experiment(table, only)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}{where}: {error}") from None


def axes_in(path: Path) -> Axes:
    """Return the axes of an experiment's grid; none where it has no grid.

    Raises:
        ConfigurationError: as `load`.
    """
    return _axes(_read(path), path)


def _read(path: Path) -> Table:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the experiment {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None


def _axes(table: Table, path: Path) -> Axes:
    try:
        return axes_of(table.get("grid", {}))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _experiment(table: Table, only: Sequence[str]) -> Experiment:
    policies = table.pop("policies", None)
    if not isinstance(policies, dict) or not policies:
        raise ConfigurationError("no policy plays: add a section such as [policies.linucb]")
    for name in only:
        if name not in policies:
            raise ConfigurationError(f"there is no policy {name!r}{nearest(name, policies)}")
    family = _section(table.pop("family", {}), "family")
    world = table.get("world")
    if not isinstance(world, dict):
        raise ConfigurationError("no world: add a section [world] with kind = 'synthetic' or 'site'")
    world.setdefault("kind", "site")
    table["policies"], table["worlds"] = {}, {}
    for name, entry in policies.items():
        if only and name not in only:
            continue
        if not re.fullmatch(r"\w[\w.-]{0,63}", name, re.ASCII):
            raise ConfigurationError(
                f"policies: {name!r} will not do as a name: it names a folder, so letters, digits, _ . and -"
            )
        entry = _section(entry, f"policies.{name}")  # noqa: PLW2901 - the same, looked at
        changed = _section(entry.pop("world", {}), f"policies.{name}.world")
        table["policies"][name] = _learner(name, entry, family)
        table["worlds"][name] = _world(merged(world, changed), f"policies.{name}.world")
    table["world"] = _world(world, "world")
    experiment: Experiment = _convert(table, Experiment, "", _fields(Experiment))
    _check_published(experiment, list(policies))
    return experiment


def _check_published(experiment: Experiment, policies: Sequence[str]) -> None:
    """Refuse a published figure that no run can stand beside; policies that do not play now may have some."""
    for policy, figures in experiment.published.items():
        if policy not in policies:
            raise ConfigurationError(f"published: there is no policy {policy!r}{nearest(policy, policies)}")
        timed = isinstance(experiment.worlds.get(policy, experiment.world), Site)
        known = (*FIGURES, *TIMED_FIGURES) if timed else FIGURES
        for name in figures:
            if name not in known:
                raise ConfigurationError(
                    f"published.{policy}: there is no figure {name!r}{nearest(name, known)}"
                )


def _section(value: object, place: str) -> Table:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{place} is a section: [{place}]")
    return value


def _learner(name: str, entry: Table, family: Table) -> Learner:
    """Return who plays under a name: what the file says, over the family's settings, over what was tuned."""
    said = str(entry.get("learner", name))
    preset = PRESETS.get(said, {"learner": said})
    tags = {kind.__struct_config__.tag: kind for kind in get_args(Learner)}
    kind = tags.get(preset["learner"])
    if kind is None:
        known = sorted({*PRESETS, *map(str, tags)})
        raise ConfigurationError(f"policies.{name}: there is no learner {said!r}{nearest(said, known)}")
    settings = {key: value for key, value in entry.items() if key != "learner"}
    shared = family if kind is Family else {}
    whole = {**TUNED.get(said, {}), **preset, **shared, **settings, "learner": preset["learner"]}
    # What makes a preset what it is yields only to the policy's own section.
    whole |= {key: value for key, value in preset.items() if key not in settings}
    learner: Learner = _convert(whole, kind, f"policies.{name}", _fields(kind))
    return learner


def _world(table: Table, place: str) -> World:
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(World)}
    kind = kinds.get(str(table.get("kind")))
    if kind is None:
        raise ConfigurationError(
            f"{place}: there is no kind {table.get('kind')!r}{nearest(str(table.get('kind')), kinds)}"
        )
    world: World = _convert(table, kind, place, _fields(kind))
    types = getattr(world, "types", ())
    names = [kind.name for kind in types]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{place}.types: two types are called {name!r}")
    if isinstance(world, Site) and world.edge_whole_ms is not None and world.edge_slowness != 1.0:
        raise ConfigurationError(f"{place}: give edge_whole_ms or edge_slowness, not both")
    for i, kind in enumerate(types):
        if kind.declared and kind.declared not in names:
            raise ConfigurationError(
                f"{place}.types[{i}].declared: there is no type {kind.declared!r}"
                f"{nearest(kind.declared, names)}"
            )
        if kind.join_at_s is not None and kind.join_after_frames is not None:
            raise ConfigurationError(f"{place}.types[{i}]: give join_at_s or join_after_frames, not both")
        if kind.whole_ms is not None and kind.slowness != 1.0:
            raise ConfigurationError(f"{place}.types[{i}]: give whole_ms or slowness, not both")
    return world


def _convert(table: Table, kind: Any, place: str, fields: Sequence[str]) -> Any:  # noqa: ANN401 - any struct
    try:
        return msgspec.convert(table, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_sentence(str(error), place, fields)) from None


def _sentence(error: str, place: str, fields: Sequence[str]) -> str:
    """Turn the library's message into ours: the place in the file, and the nearest valid name."""
    said, _, path = error.partition(" - at `$")
    where = ".".join(part for part in (place, path.rstrip("`").removeprefix(".")) if part)
    unknown = re.search(r"unknown field `(.+?)`", said)
    if unknown:
        names = fields if not path else _NESTED
        said = f"there is no key {unknown[1]!r}{nearest(unknown[1], names)}"
    return f"{where}: {said}" if where else said


def _fields(kind: Any) -> list[str]:  # noqa: ANN401 - any struct
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _nested_fields() -> list[str]:
    """Names of the keys of sections inside a world."""
    from lab.simulator import spec  # noqa: PLC0415 - only to list what it holds

    kinds = (*get_args(spec.World), spec.DeviceType, spec.Lies, spec.Noise, spec.Channel, spec.Constant)
    return sorted({name for kind in kinds for name in _fields(kind)})


_NESTED = _nested_fields()


def _override(table: Table, said: str) -> None:
    """Apply one "a.b.c=value"."""
    key, equals, value = said.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigurationError(f"--set {said!r} will not do: say --set world.frames=100")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string
    inner: Any = table
    for name, part in zip(("the file", *parts), parts[:-1], strict=False):
        inner = inner[item_of(name, inner, part)] if isinstance(inner, list) else inner.setdefault(part, {})
        if not isinstance(inner, dict | list):
            raise ConfigurationError(f"--set {said!r} will not do: {part} is no section")
    if isinstance(inner, list):
        inner[item_of(parts[-2], inner, parts[-1])] = parsed
    else:
        inner[parts[-1]] = parsed
