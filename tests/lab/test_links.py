"""The process that holds the emulated links: its ports, its orders, its end."""

import json
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from lab.links import LinkSpec, obey, parse_link
from lab.proxy import LinkProxy, Transfer


def test_a_link_is_read_as_it_is_written() -> None:
    spec = LinkSpec(4.0, 20.0, 2.5)
    assert parse_link(f"cam-1={spec.argument}") == ("cam-1", spec)
    assert spec.describe() == {"up_mbit": 4.0, "down_mbit": 20.0, "delay_ms": 2.5}
    shaky = LinkSpec(4.0, 20.0, 2.5, 1.0, 0.01)
    assert parse_link(f"cam-1={shaky.argument}") == ("cam-1", shaky)
    assert shaky.describe()["loss"] == 0.01
    for wrong in ("cam-1=4,5", "cam-1=4,5,6,7", "cam-1=a,b,c"):
        with pytest.raises(ValueError, match=r"is not UP|convert"):
            parse_link(wrong)


def test_a_trace_is_played_from_its_place_until_an_empty_one_ends_it() -> None:
    spec = LinkSpec(8.0, 8.0, 0.0)
    played: list[Transfer | None] = []

    class Link(LinkProxy):
        def play(self, up: Transfer | None) -> None:
            played.append(up)

    link = Link("127.0.0.1", 1)
    assert obey({"trace_mbit": [1.0, 2.0], "at_s": 1.0}, link, spec) == spec
    assert played[0] is not None
    assert played[0](0.0, 1e6) == pytest.approx(0.5)
    assert played[0](0.5, 1e6 + 0.5e6) == pytest.approx(1.0)  # half a second at 2, half a one at 1
    assert obey({"trace_mbit": [], "loss": 0.1}, link, spec) == replace(spec, loss=0.1)
    assert played[1] is None


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
            day = [5.123456789012345] * 86_400
            print(json.dumps({"link": "a", "trace_mbit": day}), file=process.stdin)
            print(json.dumps({"link": "a", "up_mbit": 5.0, "reset": True}), file=process.stdin, flush=True)
            with pytest.raises(ConnectionResetError):
                near.recv(1)
            far.close()
        process.stdin.close()
        process.stdout.close()
        assert process.wait(20) == 0
