"""What `bus/mqtt_client.py` needs of the private parts of aiomqtt and paho. When one of these fails,
upstream has moved: read the new code before adapting ours."""

import inspect

import aiomqtt
import paho.mqtt.client as paho
import pytest

from bus.mqtt_client import MqttClient


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (aiomqtt.Client, "_on_connect", ["self", "client", "userdata", "flags", "reason_code", "properties"]),
        (
            aiomqtt.Client,
            "_on_disconnect",
            ["self", "client", "userdata", "flags", "reason_code", "properties"],
        ),
        (aiomqtt.Client, "_on_publish", ["self", "client", "userdata", "mid", "reason_code", "properties"]),
        (aiomqtt.Client, "_on_socket_open", ["self", "client", "userdata", "sock"]),
        (aiomqtt.Client, "_on_socket_register_write", ["self", "client", "userdata", "sock"]),
        (aiomqtt.Client, "_on_socket_unregister_write", ["self", "client", "userdata", "sock"]),
        (paho.Client, "_create_socket", ["self"]),
        (paho.Client, "_handle_publish", ["self"]),
        (paho.Client, "_sock_close", ["self"]),
        (paho.Client, "_packet_queue", ["self", "command", "packet", "mid", "qos", "info"]),
        (paho.Client, "ack", ["self", "mid", "qos"]),
        (paho.Client, "manual_ack_set", ["self", "on"]),
    ],
)
def test_the_private_methods_we_replace_or_call_have_their_signatures(
    owner: type, name: str, parameters: list[str]
) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize(
    ("function", "text"),
    [
        # Our reader takes the place of this one, registered after it.
        (
            aiomqtt.Client._on_socket_open,
            "call_soon_threadsafe(self._loop.add_reader, sock.fileno(), callback)",
        ),
        # These attributes are read here.
        (aiomqtt.Client.__init__, "self._connected: asyncio.Future[None]"),
        (aiomqtt.Client.__init__, "self._disconnected: asyncio.Future[None]"),
        (aiomqtt.Client.__init__, "self._misc_task"),
        (aiomqtt.Client.__init__, "self._hostname = hostname"),
        (aiomqtt.Client.__init__, "self._client: mqtt.Client = mqtt.Client("),
        # The cause of a failed connect is reachable as the context.
        (aiomqtt.Client.__aenter__, "raise MqttError(str(exc)) from None"),
        # A packet of command 0 is bytes to write and nothing else; it is sliced, never copied or changed.
        (paho.Client._packet_write, "packet['packet'][packet['pos']:]"),
        (paho.Client._packet_write, "(packet['command'] & 0xF0) == PUBLISH and packet['qos'] == 0"),
        (paho.Client._packet_handle, "return self._handle_publish()"),
        # A packet's bytearray is given up after it was handled, so a view of it stays true.
        (paho.Client._packet_read, '"packet": bytearray(b"")'),
        (paho.Client._packet_read, "self._in_packet['packet'] += data"),
        # Properties are asked for nothing but their packed form.
        (paho.Client._send_publish, "packed_properties = properties.pack()"),
        (paho.Client._handle_pubackcomp, "self._do_on_publish(mid, reasonCode, properties)"),
        (paho.Client.reconnect, "self._sock = self._create_socket()"),
    ],
)
def test_the_code_around_them_is_as_we_read_it(function: object, text: str) -> None:
    assert text in inspect.getsource(function)  # type: ignore[arg-type] # a function


def test_our_own_names_do_not_hide_theirs() -> None:
    meant = {
        "__init__",
        "_on_connect",
        "_on_disconnect",
        "_on_publish",
        "_on_socket_open",
        "_on_socket_register_write",
        "_on_socket_unregister_write",
    }
    ours = {name for name in vars(MqttClient) if not name.startswith("__") or name == "__init__"}
    theirs = set(vars(aiomqtt.Client)) | {
        line.split("self.")[1].split(":")[0].split(" ")[0]
        for line in inspect.getsource(aiomqtt.Client.__init__).splitlines()
        if line.strip().startswith("self.") and ("=" in line or ":" in line)
    }
    assert ours & theirs == meant
