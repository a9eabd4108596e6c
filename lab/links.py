"""The process that holds emulated links: `python -m lab.links --target HOST:PORT --link NAME=UP,DOWN,DELAY`.

One process of its own, so that nothing but shaping delays a byte. It prints one JSON line with the port
of every link, then obeys JSON lines on its standard input until that is closed:

    {"link": "cam-1", "up_mbit": 4.0}
    {"link": "cam-1", "black_hole": true}
    {"link": "cam-1", "reset": true}
    {"link": "cam-1", "trace_mbit": [5.1, 4.0, 0.3], "at_s": 1.5}
    {"link": "cam-1", "trace_mbit": []}
    {"settle": ["cam-1"]}

What settles is carried at once, until nothing moves any more; then it prints {"settled": ["cam-1"]}.
A trace has one rate a second, for the way up, and begins again at its end; an empty one ends it.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lab.event_loop import new_event_loop
from lab.proxy import LinkProxy, Shape, Transfer
from lab.simulator.links import MovingLink
from lab.testbed.together import together

_RARE = ("jitter_ms", "loss")
LONGEST_ORDER_BYTES = 16 << 20
"""A trace of a week, second by second."""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """An emulated link: Mbit/s each way, milliseconds one way, and what `Shape` says of jitter and loss."""

    up_mbit: float
    down_mbit: float
    delay_ms: float
    jitter_ms: float = 0.0
    loss: float = 0.0

    @property
    def argument(self) -> str:
        """As `--link NAME=` takes it."""
        numbers = [self.up_mbit, self.down_mbit, self.delay_ms]
        return ",".join(map(str, numbers + [self.jitter_ms, self.loss] * bool(self.jitter_ms or self.loss)))

    def describe(self) -> dict[str, float]:
        """Fields with their units, for reports; without jitter and loss where there are none."""
        return {name: value for name, value in asdict(self).items() if value or name not in _RARE}

    @property
    def up(self) -> Shape:
        """Towards the broker."""
        return Shape(self.up_mbit, self.delay_ms, self.jitter_ms, self.loss)

    @property
    def down(self) -> Shape:
        """From the broker."""
        return Shape(self.down_mbit, self.delay_ms, self.jitter_ms, self.loss)


def parse_link(text: str) -> tuple[str, LinkSpec]:
    """Read `NAME=UP,DOWN,DELAY[,JITTER,LOSS]`.

    Raises:
        ValueError: if it is not that.
    """
    name, _, numbers = text.partition("=")
    values = [float(number) for number in numbers.split(",")]
    if len(values) not in {3, 5}:
        raise ValueError(f"{numbers!r} is not UP,DOWN,DELAY or UP,DOWN,DELAY,JITTER,LOSS")
    return name, LinkSpec(*values)


def obey(order: dict[str, Any], link: LinkProxy, spec: LinkSpec) -> LinkSpec:
    """Carry out one order; returns what the link is from now on."""
    if order.get("reset"):
        link.reset()
    if "black_hole" in order:
        link.black_hole(on=bool(order["black_hole"]))
    if "trace_mbit" in order:
        link.play(_transfer(order["trace_mbit"], float(order.get("at_s", 0.0))))
    changed = {name: float(order[name]) for name in asdict(spec) if name in order}
    spec = replace(spec, **changed)
    link.reshape(up=spec.up, down=spec.down)
    return spec


def _transfer(rates_mbit: list[float], at_s: float) -> Transfer | None:
    if not rates_mbit:
        return None
    moving = MovingLink(np.array(rates_mbit, np.float64), 0.0)

    def transfer_s(begin_s: float, bits: float) -> float:
        return float(moving.transfer_s(np.array(at_s + begin_s), np.array(bits)))

    return transfer_s


async def serve(target: str, specs: dict[str, LinkSpec], ready: Callable[[dict[str, int]], None]) -> None:
    """Hold the links open and obey standard input until it is closed."""
    host, _, port = target.rpartition(":")
    reader = asyncio.StreamReader(limit=LONGEST_ORDER_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with AsyncExitStack() as stack:
        links = {
            name: await stack.enter_async_context(LinkProxy(host, int(port), up=spec.up, down=spec.down))
            for name, spec in specs.items()
        }
        ready({name: link.port for name, link in links.items()})
        while line := await reader.readline():
            order = json.loads(line)
            if "settle" in order:
                await together(links[name].settle() for name in order["settle"])
                print(json.dumps({"settled": order["settle"]}), flush=True)
                continue
            name = order["link"]
            specs[name] = obey(order, links[name], specs[name])


def main() -> int:
    """Run until standard input is closed or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m lab.links", description=__doc__)
    parser.add_argument("--target", required=True, help="broker, HOST:PORT")
    parser.add_argument(
        "--link",
        action="append",
        default=[],
        type=parse_link,
        help="NAME=UP,DOWN,DELAY or NAME=UP,DOWN,DELAY,JITTER,LOSS: Mbit/s, ms, share of packets",
    )
    arguments = parser.parse_args()

    def ready(ports: dict[str, int]) -> None:
        print(json.dumps(ports), flush=True)

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve(arguments.target, dict(arguments.link), ready))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
