"""Coordinate descent over a small grid, as a pure function of what has been played so far.

It keeps nothing: asked again with more means it retraces its steps, so a search that was interrupted goes on
where it was.
"""

from collections.abc import Mapping, Sequence

Value = float | int | str | bool
Grid = Mapping[str, Sequence[Value]]
Point = tuple[Value, ...]
"""One value of each knob, in the order of the grid."""

PASSES = 2
"""At most so often over all knobs: the first values are good guesses, and tuning is to stay cheap."""


def descend(grid: Grid, means: Mapping[Point, float]) -> tuple[Point, list[Point]]:
    """Return the best point so far, and the points whose means are needed before the search can go on.

    Args:
        grid: values of each knob; the search starts from the first of each.
        means: of the points played so far; less is better, and of equals the one that was there stays.

    Returns:
        The point where the search stands, its end if nothing is needed any more.
    """
    lines = list(grid.values())
    point: Point = tuple(values[0] for values in lines)
    for _ in range(PASSES):
        before = point
        for knob, values in enumerate(lines):
            line = [(*point[:knob], value, *point[knob + 1 :]) for value in values]
            missing = [each for each in line if each not in means]
            if missing:
                return point, missing
            point = min([point, *line], key=means.__getitem__)
        if point == before:
            break
    return point, []
