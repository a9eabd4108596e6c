"""`python -m lab.exits_show OUT`: what early exits are worth in the whole system, run on this machine.

Broker, emulated link, aggregator, edge worker and one device as processes of their own, the device slowed
down by an emulator. The same frames are played with and without `--exits`, in turns, each time by a system
that knows nothing yet. What it takes is made first and kept in OUT: a network, frames, exits, profiles.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bus.address import BrokerAddress
from bus.connection import Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.messages import Feedback
from bus.mqtt import open_connection
from bus.topics import FEEDBACK, Topics
from bus.wire import decode
from device.frames import FolderFrames
from lab.event_loop import new_event_loop
from lab.links import parse_link
from lab.processes import free_port, line_of, running, to_the_end
from partition.networks.zoo import load_model
from partition.partitioned import build

MODEL, AFTER = "mobilenet_v2", "features.4,features.14"
# Of each photograph; half of those held out calibrate, half measure, and others are played.
_CROPS_LEARNT, _CROPS_HELD_OUT, _CROPS_PLAYED = 12, 40, 20
_START_S = 120.0
# For the last feedback, which is published as the device stops.
_LATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one device has played, a number a frame: latency, class, and whether an exit answered."""

    total_ms: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    top: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    at_exit: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    arms: tuple[str, ...]


def prepare(out: Path) -> None:
    """Make what is not there yet; some minutes."""
    from partition.training.photographs import write_crops  # noqa: PLC0415 - torch's training side

    weights = out / "weights.pth"
    if not weights.exists():
        crops = ("--epochs", "0", "--crops", str(_CROPS_LEARNT))
        asyncio.run(to_the_end("partition.training.photographs", str(out), *crops))
    if not (out / "frames").exists():
        write_crops(out / "calibrate", _CROPS_HELD_OUT, 100, held_out=False)
        write_crops(out / "shown", _CROPS_PLAYED, 200, held_out=False)
        _shuffle(out / "shown", out / "frames")
    network = (MODEL, "--weights", str(weights))
    exits, plain, timed = out / "exits.safetensors", out / "plain.json", out / "profile.json"
    if not exits.exists():
        images = ("--images", str(out / "train"), "--held-out", str(out / "calibrate"))
        wanted = ("--after", AFTER, "--agreement", "0.99", "--out", str(exits))
        stopped = exits.with_name(f"{exits.name}.checkpoint").exists()
        again = ("--resume",) if stopped else ()
        asyncio.run(to_the_end("cans", "train", "exits", *network, *images, *wanted, *again))
    if not timed.exists():
        asyncio.run(to_the_end("cans", "profile", *network, "--out", str(plain)))
        asyncio.run(to_the_end("cans", "profile", *network, "--exits", str(exits), "--out", str(timed)))
        _align(plain, timed)


def _align(plain: Path, timed: Path) -> None:
    """Hold both systems to one measurement of the arms, and the exits to no better a pace than the arms.

    A profile times arms segment by segment and exits in one run, which is quicker; unchanged, the exits would
    save what no exit saves.
    """
    profile = json.loads(timed.read_text())
    for exits, path in ((json.loads(plain.read_text())["exits"], plain), (profile["exits"], timed)):
        pace = max(1.0, profile["arms"][-1]["head"]["median_ms"] / exits[-1]["time"]["median_ms"])
        slower = [
            each | {"time": {name: pace * value for name, value in each["time"].items()}} for each in exits
        ]
        path.write_text(json.dumps(profile | {"exits": slower}))


def _shuffle(source: Path, to: Path) -> None:
    """Mix the photographs: frames of one kind in a row would be another scene."""
    to.mkdir()
    paths = sorted(source.glob("*/*.png"))
    for place, number in enumerate(np.random.default_rng(0).permutation(len(paths))):
        paths[number].rename(to / f"{place:04}.png")


def uncut(out: Path, frames: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the whole network's class of each frame."""
    model = build(load_model(MODEL, weights=out / "weights.pth"))
    height, width = model.input_size
    source = FolderFrames(out / "frames", (height, width), cycle=True)
    found = []
    for _ in range(frames):
        frame = source.next_frame()
        assert frame is not None
        answer = model.run_head(frame, model.device_only).answer
        assert answer is not None
        found.append(answer.top1)
    return np.array(found)


async def play(options: argparse.Namespace, *, exits: bool, number: int) -> Run:
    """Play all frames once by a system of its own."""
    out: Path = options.out
    topics = Topics(f"cans/exits-{number}-{'with' if exits else 'without'}")
    async with contextlib.AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cans-exits-")))

        async def start(*arguments: str) -> asyncio.subprocess.Process:
            return await stack.enter_async_context(running(*arguments))

        port = free_port()
        await start("cans", "broker", "--port", str(port))
        links = await start("lab.links", "--target", f"127.0.0.1:{port}", "--link", f"cam={options.link}")
        link_port = json.loads(await line_of(links))["cam"]
        heard: list[Feedback] = []
        endpoint = Endpoint("exits-show", subscriptions=((topics.filter(FEEDBACK), FEEDBACK.qos),))
        ear = await stack.enter_async_context(
            open_connection(BrokerAddress(port=port), endpoint, first_connect="wait")
        )

        async def listen() -> None:
            async for event in ear.events():
                if isinstance(event, Delivery):
                    heard.append(decode(FEEDBACK, event.payload, Feedback))
                    event.ack()

        listening = asyncio.create_task(listen(), name="ear")
        stack.callback(listening.cancel)
        network = ("--model", MODEL, "--weights", str(out / "weights.pth"))
        fixed = ("--broker", f"mqtt://127.0.0.1:{port}", "--prefix", topics.prefix)
        others = (
            await start("cans", "aggregator", "--state-dir", str(work / "aggregator"), *fixed),
            await start("cans", "edge", "--model", f"{MODEL}={out / 'weights.pth'}", *fixed),
        )
        device = await start(
            *("cans", "device", "--broker", f"mqtt://127.0.0.1:{link_port}", "--prefix", topics.prefix),
            *network,
            *("--source", str(out / "frames"), "--frames", str(options.frames)),
            *("--deadline-ms", "5000", "--wait-edge-s", str(_START_S), "--slowness", str(options.slowness)),
            *("--emulate", str(out / ("profile.json" if exits else "plain.json"))),
            *(("--exits", str(out / "exits.safetensors")) if exits else ()),
        )
        if await device.wait() != 0 or any(each.returncode is not None for each in others):
            raise ConfigurationError("a process failed: its last lines are above")
        await asyncio.sleep(_LATE_S)
    found = sorted(heard, key=lambda each: each.seq)
    if [each.seq for each in found] != list(range(options.frames)):
        raise ConfigurationError(f"feedback of {len(found)} of {options.frames} frames came: try again")
    return Run(
        np.array([each.total_ms for each in found]),
        np.array([each.top for each in found]),
        np.array(["exit" in each.reason for each in found]),
        tuple("exit" if "exit" in each.reason else f"{each.cut}/{each.codec}" for each in found),
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval (Student's t over runs)."""
    mean = float(np.mean(values))
    return mean, float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def tell(name: str, runs: Sequence[Run], answers: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> str:
    """Return a row of the table: the second half of each run, once the first has taught."""
    half = len(answers) // 2
    mean, margin = interval([float(run.total_ms[half:].mean()) for run in runs])
    p50, p95 = (
        np.mean([np.percentile(run.total_ms[half:], share) for run in runs]) for share in (50.0, 95.0)
    )
    at_exit = np.mean([run.at_exit[half:].mean() for run in runs])
    agreement = np.mean([(run.top == answers).mean() for run in runs])
    counted = [arm for run in runs for arm in run.arms[half:]]
    usual = max(set(counted), key=counted.count)
    return (
        f"| {name} | {mean:.1f} ± {margin:.1f} | {p50:.1f} | {p95:.1f} | {at_exit:.1%} | {agreement:.4f} "
        f"| {usual}, {counted.count(usual) / len(counted):.0%} |"
    )


async def show(options: argparse.Namespace) -> None:
    """Play everything and print the table."""
    answers = uncut(options.out, options.frames)
    found: dict[bool, list[Run]] = {True: [], False: []}
    for number in range(options.runs):
        # In turns, and who begins changes: what else the machine does meets both.
        for exits in (number % 2 == 0, number % 2 == 1):
            found[exits].append(await play(options, exits=exits, number=number))
            print(f"run {number + 1}, exits {exits}: {found[exits][-1].total_ms.mean():.1f} ms", flush=True)
    half = options.frames // 2
    means = {exits: [float(run.total_ms[half:].mean()) for run in runs] for exits, runs in found.items()}
    gains = [1.0 - after / before for after, before in zip(means[True], means[False], strict=True)]
    gain, margin = interval(gains)
    print(f"\nemulated: device {options.slowness:g}x slower, link {options.link} (Mbit/s, Mbit/s, ms)\n")
    print("| exits | mean ms | p50 | p95 | answered at exits | agreement | most often |")
    print("|---|--:|--:|--:|--:|--:|---|")
    print(tell("none", found[False], answers))
    print(tell("0.99", found[True], answers))
    print(f"\nsaved {gain:.1%} ± {margin:.1%} of the mean, {options.runs} pairs of runs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare, play, print."""
    parser = argparse.ArgumentParser(prog="python -m lab.exits_show", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for what is made on the way, and kept")
    parser.add_argument("--frames", type=int, default=300, help="of each run; the second half counts (300)")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs (3)")
    parser.add_argument("--slowness", type=float, default=2.5, help="of the emulated device (2.5)")
    parser.add_argument("--link", default="4,8,10", help="Mbit/s up, down, ms of delay (4,8,10)")
    options = parser.parse_args(arguments)
    if options.frames < 2 or options.runs < 2:
        parser.error("give 2 --frames and 2 --runs at least")
    try:
        parse_link(f"cam={options.link}")
    except ValueError:
        parser.error(f"--link {options.link} is none: give Mbit/s up, Mbit/s down, ms of delay, as in 4,8,10")
    # Told to end by whatever means, it takes its processes along.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        prepare(options.out)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(show(options))
    except KeyboardInterrupt:
        return 130
    except ConfigurationError as error:
        print(f"exits_show: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
