"""kill -9 of a testbed's coordinator: the next start finds everything that is left and removes it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cans.site_processes import end_leftovers, leftovers
from cans.testbed.netns import remove_left
from lab.marks import mark, marks
from lab.namespaces.able import first_unmet
from lab.namespaces.leftovers import Leftovers, find_leftovers
from lab.namespaces.names import run_in, run_of
from tests.support.broker import need_mosquitto
from tests.support.namespaces import needs_namespaces

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

_HERE = Path(__file__).parents[2]
_EXPERIMENT = _HERE / "lab" / "experiments" / "headline.toml"
# A coordinator that has just laid its ground and started a device, which has entered its cgroup.
_COORDINATOR = """
import asyncio, sys
from pathlib import Path
from cans.broker.process import BrokerProcess, BrokerSettings
from cans.site_processes import Children
from cans.testbed.netns import Netns
from lab.namespaces.quota import members
from lab.simulator.experiment import load
from lab.testbed.plan import Plan

async def main():
    plan = Plan(load(Path(sys.argv[1]), only=("device_only",)))
    async with Children(Path(sys.argv[2])) as children:
        async with BrokerProcess(BrokerSettings(port=0)) as broker:
            ground = Netns(plan, children)
            links = await ground.lay(broker.address)
            device = plan.devices[0]
            slowed = ground.slowed(device, Path("absent"))[:2]
            orders = ground.orders_for(device.name, broker.address).url
            own = ground.seen_by(device.name, broker.address).url
            command = ["cans", "device", "--lab", "--broker", own, "--lab-broker", orders, *slowed]
            started = await ground.start(device.name, command)
            while not members(Path(slowed[1])):
                assert started.process.returncode is None, started.last_lines()
                await asyncio.sleep(0.05)
            print(broker.pid, links.processes[0].process.pid, started.process.pid, flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


def _left(run: str) -> Leftovers:
    """Return what there is of a run, whoever lives."""
    found = find_leftovers(())
    return Leftovers(
        tuple(each for each in found.namespaces if run_in(each) == run),
        tuple(each for each in found.interfaces if run_in(each) == run),
        tuple(each for each in found.groups if run_in(each.name) == run),
    )


def _ended(process: psutil.Process) -> bool:
    """Whether it has ended, if nobody has asked for its exit code yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@needs_namespaces
@pytest.mark.parametrize("holder_too", [False, True], ids=["coordinator", "coordinator and holder"])
def test_a_killed_coordinator_leaves_nothing_to_the_next_start(tmp_path: Path, *, holder_too: bool) -> None:
    command = [sys.executable, "-c", _COORDINATOR, str(_EXPERIMENT), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as coordinator:
        try:
            assert coordinator.stdout is not None
            broker, holder, device = map(psutil.Process, map(int, coordinator.stdout.readline().split()))
            run = run_of(mark(holder))
            there = _left(run)
            assert (len(there.namespaces), len(there.interfaces), len(there.groups)) == (2, 4, 2)
            # The next start of another site, while this one lives, takes nothing from it.
            end_leftovers()
            remove_left()
            assert _left(run) == there
            assert all(process.is_running() for process in (broker, holder, device))
        finally:
            if holder_too:
                os.kill(holder.pid, signal.SIGKILL)
            coordinator.kill()
    end_leftovers()
    remove_left()
    assert not _left(run)
    assert [each.pid for each in (broker, holder, device) if not _ended(each)] == []


_SMALL = """
title = "Killed"
seeds = 1

[testbed]
model = "tests.support.tiny_network:make"
codecs = ["uint8", "jpeg"]
block_frames = 2

[world]
frames = {frames}
fps = 20.0
deadline_ms = 3000.0

[[world.types]]
name = "camera"
devices = 2
slowness = 1.5
link = {{ kind = "two_state", mbit_s = 40.0, bad_mbit_s = 20.0, delay_ms = 1.0 }}

[policies.default]
[policies.device_only]
"""
_KILLS = 10
# From the first import to well into playing.
_LATEST_S = 9.0


def _start(folder: Path, out: str, frames: int, mode: str) -> subprocess.Popen[str]:
    path = folder / f"{frames}.toml"
    path.write_text(_SMALL.format(frames=frames))
    command = [sys.executable, "-m", "cans", "testbed", str(path), "--out", str(folder / out), "--quiet"]
    return subprocess.Popen(
        [*command, "--mode", mode], cwd=_HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_ten_kills_at_random_times_leave_nothing_to_the_next_start(tmp_path: Path) -> None:
    need_mosquitto()
    seed = random.randrange(2**32)
    times = random.Random(seed)
    modes = ["portable"] if first_unmet() else ["netns", "portable"]
    left: list[psutil.Process] = []
    for number in range(_KILLS):
        with _start(tmp_path, f"out-{number}", 10_000, modes[number % len(modes)]) as process:
            time.sleep(times.uniform(0.0, _LATEST_S))
            left += _descendants(process)
            process.kill()
            _, said = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"times drawn from {seed}: {said}"
        left += leftovers()  # what it has started meanwhile
    assert left
    with _start(tmp_path, "out", 4, modes[0]) as process:
        _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert [each for each in left if not _ended(each)] == [], f"times drawn from {seed}"
    assert not find_leftovers(marks()), f"times drawn from {seed}"
