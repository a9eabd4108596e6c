"""The demo on a terminal: what each device does now, and what its group knows."""

from rich.console import Group
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cans.demo.gather import Gathered
from cans.demo.plan import LEARNER, DemoSettings

_RECENT = 20


def render(settings: DemoSettings, heard: Gathered, now: float, stage: str) -> Panel:
    """Return the view at `now`."""
    turns = sum(heard.turns(device, LEARNER) for device in settings.devices)
    total = settings.frames * len(settings.devices)
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(stage),
        ProgressBar(total=total, completed=turns, width=30),
        f"{turns}/{total} frames",
        f"{heard.per_second(now):.0f} messages/s",
    )
    return Panel(
        Group(head, _devices(settings, heard), _groups(heard)),
        title="cans demo: devices learn together where to cut",
        subtitle="links and slower devices are emulated, weights are seeded",
    )


def progress(settings: DemoSettings, heard: Gathered) -> str:
    """How far each device is, and what its learner plays now, in one line."""
    told = []
    for device in settings.devices:
        said = heard.latest.get(device)
        now = f", now {said.cut}/{said.codec} {said.total_ms:.0f} ms" if said else ""
        told.append(f"{device} {heard.turns(device, LEARNER)}/{settings.frames}{now}")
    return "; ".join(told)


def _devices(settings: DemoSettings, heard: Gathered) -> Table:
    """One row a device: its learner's latest frame."""
    table = Table("device", "type", "cut", "codec", "by", expand=True)
    for stage in ("head", "encode", "link", "queue", "tail", "total"):
        table.add_column(stage, justify="right")
    table.add_column("last 20", justify="right")
    for device, kind in settings.devices.items():
        said = heard.latest.get(device)
        if said is None:
            state = heard.states.get(("device", device))
            table.add_row(device, kind.name, "-", "-", state.state if state else "starting")
            continue
        recent = [each.total_ms for each in heard.feedback[device, LEARNER][-_RECENT:]]
        stages = (
            said.head_ms + said.fallback_ms,
            said.encode_ms,
            said.link_ms,
            said.queue_ms,
            said.decode_ms + said.tail_ms,
            said.total_ms,
            sum(recent) / len(recent),
        )
        numbers = (f"{value:.0f}" for value in stages)
        table.add_row(device, kind.name, str(said.cut), said.codec, said.answered_by, *numbers)
    return table


def _groups(heard: Gathered) -> Table:
    table = Table("group", "version", "rows", "members", expand=True)
    for name, group in sorted(heard.groups.items()):
        table.add_row(name, str(group.version), str(group.count), str(group.members))
    return table
