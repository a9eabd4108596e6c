"""How many rounds of devices the simulator plays a minute on one core, and what a device takes of memory."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
from threadpoolctl import threadpool_limits

from lab.bench.rows import Row
from lab.simulator import spec
from lab.simulator.batch.engine import play_many
from lab.simulator.engine import play
from lab.simulator.jobs import make_world
from lab.simulator.teams import team_of

LIMIT_PER_MINUTE = 1_000_000.0
LIMIT_BYTES = 8 * 2**30 / 100_000  # a hundred thousand devices in 8 GiB
_FRAMES = 300
_LEARNERS = {
    "linucb": spec.Family(share="device"),
    "fedlinucb_dw": spec.Family(share="type", warm_start=40),
}


def site(devices: int, frames: int) -> spec.Site:
    """Return a site of two types, one of them on links that move."""
    phone = spec.DeviceType(name="phone", devices=devices // 2, slowness=8.0, link=spec.Constant(mbit_s=12.0))
    board = spec.DeviceType(name="board", devices=devices // 2, slowness=4.0, link=spec.Lte(mbit_s=6.0))
    return spec.Site(frames=frames, types=(phone, board))


def run(*, quick: bool) -> Iterator[Row]:
    """Measure both engines, the plain one on fewer rounds, and a large site in a process of its own."""
    frames = 30 if quick else _FRAMES
    with threadpool_limits(limits=1):
        for name, learner in _LEARNERS.items():
            few = site(10, frames // 3)
            yield _row(f"{name}, plain", few, 1, partial(_play_plain, learner, few))
            for seeds, world in ((10, site(10, frames)), (1, site(1000, frames // 3))):
                label = f"{name}, batched, {seeds} x {sum(kind.devices for kind in world.types)} devices"
                yield _row(label, world, seeds, partial(play_many, learner, world, range(seeds)))
    devices = 500 if quick else 2000
    label = f"simulator, batched: memory a device, of {devices} for {frames} frames"
    yield Row(label, _bytes(devices, frames), "B", LIMIT_BYTES)


def _row(label: str, world: spec.Site, seeds: int, played: Callable[[], object]) -> Row:
    """Return device-rounds a minute of processor time, the making of the world included."""
    before = time.process_time()
    played()
    rounds = seeds * world.frames * sum(kind.devices for kind in world.types)
    per_minute = 60.0 * rounds / (time.process_time() - before)
    limit = LIMIT_PER_MINUTE if "batched" in label else None
    return Row(f"simulator, {label}: device-rounds", per_minute, "1/min", limit, "least")


def _play_plain(learner: spec.Learner, settings: spec.Site) -> None:
    world = make_world(settings, 0)
    play(world, team_of(learner, world, 0))


def _bytes(devices: int, frames: int) -> float:
    """Return what a large site adds to a fresh process at its peak, by device."""
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "lab.bench.simulating", str(devices), str(frames)],
        check=True, capture_output=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return float(json.loads(done.stdout))


def _main(devices: int, frames: int) -> None:
    """Play a large site and print by how many bytes a device the process has grown."""
    play_many(_LEARNERS["fedlinucb_dw"], site(10, 3), [0])  # what is loaded on first use
    before = psutil.Process().memory_info().rss
    play_many(_LEARNERS["fedlinucb_dw"], site(devices, frames), [0])
    print(json.dumps((_peak_bytes() - before) / devices))


def _peak_bytes() -> int:
    """Return this process's largest memory so far.

    On Linux `ru_maxrss` is at least what the parent had when it forked, which may be gigabytes of torch.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (kib,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(kib)
    import resource  # noqa: PLC0415 - not everywhere

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
