"""Do the intervals hold what was really measured? `python -m lab.whatif.played OUT [--page FILE]`.

A site of this machine's processes: broker, edge worker, aggregator, and devices that are emulated slower and
sit behind emulated links, half of which move. Each device learns and draws a share of its arms; after each
frame others play the same frame in turn, so what they cost is known. Of the learner's frames alone it is
asked what the others would have cost, and counted how often the 95 % interval holds what they did.

OUT keeps a recording of each round, and a round that is there is not played again.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from bus.errors import ConfigurationError
from bus.recording.reading import Recording
from bus.topics import DEFAULT_PREFIX
from device.policy_names import DEVICE_ONLY, FIXED, LEARNER
from lab.event_loop import new_event_loop
from lab.links import LinkSpec
from lab.processes import free_port, line_of, running, to_the_end
from lab.simulator import spec
from lab.simulator.links import link_of
from lab.whatif.coverage import Covered, lines_of
from lab.whatif.estimate import what_if
from lab.whatif.logged import ALONE, Frames, Log
from lab.whatif.model import predictions

# Small enough that the emulated devices of a round do not wait for each other's processor.
NETWORK = "partition.networks.mobilenet_v2:MobileNetV2@96x96"
CODECS = ("--codecs", "uint8,jpeg,int8-zstd")
ARMS = "0/jpeg,0/uint8,7/int8-zstd"
"""What is asked for, beside keeping every frame."""
_STILL, _MOVING = "still, 8 Mbit/s", "20 or 1 Mbit/s"
_LINKS = {_STILL: LinkSpec(8.0, 20.0, 10.0), _MOVING: LinkSpec(20.0, 20.0, 10.0)}
_MOVES = spec.TwoState(mbit_s=20.0, bad_mbit_s=1.0, good_s=20.0, bad_s=6.0)
_TRACE_S = 1200
_START_S = 120.0
_DEADLINE_MS = 1000.0
# For the last feedback, and for the recorder to begin.
_LATE_S = 2.0


async def play(out: Path, number: int, options: argparse.Namespace) -> None:
    """Play one round and keep its recording."""
    unfinished = out / "unfinished.mcap"
    unfinished.unlink(missing_ok=True)
    network = ("--model", options.network, *CODECS)
    async with contextlib.AsyncExitStack() as stack:

        async def start(*arguments: str) -> asyncio.subprocess.Process:
            return await stack.enter_async_context(running(*arguments))

        port, names = free_port(), list(_devices(options.devices))
        broker = await start("cans", "broker", "--port", str(port))
        links = await start(
            *("lab.links", "--target", f"127.0.0.1:{port}"),
            *(part for name, kind in names for part in ("--link", f"{name}={_LINKS[kind].argument}")),
        )
        ports = json.loads(await line_of(links))
        fixed = ("--broker", f"mqtt://127.0.0.1:{port}", "--wait-for-broker")
        edge = await start("cans", "edge", *network, "--workers", "2", *fixed)
        aggregator = await start(
            "cans", "aggregator", "--state-dir", str(out / f"aggregator-{number}"), *fixed
        )
        # `cans record` waits for nobody: by now the broker listens, or nothing ever will.
        await asyncio.sleep(_LATE_S)
        recorder = await start("cans", "record", "--broker", fixed[1], "-o", str(unfinished))
        await asyncio.sleep(_LATE_S)
        devices = [
            await start(
                *("cans", "device", "--id", name, "--type", "camera", *network),
                *("--broker", f"mqtt://127.0.0.1:{ports[name]}", "--wait-for-broker"),
                *("--frames", str(options.frames), "--seed", str(1000 * number + place)),
                *("--policy", LEARNER, "--log-propensities", str(options.share)),
                *("--compare", ",".join(_players(options.arms)), "--deadline-ms", str(_DEADLINE_MS)),
                *("--emulate", str(out / "profile.json"), "--slowness", str(options.slowness)),
                *("--wait-edge-s", str(_START_S)),
            )
            for place, (name, _) in enumerate(names)
        ]
        _move(links, names, number)
        failed = any([await device.wait() for device in devices])
        others = (broker, links, edge, aggregator, recorder)
        if failed or any(each.returncode is not None for each in others):
            raise ConfigurationError("a process failed: its last lines are above")
        await asyncio.sleep(_LATE_S)
        recorder.terminate()
        await recorder.wait()
    unfinished.rename(_file(out, number))


def _players(arms: str) -> dict[str, str]:
    """Return who plays beside the learner, to the arm."""
    return {DEVICE_ONLY: ALONE} | {f"{FIXED}{label}": label for label in arms.split(",")}


def _devices(count: int) -> Iterator[tuple[str, str]]:
    """Yield names and links, each link as often as the other."""
    for number, kind in zip(range(count), itertools.cycle(_LINKS), strict=False):
        yield f"cam-{number + 1}", kind


def _move(links: asyncio.subprocess.Process, names: Sequence[tuple[str, str]], number: int) -> None:
    """Let those links that move begin to."""
    assert links.stdin is not None
    for place, (name, kind) in enumerate(names):
        if kind == _MOVING:
            random = np.random.default_rng((number, place))
            trace = link_of(_MOVES, _TRACE_S, random, "").mbit_s.tolist()
            order = {"link": name, "trace_mbit": trace, "at_s": 0.0}
            links.stdin.write(msgspec.json.encode(order) + b"\n")


def _file(out: Path, number: int) -> Path:
    return out / f"round-{number:03}.mcap"


def count(files: Sequence[Path], arms: str = ARMS) -> dict[str, dict[str, Covered]]:
    """Return how often intervals hold what was measured, by link and arm."""
    players = _players(arms)
    found = {kind: {label: Covered() for label in players.values()} for kind in _LINKS}
    for file in files:
        frames = Frames()
        with file.open("rb") as stream:
            frames.take(Recording(stream), DEFAULT_PREFIX)
        logs = {(log.device, log.policy): log for log in frames.logs()}
        kinds = dict(_devices(len({device for device, _ in logs})))
        for device, kind in kinds.items():
            _take(found[kind], logs, device, players)
    return found


def _take(
    found: Mapping[str, Covered],
    logs: Mapping[tuple[str, str], Log],
    device: str,
    players: Mapping[str, str],
) -> None:
    """Count one run: one device in one round."""
    log = logs[device, LEARNER]
    predicted = predictions(log)
    for policy, label in players.items():
        arm = log.index(label)
        if arm is None:
            continue  # never drawn: nobody can tell
        asked = what_if(log, np.full(len(log), arm), predicted)
        truth = float(logs[device, policy].cost_ms.mean())
        found[label].take(truth, asked.model, asked.weighted, asked.robust)


async def _play_all(options: argparse.Namespace) -> None:
    out: Path = options.out
    if not (out / "profile.json").exists():
        _say("measuring this machine, leave it alone")
        await to_the_end("cans", "profile", options.network, *CODECS, "--out", str(out / "profile.json"))
    for number in range(options.rounds):
        if not _file(out, number).exists():
            _say(f"round {number + 1} of {options.rounds}, {options.devices} devices")
            await play(out, number, options)


def _say(text: str) -> None:
    sys.stderr.write(f"played: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Play and count; exit code 1 where intervals hold what was measured too rarely."""
    parser = argparse.ArgumentParser(prog="python -m lab.whatif.played", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of recordings; a run that was stopped goes on there")
    parser.add_argument("--rounds", type=int, default=17)
    parser.add_argument("--devices", type=int, default=6, help="that play at once; a run is one in one round")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--share", type=float, default=0.6, help="of the frames whose arm is drawn")
    parser.add_argument("--slowness", type=float, default=15.0)
    parser.add_argument("--network", default=NETWORK, help="as cans device --model takes it")
    parser.add_argument("--arms", default=ARMS, help="to ask for, beside keeping every frame")
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_play_all(given))
    except ConfigurationError as error:
        sys.stderr.write(f"cans: {error}\n")
        return 2
    except KeyboardInterrupt:
        _say("stopped; the same command goes on behind the last whole round")
        return 130
    found = count([_file(given.out, number) for number in range(given.rounds)], given.arms)
    lines = "\n".join(lines_of(found))
    sys.stdout.write(lines + "\n")
    if given.page is not None:
        given.page.write_text(_PAGE.format(table=lines, **vars(given)), encoding="utf-8")
    return int(not all(one.holds for arms in found.values() for one in arms.values()))


_PAGE = """# What if another policy had played? The intervals against what was measured

Real processes, broker, messages and network; links, and that devices are {slowness:g} times slower than this
machine, are emulated. {rounds} rounds of {devices} devices, {frames} frames each: a run is one device in one
round. The learner (`fedlinucb_dw`) draws {share:g} of its arms from all; after it, on each frame, others play
what they always play. From the learner's frames alone it is asked what always playing their arm would have
cost, and held against what it did cost them. "Off" is the mean of the estimate against what was measured,
± its standard deviation over runs. Written by

    python -m lab.whatif.played {out} --rounds {rounds} --devices {devices} \\
        --frames {frames} --share {share:g} --slowness {slowness:g} --page {page}

{table}

Simulated, with more frames and an outage now and then: [whatif.md](whatif.md). How it is asked: ADR 30.
"""


if __name__ == "__main__":
    sys.exit(main())
