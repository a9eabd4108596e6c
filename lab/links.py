"""The process that holds emulated links: `python -m lab.links --target HOST:PORT --link NAME=UP,DOWN,DELAY`.

One process of its own, so that nothing but shaping delays a byte. It prints one JSON line with the port
of every link, then obeys JSON lines on its standard input until that is closed:

    {"link": "cam-1", "up_mbit": 4.0}
    {"link": "cam-1", "black_hole": true}
    {"link": "cam-1", "reset": true}
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from lab.event_loop import new_event_loop
from lab.proxy import LinkProxy, Shape


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """An emulated link: Mbit/s each way, milliseconds one way."""

    up_mbit: float
    down_mbit: float
    delay_ms: float

    @property
    def argument(self) -> str:
        """As `--link NAME=` takes it."""
        return f"{self.up_mbit},{self.down_mbit},{self.delay_ms}"

    def describe(self) -> dict[str, float]:
        """Fields with their units, for reports."""
        return asdict(self)

    @property
    def up(self) -> Shape:
        """Towards the broker."""
        return Shape(self.up_mbit, self.delay_ms)

    @property
    def down(self) -> Shape:
        """From the broker."""
        return Shape(self.down_mbit, self.delay_ms)


def parse_link(text: str) -> tuple[str, LinkSpec]:
    """Read `NAME=UP,DOWN,DELAY`.

    Raises:
        ValueError: if it is not that.
    """
    name, _, numbers = text.partition("=")
    up, down, delay = (float(number) for number in numbers.split(","))
    return name, LinkSpec(up, down, delay)


def obey(order: dict[str, Any], link: LinkProxy, spec: LinkSpec) -> LinkSpec:
    """Carry out one order; returns what the link is from now on."""
    if order.get("reset"):
        link.reset()
    if "black_hole" in order:
        link.black_hole(on=bool(order["black_hole"]))
    spec = LinkSpec(
        float(order.get("up_mbit", spec.up_mbit)),
        float(order.get("down_mbit", spec.down_mbit)),
        float(order.get("delay_ms", spec.delay_ms)),
    )
    link.reshape(up=spec.up, down=spec.down)
    return spec


async def serve(target: str, specs: dict[str, LinkSpec], ready: Callable[[dict[str, int]], None]) -> None:
    """Hold the links open and obey standard input until it is closed."""
    host, _, port = target.rpartition(":")
    reader = asyncio.StreamReader()
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
            name = order["link"]
            specs[name] = obey(order, links[name], specs[name])


def main() -> int:
    """Run until standard input is closed or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m lab.links", description=__doc__)
    parser.add_argument("--target", required=True, help="broker, HOST:PORT")
    parser.add_argument(
        "--link", action="append", default=[], type=parse_link, help="NAME=UP_MBIT,DOWN_MBIT,DELAY_MS"
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
