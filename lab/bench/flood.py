"""Publishes as fast as it is told to: `python -m lab.bench.flood PORT TOPIC COUNT SIZE RATE`.

A process of its own, which prints how many seconds it took. Packets are made before the first is sent, so
that on a machine with few cores as little as can be goes to whoever is not measured. MQTT 3.1.1, QoS 0.
"""

import os
import socket
import sys
import time

from bus.mqtt_packets import PUBLISH, varint

_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05flood"
_CONNACK_BYTES = 4
_DISCONNECT = b"\xe0\x00"
_SLICES_A_SECOND = 200
_MADE = 64


def flood(port: int, topic: str, count: int, size: int, rate: float) -> float:
    """Connect to a broker on this machine, publish, and leave; return the seconds that publishing took."""
    name = topic.encode()
    rest = len(name).to_bytes(2, "big") + name
    length = varint(len(rest) + size)
    packets = [
        bytes([PUBLISH]) + length + rest + os.urandom(size) for _ in range(_MADE if size < 100_000 else 4)
    ]
    with socket.create_connection(("127.0.0.1", port)) as end:
        end.sendall(_CONNECT)
        end.recv(_CONNACK_BYTES)
        a_slice = max(1, round(rate / _SLICES_A_SECOND))
        began, sent = time.perf_counter(), 0
        while sent < count:
            few = min(a_slice, count - sent)
            end.sendall(b"".join(packets[(sent + each) % len(packets)] for each in range(few)))
            sent += few
            time.sleep(max(0.0, began + sent / rate - time.perf_counter()))
        took = time.perf_counter() - began
        end.sendall(_DISCONNECT)
    return took


if __name__ == "__main__":
    _, *(given) = sys.argv
    print(flood(int(given[0]), given[1], int(given[2]), int(given[3]), float(given[4])))
