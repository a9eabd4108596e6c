"""Everything that a frame meets on its way, started and ended: brokers, the answering process, links."""

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from lab.hop.rows import ENGINES, GRPC, MQTT, TCP
from lab.hop.spec import Hop
from lab.transports.asking import Ask
from lab.transports.brokers import running
from lab.transports.child import answering
from lab.transports.grpc_aio import ask_grpc
from lab.transports.mqtt import ask_mqtt
from lab.transports.tcp import ask_tcp

Ports = Mapping[str, int]
"""Transport to the port where a device reaches it."""


@contextmanager
def brokers() -> Iterator[Ports]:
    """Run every broker that there is, `amqtt` at least.

    Raises:
        ConfigurationError: not even that one runs.
    """
    ports: dict[str, int] = {}
    with ExitStack() as stack:
        for engine in ENGINES:
            try:
                ports[MQTT + engine] = stack.enter_context(running(engine)).port
            except ConfigurationError as error:
                if not ports:
                    raise
                print(f"hop: nothing by {engine}: {error}", file=sys.stderr, flush=True)
        yield ports


@asynccontextmanager
async def site(hop: Hop, through: Ports) -> AsyncIterator[dict[str, Ports]]:
    """Run the answering process, and the links to it and to the brokers; yields the ports by link.

    Args:
        hop: the experiment.
        through: brokers.
    """
    async with AsyncExitStack() as stack:
        serving = ["--network", hop.network, "--codecs", ",".join(hop.codecs)]
        for port in through.values():
            serving += ["--broker", str(port)]
        direct = await stack.enter_async_context(answering("lab.hop.serving", *serving))
        bare = {**direct, **through}
        # By number: a name may hold anything.
        shaped = {str(i): link.shape.spec for i, link in enumerate(hop.links) if link.shape is not None}
        laid: dict[str, dict[str, int]] = {number: {} for number in shaped}
        if shaped:
            arguments = [each for n, spec in shaped.items() for each in ("--link", f"{n}={spec.argument}")]
            for name, port in bare.items():
                links = answering("lab.links", "--target", f"127.0.0.1:{port}", *arguments)
                for number, near in (await stack.enter_async_context(links)).items():
                    laid[number][name] = near
        yield {link.name: laid.get(str(i), bare) for i, link in enumerate(hop.links)}


@asynccontextmanager
async def opened(ports: Ports) -> AsyncIterator[dict[str, Ask]]:
    """Connect to everybody by every transport."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(_asking(name, port)) for name, port in ports.items()}


def _asking(name: str, port: int) -> AbstractAsyncContextManager[Ask]:
    if name == TCP:
        return ask_tcp(port)
    if name == GRPC:
        return ask_grpc(port)
    return ask_mqtt(BrokerAddress(port=port))
