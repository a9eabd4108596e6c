"""Moments of a recording, as people write them: 90, 1:30, 0:01:30.5."""

import re

import click

_SHAPE = re.compile(r"(?:(?:(?P<hours>\d+):)?(?P<minutes>\d{1,2}):)?(?P<seconds>\d+(?:\.\d+)?)")


class Moment(click.ParamType[float]):
    """Seconds after a recording's first message."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = _SHAPE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no moment: give seconds, M:SS or H:MM:SS", param, ctx)
        hours, minutes, seconds = (float(found[part] or 0.0) for part in ("hours", "minutes", "seconds"))
        if (found["minutes"] and seconds >= 60.0) or (found["hours"] and minutes >= 60.0):
            self.fail(
                f"{value!r} is no moment: of an hour there are 60 minutes, of a minute 60 seconds", param, ctx
            )
        return 3600.0 * hours + 60.0 * minutes + seconds
