"""The process that holds the emulated links: its ports, its orders, its end."""

import json
import socket
import subprocess
import sys

import pytest

from lab.links import LinkSpec, parse_link


def test_a_link_is_read_as_it_is_written() -> None:
    spec = LinkSpec(4.0, 20.0, 2.5)
    assert parse_link(f"cam-1={spec.argument}") == ("cam-1", spec)
    assert spec.describe() == {"up_mbit": 4.0, "down_mbit": 20.0, "delay_ms": 2.5}
    with pytest.raises(ValueError, match=r"unpack|convert"):
        parse_link("cam-1=4,5")


def test_it_says_its_ports_obeys_and_ends_with_its_standard_input() -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "lab.links", "--target", f"127.0.0.1:{target.getsockname()[1]}"),
                *("--link", "a=100,100,0", "--link", "b=1,1,0"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        assert set(ports) == {"a", "b"}
        with socket.create_connection(("127.0.0.1", ports["a"])) as near:
            far, _ = target.accept()
            near.sendall(b"x")
            assert far.recv(1) == b"x"
            print(json.dumps({"link": "a", "up_mbit": 5.0, "reset": True}), file=process.stdin, flush=True)
            with pytest.raises(ConnectionResetError):
                near.recv(1)
            far.close()
        process.stdin.close()
        process.stdout.close()
        assert process.wait(20) == 0
