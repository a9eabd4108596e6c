"""The cells of a grid: each combination of one value of every axis. Pure.

A section [grid] of an experiment names axes, each axis its values, each value what it changes of the file, by
the dotted keys that `--set` has:

    [grid.link."1 Mbit/s"]
    world.types.0.link = { kind = "constant", mbit_s = 1.0 }
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from bus.errors import ConfigurationError
from lab.simulator.merging import Table, merged
from lab.simulator.names import nearest

Axes = Mapping[str, Mapping[str, Table]]
"""Axis to value to what it changes, in the order of the file."""
Cell = Mapping[str, str]
"""Axis to value."""
_AXIS = re.compile(r"\w[\w-]{0,31}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9][\w .:/+-]{0,47}", re.ASCII)


def axes_of(grid: object) -> Axes:
    """Return the axes of a section [grid]; none of an empty one.

    Raises:
        ConfigurationError: an axis without values, or names that patterns and folders cannot have.
    """
    if not isinstance(grid, dict):
        raise ConfigurationError("grid is a section: [grid.AXIS.VALUE]")
    for axis, values in grid.items():
        if not _AXIS.fullmatch(axis):
            raise ConfigurationError(f"grid: {axis!r} will not do as an axis: letters, digits, _ and -")
        if not isinstance(values, dict) or not values:
            raise ConfigurationError(f"grid.{axis} needs values: [grid.{axis}.VALUE]")
        for value, changes in values.items():
            _check_value(axis, value, changes)
        folders = [_in_folders(value) for value in values]
        for value, folder in zip(values, folders, strict=True):
            if folders.count(folder) > 1:
                raise ConfigurationError(f"grid.{axis}: {value!r} and another value are one folder, {folder}")
    return grid


def _check_value(axis: str, value: str, changes: object) -> None:
    if not _VALUE.fullmatch(value):
        raise ConfigurationError(
            f"grid.{axis}: {value!r} will not do as a value: letters, digits, spaces and _ . : / + -"
        )
    if not isinstance(changes, dict):
        raise ConfigurationError(f"grid.{axis}.{value} is a section of what it changes")


def cells_of(axes: Axes) -> list[Cell]:
    """Return all cells, the last axis changing first; none where there is no axis."""
    if not axes:
        return []
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def chosen(axes: Axes, patterns: Sequence[str]) -> list[Cell]:
    """Return the cells that any pattern names, in their order; all where there is no pattern.

    Args:
        axes: of the grid.
        patterns: "link=1 Mbit/s,edge=idle"; an axis that is left out may have any value, and a value may
            hold * and ?.

    Raises:
        ConfigurationError: no such axis, no such value, or no grid.
    """
    if patterns and not axes:
        raise ConfigurationError(f"--cells {patterns[0]!r}: the experiment has no section [grid]")
    wanted = [_read(axes, pattern) for pattern in patterns]
    return [
        cell
        for cell in cells_of(axes)
        if not wanted
        or any(all(fnmatchcase(cell[axis], value) for axis, value in one.items()) for one in wanted)
    ]


def _read(axes: Axes, pattern: str) -> Cell:
    found = {}
    for part in pattern.split(","):
        axis, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not axis or not value:
            raise ConfigurationError(f"--cells {pattern!r} will not do: say --cells AXIS=VALUE,AXIS=VALUE")
        if axis not in axes:
            raise ConfigurationError(f"--cells {pattern!r}: there is no axis {axis!r}{nearest(axis, axes)}")
        if axis in found:
            raise ConfigurationError(f"--cells {pattern!r} names the axis {axis!r} twice: repeat --cells")
        if not any(fnmatchcase(each, value) for each in axes[axis]):
            raise ConfigurationError(
                f"--cells {pattern!r}: {axis} has no value {value!r}{nearest(value, axes[axis])}"
            )
        found[axis] = value
    return found


def in_words(cell: Cell) -> str:
    """Return a cell as `--cells` takes it."""
    return ",".join(f"{axis}={value}" for axis, value in cell.items())


def folder_of(cell: Cell) -> str:
    """Return the name of a cell's folder: its values in the order of the axes."""
    return ",".join(_in_folders(value) for value in cell.values())


def _in_folders(value: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", value, flags=re.ASCII).lower()


def in_cell(table: Table, axes: Axes, cell: Cell) -> Table:
    """Return an experiment's table as it is in a cell, without the grid.

    Raises:
        ConfigurationError: no such cell, or a value that changes what is not there to be changed.
    """
    if list(cell) != list(axes) or any(value not in axes[axis] for axis, value in cell.items()):
        raise ConfigurationError(f"the grid has no cell {in_words(cell)}")
    whole = {key: value for key, value in table.items() if key != "grid"}
    for axis, value in cell.items():
        changes = axes[axis][value]
        try:
            whole = merged(whole, changes)
        except ConfigurationError as error:
            raise ConfigurationError(f"grid.{axis}.{value}: {error}") from None
    policies = table.get("policies")
    if isinstance(policies, dict):
        for name in whole["policies"]:
            if name not in policies:
                raise ConfigurationError(
                    f"grid: a cell may change policies, not add {name!r}{nearest(name, policies)}"
                )
    return whole
