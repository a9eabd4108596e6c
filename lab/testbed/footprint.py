"""What the processes of a site hold and spend as time goes by: a sample after each block.

Samples are written as they are taken, to a file beside the repetition's, so a run that ends badly has them
still; once the repetition is kept they are in it, and the file is gone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from lab.testbed.coordinator import Turn
from lab.testbed.plan import Block
from lab.testbed.samples import Held, Sample


def held_by(pids: Mapping[str, int]) -> dict[str, Held]:
    """Return what each process holds now; who has just gone is missing."""
    found = {}
    for name, pid in pids.items():
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory = process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        found[name] = Held(resident_bytes=memory, cpu_s=times.user + times.system)
    return found


class Footprints:
    """Takes the samples of one repetition.

    Args:
        path: file to write them to, a line each; the first one overwrites what was there before.
        pids: asked each time, because a process may have been started again.

    Attributes:
        samples: taken so far.
    """

    def __init__(self, path: Path, pids: Callable[[], Mapping[str, int]]) -> None:
        self.samples: list[Sample] = []
        self._path = path
        self._pids = pids
        self._began = time.monotonic()

    def take(self, block: Block, turns: Sequence[Turn]) -> None:
        """Take one after a block, of which the last attempt counts."""
        kept = [turn for turn in turns if turn.counts]
        sample = Sample(
            at_s=time.monotonic() - self._began,
            round=block.round,
            policy=block.policy,
            held=held_by(self._pids()),
            answered_ms=tuple(row.stages["total"] for turn in kept for row in turn.played.rows),
            lost=sum(len(turn.played.lost) for turn in kept),
            load=psutil.getloadavg()[0],
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab" if self.samples else "wb") as file:
            file.write(msgspec.json.encode(sample) + b"\n")
        self.samples.append(sample)

    def done(self) -> None:
        """Remove the file: the samples are kept elsewhere."""
        self._path.unlink(missing_ok=True)


def path_of(out: Path, seed: int) -> Path:
    """Return where samples are kept while a repetition is being played."""
    return out / "rounds" / f"seed-{seed:06d}.footprint.jsonl"


def read(path: Path) -> list[Sample]:
    """Return the samples of a repetition that has not ended well; a last line that is cut off is skipped."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Sample) for line in lines]
