"""amqtt in a process of its own: what `cans broker` runs where mosquitto is missing.

    python -m cans.broker.amqtt HOST PORT

MQTT 3.1.1 only, everything in memory; for trying things out on one machine.
"""

import asyncio
import contextlib
import logging
import signal
import sys

from amqtt.broker import Broker


async def serve(host: str, port: int) -> None:
    """Serve until the task is cancelled or the process is told to end."""
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, ended.set)
    await ended.wait()
    with contextlib.suppress(Exception):  # whatever it still complains of, the process ends here
        async with asyncio.timeout(2.0):
            await broker.shutdown()


def main() -> None:
    """Run one broker."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    host, port = sys.argv[1], int(sys.argv[2])
    asyncio.run(serve(host, port))


if __name__ == "__main__":
    main()
