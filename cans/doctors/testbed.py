"""What this machine can do for `cans testbed`, found out by trying; nothing is left changed."""

import importlib.util
import os
import socket

from cans.broker.process import find_mosquitto
from cans.doctors.findings import Finding
from cans.site_processes import leftovers
from cans.testbed.ground import Portable
from cans.testbed.netns import Netns, find_left
from lab.namespaces.able import needs

_CORES = 2


def examine() -> list[Finding]:
    """Look for what both modes need; blocks."""
    return [
        _broker(),
        _loopback(),
        *(Finding(Netns.mode, need.name, ok=need.met, found=need.found, mend=need.mend) for need in needs()),
        _cores(),
        _left(),
    ]


def _broker() -> Finding:
    mosquitto = find_mosquitto()
    amqtt = "amqtt" if importlib.util.find_spec("amqtt") else None
    found = mosquitto or amqtt
    mend = "install mosquitto (apt install mosquitto)"
    return Finding(Portable.mode, "a broker", ok=found is not None, found=found or "none", mend=mend)


def _loopback() -> Finding:
    try:
        with socket.create_server((Portable.host, 0)) as server:
            found, ok = f"port {server.getsockname()[1]} was free", True
    except OSError as error:
        found, ok = str(error), False
    return Finding(Portable.mode, "ports on loopback", ok=ok, found=found, mend="let processes listen there")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    mend = "devices and edge worker wait for each other on one core: take a machine with two or more"
    return Finding("", "processor cores", ok=count >= _CORES, found=str(count), mend=mend)


def _left() -> Finding:
    processes, kernel = len(leftovers()), find_left()
    found = [f"{processes} processes"] * bool(processes) + [str(kernel)] * bool(kernel)
    mend = "the next cans testbed ends and removes them; what is in the kernel, as root"
    return Finding("", "left by killed runs", ok=not found, found=", ".join(found) or "nothing", mend=mend)
