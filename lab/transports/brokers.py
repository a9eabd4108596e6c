"""A broker, started as a person would: `cans broker --port 0`."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bus.address import BrokerAddress, parse_broker
from bus.errors import ConfigurationError

_READY = re.compile(r"^broker: \S+ \(dev\) at (mqtt://\S+?),")


@contextmanager
def running(engine: str) -> Iterator[BrokerAddress]:
    """Run a broker while the block lasts; yields where it is.

    Args:
        engine: "mosquitto", or "amqtt", the embedded one.

    Raises:
        ConfigurationError: it is not installed, or did not start.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", "cans", "broker", "--port", "0", "--engine", engine],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := _READY.match(line):
                break
        else:
            raise ConfigurationError(f"the broker did not start: {line.strip()}")
        yield parse_broker(found[1])
    finally:
        process.terminate()
        # Its log is read to the end, or a full pipe would hold up its goodbye.
        process.communicate(timeout=20)
