"""Tells systemd that the event loop still turns, where a unit asks for that (`WatchdogSec=`).

A loop that something blocks does not turn, and systemd then ends the process and starts it again. The
protocol is a datagram to the socket that `NOTIFY_SOCKET` names (sd_notify(3)); without one nothing is sent.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping

_ALIVE = b"WATCHDOG=1"
# Twice in each period, as sd_watchdog_enabled(3) recommends, and a third time for the timer's own delays.
_A_PERIOD = 3.0


def period_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Return within how long systemd wants to hear of this process; None where it does not ask."""
    wanted = environment.get("WATCHDOG_USEC", "")
    asked = wanted.isdecimal() and int(wanted) > 0 and bool(environment.get("NOTIFY_SOCKET"))
    return int(wanted) / 1e6 if asked and environment.get("WATCHDOG_PID", str(pid)) == str(pid) else None


async def keep_telling() -> None:
    """Tell it until cancelled, or return at once where nobody asks."""
    within_s = period_s(os.environ, os.getpid())
    if within_s is None:
        return
    name = os.environ["NOTIFY_SOCKET"]
    # A name that begins with @ is one of Linux's abstract sockets.
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
        told.setblocking(False)
        while True:
            with contextlib.suppress(OSError):  # its buffer is full, or it starts anew: the next one will do
                told.sendto(_ALIVE, address)
            await asyncio.sleep(within_s / _A_PERIOD)
