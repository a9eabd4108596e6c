"""What a person sees, and is asked, while a recording is played."""

import asyncio
import sys
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bus.recording.reading import span_of
from cans.recording.replayer import Replayed, Replayer, ReplaySettings


async def replay_and_tell(settings: ReplaySettings, out: TextIO, *, quiet: bool) -> Replayed:
    """Play, say how far it is, and at the end what became of it.

    Raises:
        ConfigurationError: as `Replayer.run`.
    """
    console = Console(file=out, highlight=False, soft_wrap=True)
    if not quiet:
        console.print(f"replay: {settings.file} onto {settings.onto}/#", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(f"replaying {settings.file}", total=await asyncio.to_thread(_length_s, settings))

        def tell(so_far: Replayed) -> None:
            done_s = so_far.at_s - settings.from_s
            bar.update(task, completed=done_s, description=f"{so_far.at_s:.1f} s, {_counted(so_far)}")

        async def ask() -> None:
            console.print(f"replay: paused at {settings.pause_at_s:g} s; Enter goes on", markup=False)
            await _line()

        replayer = Replayer(settings, ask, tell)
        try:
            return await replayer.run()
        finally:
            bar.stop()
            if not quiet:
                for sentence in in_words(replayer.replayed):
                    console.print(f"replay: {sentence}", markup=False)


def in_words(replayed: Replayed) -> list[str]:
    """Return what became of a replay, in sentences."""
    if not replayed.messages and replayed.rounds:
        return ["nothing was played: no message is in that part, or on those topics"]
    said = [_counted(replayed) + (f", {replayed.rounds} times through" if replayed.rounds > 1 else "")]
    if replayed.lateness:
        late = ", ".join(f"p{100 * share:g} {replayed.late_ms(share):.1f} ms" for share in (0.5, 0.99))
        said.append(f"late by {late}, at most {replayed.late_ms(1.0):.1f} ms")
    if replayed.lost:
        said.append(f"{replayed.lost} messages were lost with the connection")
    if replayed.refused:
        said.append(f"{replayed.refused} messages were refused: {replayed.why}")
    if replayed.left_out:
        said.append(f"{replayed.left_out} messages of the broker itself were left out")
    if replayed.ending is not None and replayed.ending.kind != "whole":
        said.append(
            f"the file is {replayed.ending.kind}: {replayed.ending.detail}; what is behind that is not played"
        )
    return said


def _counted(replayed: Replayed) -> str:
    return f"{replayed.messages} messages, {replayed.bytes / 1e6:.1f} MB"


def _length_s(settings: ReplaySettings) -> float | None:
    """Return how long the part is; None where the file has no index that says so. Blocks."""
    try:
        with settings.file.open("rb") as stream:
            span = span_of(stream)
    except OSError:
        return None  # who plays it will say so
    if span is None:
        return None
    return max(0.0, min(settings.to_s, (span[1] - span[0]) / 1e9) - settings.from_s)


async def _line() -> None:
    """Wait for a line at the keyboard, in a way that Ctrl-C ends; not at all where there is none any more."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(sys.stdin, there.set)
    try:
        await there.wait()
        sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)
