"""`cans partition --html`: one page that needs nothing else, of what was found and measured."""

import io
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from cans.pages import environment, write_whole
from cans.partition_rows import codecs_of, percent, rows_of, sentences_of, spans_of
from cans.partition_view import HOW, Found, PartitionSettings, remarks_of, tensors_in_words
from cans.versions import versions
from lab.arm_map_figure import draw
from partition.graphs.survey import CutFound, Survey
from partition.measured import Measured

_TEMPLATE = "partition_report.html.jinja"
_VERSIONS = ("cans", "python", "torch", "numpy")
_OPERATORS = 12
# Of the figure of cuts, in its own units.
_ROW, _TOP, _BAR = 22, 30, 250
_BAR_FLOOR = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A useful cut in the figure: where its row is, how long its bars are, what stands beside them."""

    y: int
    name: str
    sent: float
    sent_text: str
    work: float
    work_text: str


def write(settings: PartitionSettings, found: Found, path: Path, *, command: str) -> None:
    """Write the page; what was there before stays until all of it is written.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    write_whole(path, page(settings, found, command=command, when=datetime.now(UTC)))


def page(settings: PartitionSettings, found: Found, *, command: str, when: datetime) -> str:
    """Return the page: everything that comes from a network or a person is escaped."""
    seen, measured = found.survey, found.measured
    useful = [cut for cut in seen.cuts if cut.useful]
    rows = [] if measured is None else rows_of(measured)
    here = versions()
    pages = environment(percent=percent, tensors=tensors_in_words)
    return pages.get_template(_TEMPLATE).render(
        settings=settings,
        found=found,
        seen=seen,
        useful=useful,
        bars=bars_of(seen, useful),
        height=_TOP + _ROW * len(useful) + 6,
        operators=seen.operators[:_OPERATORS],
        remarks=remarks_of(seen),
        how=HOW[seen.how],
        measured=measured,
        rows=rows,
        codecs=codecs_of(rows),
        sentences=[] if measured is None else sentences_of(measured),
        spans={} if measured is None else spans_of(measured),
        map=None if measured is None else _map(measured),
        command=command,
        when=when.strftime("%Y-%m-%d %H:%M UTC"),
        versions={name: here[name] for name in _VERSIONS},
    )


def bars_of(seen: Survey, useful: list[CutFound]) -> list[Bar]:
    """Return the bars: bytes over the most of any, work over the network's."""
    most = max(1, *(cut.nbytes for cut in useful))
    work = max(1, seen.macs)
    return [
        Bar(
            y=_TOP + _ROW * number,
            name=f"{cut.index} {_short(cut.after)}",
            sent=_length(cut.nbytes / most),
            sent_text=_size(cut.nbytes),
            work=_length(cut.macs / work),
            work_text=percent(cut.macs / work),
        )
        for number, cut in enumerate(useful)
    ]


def _length(share: float) -> float:
    """Return a bar's length; what is not nothing is seen."""
    return round(max(_BAR_FLOOR, share * _BAR), 1) if share > 0.0 else 0.0


def _size(nbytes: int) -> str:
    if nbytes < 1000:
        return f"{nbytes} B"
    unit = min(3, int(math.log10(nbytes) // 3))
    return f"{nbytes / 1000**unit:.3g} {('', 'kB', 'MB', 'GB')[unit]}"


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"


def _map(measured: Measured) -> Markup | None:
    """Return the map as SVG in the page's own colours; None where a range is a point."""
    found = measured.map
    if min(found.winners.shape) < 2:
        return None
    drawn = io.BytesIO()
    title = f"best arm, wait {found.wait_s * 1e3:g} ms"
    draw(found, measured.costs.labels, drawn, title=title, gain=measured.gain)
    svg = drawn.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Its style would be the page's, and its ink is a compromise between paper and night.
    svg = svg.replace("*{", ".map *{").replace("#767676", "currentColor")
    said = "; ".join(
        f"{measured.arms[arm].label} on {percent(share)}" for arm, share in measured.shares().items()
    )
    label = Markup.escape(f"Map of the best arm over link rate and edge speed-up: {said}")
    svg = svg.replace("<svg ", f'<svg class="map" role="img" aria-label="{label}" ', 1)
    return Markup(svg)  # noqa: S704 - drawn here; names of arms are text nodes that matplotlib has escaped
