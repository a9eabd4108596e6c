"""The demo: four devices of two types learn together, through a real broker, where to cut a network.

Composition only: it starts processes, listens to the bus as any dashboard could, and reports.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import LinkError
from bus.mqtt import open_connection
from bus.topics import Topics
from cans.broker.run import BrokerProcess, BrokerSettings
from cans.demo.gather import LISTENED, Gathered
from cans.demo.plan import AGGREGATOR_ID, DEADLINE_MS, EDGE_ID, LEARNER, RIVALS, DemoSettings
from cans.demo.report import make_report, table
from cans.demo.view import progress, render
from cans.site_processes import Child, Children
from cans.versions import versions

_VIEW_PERIOD_S = 0.25
_TELL_PERIOD_S = 20.0
_MERGED_TIMEOUT_S = 10.0
# A burst of feedback while the figure of this process is drawn; far above what four devices send.
_QUEUE_LIMIT = 4096
_EDGE_START_S = 120.0
_FORGET_S = 5.0


@dataclass(slots=True)
class _Stage:
    """What the demo does now, for the view."""

    text: str = "starting"
    on_change: Callable[[str], None] = field(default=lambda _: None)

    def set(self, text: str) -> None:
        self.text = text
        self.on_change(text)


async def run_demo(settings: DemoSettings) -> dict[str, Any]:
    """Run it to the end; return the report.

    Raises:
        ConfigurationError: a broker that cannot be reached, or a setting that cannot work.
        ProcessFailed: a process of the demo died; the sentence holds its last log lines.
    """
    console = Console(stderr=False)
    async with contextlib.AsyncExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cans-demo-")))
        broker = await stack.enter_async_context(_broker(settings))
        # A prefix of its own: on a shared broker, somebody else's devices are not ours to count.
        own = f"cans/demo-{work.name.rpartition('-')[2].replace('_', 'x').lower()}"
        heard = Gathered(Topics(settings.prefix or own), LEARNER)
        ear = await stack.enter_async_context(open_connection(broker, _ear(heard.topics)))
        if settings.broker is not None:
            stack.push_async_callback(_forget, ear, heard)  # once the children have said goodbye
        children = await stack.enter_async_context(Children(settings.logs))
        stage = _Stage(on_change=(lambda _: None) if settings.live else _say)
        shown = _draw(settings, heard, stage, console) if settings.live else _tell(settings, heard)
        async with _background(_listen(ear, heard), shown):
            try:
                summaries = await _play(settings, children, broker, heard, stage, work)
            except asyncio.CancelledError:
                _say("stopping: frames in play are answered, and what was learnt is handed in")
                raise
            merged = await _merged(heard, sum(each["statistics_sent"] for each in summaries.values()))
    stage.set("drawing")
    weights = next(iter(summaries.values()))["label"]
    report = make_report(settings, summaries, merged=merged, weights=weights, versions=versions())
    # matplotlib takes a second to import, and only now is nothing measured any more.
    from cans.demo.figure import draw  # noqa: PLC0415

    draw(settings, summaries, report, settings.figure)
    if settings.report is not None:
        settings.report.parent.mkdir(parents=True, exist_ok=True)
        settings.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(table(report))
    _conclude(settings, report, console)
    return report


async def _play(
    settings: DemoSettings,
    children: Children,
    broker: BrokerAddress,
    heard: Gathered,
    stage: _Stage,
    work: Path,
) -> dict[str, dict[str, Any]]:
    """Start everything in order, let the devices play, and return their summaries."""
    stage.set("measuring this machine, while it is quiet")
    profile = work / "profile.json"
    await children.run(
        "profile", ["cans", "profile", settings.model, "--repeats", "15", "--out", str(profile)]
    )
    stage.set("starting edge worker, aggregator and devices")
    ports, links = await _start_links(settings, children, broker)
    bus = ["--prefix", heard.topics.prefix, "--metrics-s", "1"]
    fixed = ["--broker", broker.url, *bus, "--detail", "demo"]
    aggregator = await children.start(
        "aggregator",
        ["cans", "aggregator", "--id", AGGREGATOR_ID, "--state-dir", str(work / "aggregator"), *fixed],
    )
    # Two tails at once: with one, most of what the devices measure is each other, waiting in line.
    model = ["--model", settings.model]
    edge = await children.start("edge", ["cans", "edge", "--id", EDGE_ID, "--workers", "2", *model, *fixed])
    devices = []
    for number, (device, kind) in enumerate(settings.devices.items()):
        url = replace(broker, host="127.0.0.1", port=ports[device]).url
        arguments = [
            *("cans", "device", "--id", device, "--type", kind.name, "--broker", url, *model, *bus),
            *("--frames", str(settings.frames), "--seed", str(settings.seed * 1000 + number)),
            *("--policy", LEARNER, "--compare", ",".join(RIVALS), "--deadline-ms", str(DEADLINE_MS)),
            *("--emulate", str(profile), "--slowness", str(kind.slowness)),
            *(
                "--detail",
                f"emulated: {kind.slowness:g}x slower, link {kind.link.argument} (Mbit/s, Mbit/s, ms)",
            ),
            *("--wait-edge-s", str(_EDGE_START_S), "--summary", str(work / f"{device}.json")),
        ]
        devices.append(await children.start(device, arguments))
    stage.set("playing")
    await _until_played(children, devices, [aggregator, edge, links])
    return {device: json.loads((work / f"{device}.json").read_text()) for device in settings.devices}


async def _start_links(
    settings: DemoSettings, children: Children, broker: BrokerAddress
) -> tuple[dict[str, int], Child]:
    """Start the process that holds the emulated links; return the port of each device's."""
    arguments = ["lab.links", "--target", f"{broker.host}:{broker.port}"]
    for device, kind in settings.devices.items():
        arguments += ["--link", f"{device}={kind.link.argument}"]
    links = await children.start("links", arguments, pipes=True)
    assert links.process.stdout is not None
    line = await links.process.stdout.readline()
    if not line:
        await links.process.wait()
        raise links.failure()
    ports: dict[str, int] = json.loads(line)
    return ports, links


async def _until_played(children: Children, devices: list[Child], others: list[Child]) -> None:
    """Wait for the devices; whatever dies meanwhile ends the demo."""
    played = asyncio.create_task(children.finished(devices), name="devices")
    died = asyncio.create_task(children.watch(others), name="watch")
    try:
        done, _ = await asyncio.wait({played, died}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (played, died):
            task.cancel()
        await asyncio.wait({played, died})


@contextlib.asynccontextmanager
async def _broker(settings: DemoSettings) -> AsyncIterator[BrokerAddress]:
    """The person's broker, or one of our own on a free port."""
    if settings.broker is not None:
        yield settings.broker
        return
    settings.logs.mkdir(parents=True, exist_ok=True)
    with (settings.logs / "broker.log").open("w", encoding="utf-8") as log:

        def keep(line: str) -> None:
            print(line, file=log, flush=True)

        async with BrokerProcess(BrokerSettings(port=0), on_line=keep) as broker:
            yield broker.address


async def _forget(ear: Connection, heard: Gathered) -> None:
    """Leave no retained message of the demo on somebody's broker: an empty one removes it."""
    with contextlib.suppress(LinkError, TimeoutError):
        async with asyncio.timeout(_FORGET_S):
            for topic in heard.retained:
                await ear.publish(topic, b"", qos=1, retain=True)


def _ear(topics: Topics) -> Endpoint:
    """The demo as a listener."""
    filters = tuple((topics.filter(topic), topic.qos) for topic in LISTENED)
    return Endpoint(topics.prefix.replace("/", "-"), subscriptions=filters, queue_limit=_QUEUE_LIMIT)


async def _listen(ear: Connection, heard: Gathered) -> None:
    clock = asyncio.get_running_loop().time
    async for event in ear.events():
        if isinstance(event, Delivery):
            heard.take(event.topic, event.payload, clock())
            event.ack()


async def _draw(settings: DemoSettings, heard: Gathered, stage: _Stage, console: Console) -> None:
    clock = asyncio.get_running_loop().time
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(render(settings, heard, clock(), stage.text), refresh=True)
            await asyncio.sleep(_VIEW_PERIOD_S)


async def _tell(settings: DemoSettings, heard: Gathered) -> None:
    """Say how far it is, for logs and plain terminals."""
    while True:
        await asyncio.sleep(_TELL_PERIOD_S)
        _say(progress(settings, heard))


async def _merged(heard: Gathered, sent: int) -> int:
    """Return the uploads that the aggregator says it has merged; its word comes once a second."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_MERGED_TIMEOUT_S):
            while _merged_now(heard) < sent:
                heard.changed.clear()
                await heard.changed.wait()
    return _merged_now(heard)


def _merged_now(heard: Gathered) -> int:
    return int(heard.metrics.get(("aggregator", AGGREGATOR_ID), {}).get("merged", 0))


@contextlib.asynccontextmanager
async def _background(*works: Any) -> AsyncIterator[None]:  # noqa: ANN401 - coroutines
    """Run beside the body, ended with it."""
    tasks = [asyncio.create_task(work, name=work.__name__) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


def _conclude(settings: DemoSettings, report: dict[str, Any], console: Console) -> None:
    """The last lines: what was promised, and where everything is."""
    frames, statistics = report["frames"], report["statistics"]
    console.print(
        f"frames: {frames['sent']} sent, {frames['answered']} answered; "
        f"statistics: {statistics['sent']} uploads sent, {statistics['merged']} merged",
        highlight=False,
    )
    places = [f"figure {settings.figure}", f"logs {settings.logs}"]
    if settings.report is not None:
        places.insert(0, f"report {settings.report}")
    console.print(", ".join(places), highlight=False, soft_wrap=True)
