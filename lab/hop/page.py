"""The page of a run in `docs/results/` with its figure: written by the run, never by hand."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bus.errors import ConfigurationError
from lab.hop.rows import ENGINES, GRPC, MQTT, TCP
from lab.hop.shares import Figures, Found, Share
from lab.hop.spec import Hop, HopLink
from lab.simulator.compare import LEAST_SEEDS
from lab.simulator.report import IN_SHORT

_COLOURS = ("#0072b2", "#b35a00", "#0b6b3a")
_HEADINGS = (
    "arm", "transport", "request bytes", "p50 ms", "p95", "p99", "head and codec", "edge worker", "under way",
    "beyond TCP, ms", "share of the frame, %", "under way alone, %",
)  # fmt: skip


def write_page(
    hop: Hop,
    found: Found,
    page: Path,
    *,
    command: str,
    provenance: str,
    rival_brokers: bool,
    busy: str = "",
) -> None:
    """Write the page, and the figure beside it as NAME-share.png.

    Args:
        hop: what was played.
        found: what came out.
        page: NAME.md.
        command: that wrote it.
        provenance: versions and machine, in words.
        rival_brokers: whether every broker was there.
        busy: by what the machine was disturbed, if it was.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    where = f", **on a machine that {busy}**" if busy else ""
    picture = page.with_name(f"{page.stem}-share.png")
    parts = [
        f"# {hop.title}",
        hop.asks,
        f"{IN_SHORT} measured, not simulated{where}. {in_short(hop, found)}",
        *_setting(hop, found, command),
        *([] if rival_brokers else ["**mosquitto was not there: nothing is said of it.**"]),
        *(part for link in hop.links for part in _of_link(link, found)),
        f"![share of the median frame that a transport takes beyond direct TCP]({picture.name})",
        "Bars: share of the whole frame, with its interval; dots: by the time under way alone.",
        _reading(),
        provenance,
    ]
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        with mpl.rc_context({"font.size": 9}):
            draw(hop, found).savefig(picture, dpi=130, facecolor="white")
    except OSError as error:
        raise ConfigurationError(f"cannot write the page {page}: {error.strerror}") from None


def in_short(hop: Hop, found: Found) -> str:
    """Return the least and the largest share of each transport, and whether answers were the same."""
    said = []
    names = [MQTT + engine for engine in reversed(ENGINES)] + [GRPC]
    for name in names:
        of = [each for each in found.figures if each.transport == name]
        if of:
            said.append(f"by {name} {_range(of)}")
    same = (
        f"All transports gave the same answers on all {found.frames:,} frames."
        if not found.disagreed
        else f"**On {found.disagreed:,} of {found.frames:,} frames the answers differed.**"
    )
    few = "" if hop.repetitions >= LEAST_SEEDS else f" ({hop.repetitions} repetitions: no intervals)"
    return (
        f"Of the median frame the hop takes{few}, beyond a direct TCP connection: {'; '.join(said)}. {same}"
    )


def _range(of: Sequence[Figures]) -> str:
    """Return the least and the largest share of one transport, and what it is under way alone."""
    ordered = sorted(of, key=lambda each: each.whole.value)
    ends = (
        f"{_share(each.whole)} % [{each.whole.beyond_ms:.1f} ms; `{each.arm}`, {each.link}]"
        for each in (ordered[0], ordered[-1])
    )
    ways = [100 * each.way.value for each in of]
    return f"{' to '.join(ends)}, and {min(ways):.1f} to {max(ways):.1f} % under way alone"


def _share(share: Share) -> str:
    interval = "" if share.ci95 is None else f" ({100 * share.ci95[0]:.1f} to {100 * share.ci95[1]:.1f})"
    return f"{100 * share.value:.1f}{interval}"


def _setting(hop: Hop, found: Found, command: str) -> Iterator[str]:
    yield (
        f"One device process plays pictures through `{hop.network}` (drawn weights): preprocessing, head, "
        "codec, request; one answering process decodes, runs the tail and answers, whoever asks. The bytes "
        "of request and reply are those of our bus in every case. By MQTT they pass a broker beside the "
        "answering process, configured as `cans broker` does (mosquitto; amqtt, the embedded one); by TCP, "
        "length-prefixed, and by gRPC aio, a generic method of bytes, they go there directly. Each picture "
        "is played by every transport, in an order in which each follows each other equally often (Williams "
        f"square); {hop.repetitions} repetitions of {hop.frames} frames for each arm and link, "
        f"{found.frames:,} pictures in all, one frame at a time."
    )
    yield (
        "Real: network, codecs, brokers, messages, processes, sockets, every latency, and the device's "
        "speed, which is this machine's. Emulated: links other than loopback, by a shaping TCP proxy between "
        "the device and whom it talks to (the same for all; `lab/proxy.py`). In brackets 95 % intervals over "
        f"repetitions (bootstrap, BCa). Written by\n\n    {command}"
    )


def _of_link(link: HopLink, found: Found) -> Iterator[str]:
    shape = link.shape
    what = "nothing emulated"
    if shape is not None:
        rates = f"{shape.up_mbit_s:g} Mbit/s up, {shape.down_mbit_s:g} down"
        what = f"emulated: {rates}, {shape.delay_ms:g} ms one way"
    yield f"## {link.name} ({what})"
    rows = (_cells(each) for each in found.figures if each.link == link.name)
    table = [_HEADINGS, ("---",) * len(_HEADINGS), *rows]
    yield "\n".join("| " + " | ".join(row) + " |" for row in table)


def _cells(one: Figures) -> Sequence[str]:
    ms = (one.p50_ms, one.p95_ms, one.p99_ms, one.front_ms, one.edge_ms, one.way_ms)
    beyond = (f"{one.whole.beyond_ms:+.2f}", _share(one.whole), _share(one.way))
    return (
        f"`{one.arm}`",
        one.transport,
        f"{one.request_bytes:,.0f}",
        *(f"{each:.1f}" for each in ms),
        *(beyond if one.transport != TCP else ("",) * len(beyond)),
    )


def _reading() -> str:
    return (
        "How to read it: head and codec, edge worker and under way are medians, so they need not add up to "
        "p50; under way is all that neither side computes. Heads and tails are computed anew for each "
        "transport and their noise is in the share of the frame; the last column looks at the time under way "
        "alone, and so leaves out what a transport's threads take from the computing. The share is that of "
        "frames of this machine: a slower device's frame is longer and the same hop a smaller share of it. A "
        "broker elsewhere than beside the edge worker would add that way, and a broker that others keep busy "
        "its queue; neither is here. What the broker buys for it (one address for all, wills, retained "
        "groups, no open port on the edge worker) is not in the figures either."
    )


def draw(hop: Hop, found: Found) -> Figure:
    """Return shares with their intervals, by link, one panel an arm."""
    figure = Figure(figsize=(3.6 * len(hop.arms), 3.4), layout="constrained")
    panels = figure.subplots(1, len(hop.arms), sharey=True, squeeze=False)[0]
    names = [name for name in dict.fromkeys(each.transport for each in found.figures) if name != TCP]
    by: Mapping[tuple[str, str, str], Figures] = {
        (each.link, each.arm, each.transport): each for each in found.figures
    }
    width = 0.8 / max(1, len(names))
    for axes, arm in zip(panels, hop.arms, strict=True):
        for i, name in enumerate(names):
            of = [by[link.name, arm, name] for link in hop.links]
            places = [at + (i - (len(names) - 1) / 2) * width for at in range(len(of))]
            bars = [100 * each.whole.value for each in of]
            axes.bar(places, bars, width, label=name, color=_COLOURS[i % len(_COLOURS)])
            for at, each in zip(places, of, strict=True):
                ends = each.whole.ci95 or ()
                axes.plot([at] * len(ends), [100 * end for end in ends], color="black", linewidth=1)
                axes.plot(at, 100 * each.way.value, marker="o", markersize=4, color="white", mec="black")
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(hop.links)), [link.name for link in hop.links])
        axes.set_title(arm)
        axes.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel("share of the median frame\nbeyond direct TCP, %")
    panels[0].legend(fontsize=8)
    return figure
