"""What a person sees while something is recorded."""

from typing import TextIO

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bus.topics import FEEDBACK, INFER, REPLY, STATS
from cans.recording.recorder import Recorded, Recorder, RecordSettings

_FRAMES = 20
"""Feedback of so many frames, and nothing else, is no accident."""
_WITHHELD = (
    "no request, answer or statistics were heard, which an access list lets only those concerned read: this "
    "recording can be shown, explained and evaluated, and neither rewound nor played to an edge worker "
    "(docs/recordings.md)"
)


async def record_and_tell(settings: RecordSettings, out: TextIO, *, quiet: bool) -> Recorded:
    """Record, say what has been recorded meanwhile, and at the end.

    Raises:
        ConfigurationError: as `Recorder.run`.
    """
    console = Console(file=out, highlight=False, soft_wrap=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(f"recording {' '.join(settings.subscribed)}")
        if not quiet and not console.is_terminal:  # a log shows no bar
            console.print(f"record: {' '.join(settings.subscribed)} into {settings.out}", markup=False)
        recorder = Recorder(settings, lambda so_far: bar.update(task, description=in_words(so_far)))
        try:
            return await recorder.run()
        finally:
            bar.stop()
            if not quiet:
                files = ", ".join(map(str, recorder.recorded.files))
                if files:
                    console.print(f"record: {in_words(recorder.recorded)}: {files}", markup=False)
                if withheld(recorder.recorded, settings):
                    console.print(f"record: {_WITHHELD}", markup=False)


def withheld(recorded: Recorded, settings: RecordSettings) -> bool:
    """Whether the broker has probably kept from this login what only those concerned may read.

    A broker grants a subscription and delivers nothing of it. Devices that keep all their frames for so long,
    and never send what they have learned, would look alike.
    """
    private = (INFER.name, REPLY.name, STATS.name)
    asked = not settings.filters
    return asked and recorded.heard[FEEDBACK.name] >= _FRAMES and not any(map(recorded.heard.get, private))


def in_words(recorded: Recorded) -> str:
    """Return what has been recorded as a person would say it."""
    words = f"{recorded.messages} messages, {recorded.size / 1e6:.1f} MB"
    if recorded.gaps:
        words += f", {recorded.gaps} gaps" + (f", {recorded.lost} messages lost" if recorded.lost else "")
    return words
