"""The broker configurations, started for real; the ACL by delivery; wrong credentials in sentences."""

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint, LinkDown
from bus.errors import BrokerRefused, BrokerUnreachable, ConfigurationError, PublishRefused
from bus.mqtt import open_connection
from bus.topics import INFER, LAB_ORDER, LAB_REPORT, TABLE, Role, Topic, Topics
from cans.__main__ import main
from cans.broker.acl import Identity, grants, parse_identity
from cans.broker.files import render, template_folder
from cans.broker.run import BrokerProcess, BrokerSettings, run_broker
from tests.support.broker import Listener, amqtt, mosquitto, need_mosquitto, quiet, run

TOPICS = Topics()
IDENTITIES = (
    "device/phone/cam-1",
    "device/phone/cam-2",
    "edge/edge-1",
    "edge/edge-2",
    "aggregator/main",
    "watcher/wall",
)
LEVELS = {"edge": "edge-1", "device": "cam-1", "type": "phone", "model": "0123456789abcdef"}


def test_dev_takes_anybody_and_keeps_what_was_retained_over_a_kill(tmp_path: Path) -> None:
    async def main() -> None:
        async with mosquitto(tmp_path) as broker:
            async with open_connection(broker.address, Endpoint("a")) as connection:
                await connection.publish("kept", b"x", qos=1, retain=True)
            async with asyncio.timeout(10):  # it saves at the end of its loop's turn
                while b"kept" not in _saved(tmp_path):  # noqa: ASYNC110 - a file has no event
                    await asyncio.sleep(0)
            await broker.kill()
            await broker.restart()
            reader = Endpoint("b", subscriptions=(("kept", 0),))
            async with open_connection(broker.address, reader) as connection:
                assert bytes((await Listener(connection).delivery("kept")).payload) == b"x"

    run(main())


def _saved(state_dir: Path) -> bytes:
    file = state_dir / "mosquitto.db"
    return file.read_bytes() if file.exists() else b""


def test_amqtt_serves_where_mosquitto_is_missing_and_5_falls_back_to_3_1_1() -> None:
    async def main() -> None:
        async with amqtt() as broker:
            reader = Endpoint("a", subscriptions=(("t", 0),))
            async with open_connection(broker.address, reader) as connection:
                assert connection.protocol == 4
                await connection.publish("t", b"x")
                await Listener(connection).delivery("t")

    run(main())


# ---- the ACL ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _everybody(broker: BrokerProcess, filters: dict[str, str]) -> AsyncIterator[dict[str, Connection]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                open_connection(
                    broker.address_of(name),
                    Endpoint(name.replace("/", "-"), subscriptions=((filters[name], 0),), queue_limit=999),
                )
            )
            for name in IDENTITIES
        }


def _may_write(identity: Identity, topic: Topic, fields: dict[str, str]) -> bool:
    """The oracle: a role may write its topics, under its own id where the table says so."""
    if identity.role not in topic.writers:
        return False
    for role, field in topic.own:
        if role is identity.role and fields[field] != identity.id:
            return False
    if "role" in fields and fields["role"] != identity.role.value:
        return False
    return not (identity.role is Role.DEVICE and fields.get("type", identity.type) != identity.type)


def _may_read(identity: Identity, topic: Topic, fields: dict[str, str]) -> bool:
    if identity.role not in topic.readers:
        return False
    if identity.role in topic.writers:
        return True
    if identity.role is Role.DEVICE and topic.own and fields.get("type", identity.type) != identity.type:
        return False
    return all(fields[field] == identity.id for role, field in topic.own if role is identity.role)


def _cases(topic: Topic) -> Iterator[dict[str, str]]:
    """A topic's fields with the ids of the first nodes, and again with each id exchanged for another's."""
    if topic.fields == ("role", "id"):
        for name in IDENTITIES:
            identity = parse_identity(name)
            if identity.role is not Role.WATCHER:
                yield {"role": identity.role.value, "id": identity.id}
        return
    first = {field: LEVELS[field] for field in topic.fields}
    yield first
    for field, other in (("device", "cam-2"), ("edge", "edge-2"), ("type", "tv")):
        if field in first:
            yield first | {field: other}


@pytest.mark.parametrize("topic", TABLE, ids=lambda topic: topic.name)
def test_each_identity_can_do_what_its_role_does_and_nothing_else(topic: Topic, tmp_path: Path) -> None:
    async def main() -> None:
        async with mosquitto(tmp_path, config="secure", identities=IDENTITIES) as broker:
            # Everybody asks for everything of this row; what is forbidden is granted and never delivered.
            everything = dict.fromkeys(IDENTITIES, f"cans/v1/{topic.name}/#")
            async with _everybody(broker, everything) as connections:
                got: dict[str, set[tuple[str, bytes]]] = {name: set() for name in IDENTITIES}
                sent: list[tuple[str, dict[str, str], bytes]] = []
                for writer, connection in connections.items():
                    for number, fields in enumerate(_cases(topic)):
                        payload = f"{writer} {number}".encode()
                        allowed = _may_write(parse_identity(writer), topic, fields)
                        publish = connection.publish(TOPICS.of(topic, **fields), payload, qos=1)
                        if allowed:
                            await publish
                            sent.append((writer, fields, payload))
                        else:
                            with pytest.raises(PublishRefused, match="0x87"):
                                await publish
                # A probe that everybody may read comes last: what has not come before it never will.
                await _barrier(connections, got)
                for name in IDENTITIES:
                    expected = {
                        (TOPICS.of(topic, **fields), payload)
                        for _, fields, payload in sent
                        if _may_read(parse_identity(name), topic, fields)
                    }
                    assert got[name] == expected, name

    run(main())


async def _barrier(connections: dict[str, Connection], got: dict[str, set[tuple[str, bytes]]]) -> None:
    probe = "cans/v1/groups/probe/probe"
    for name, connection in connections.items():
        await connection.subscribe(probe)
        await connections["aggregator/main"].publish(probe, name.encode(), qos=1)
        listener = Listener(connection)
        while bytes((await listener.delivery(probe)).payload) != name.encode():
            pass
        for event in listener.seen:
            topic = getattr(event, "topic", probe)
            if topic != probe:
                got[name].add((topic, bytes(event.payload)))  # type: ignore[union-attr] # a delivery


def test_grants_name_the_own_id_on_every_row_that_asks_for_it() -> None:
    for name in IDENTITIES:
        identity = parse_identity(name)
        for topic, _ in TOPICS.rows():
            mine = [
                g for g in grants(identity, TOPICS) if g.topic_filter.startswith(f"cans/v1/{topic.name}/")
            ]
            writes = [g for g in mine if g.access == "write"]
            assert bool(writes) == (identity.role in topic.writers)
            if writes and any(role is identity.role for role, _ in topic.own):
                assert identity.id in writes[0].topic_filter.split("/")


def test_a_testbed_plays_below_its_own_prefix_and_nowhere_else(tmp_path: Path) -> None:
    need_mosquitto()
    names = ("device/phone/cam-1", "device/phone/cam-2", "coordinator/main")
    lab = Topics("cans/testbed")
    settings = BrokerSettings(
        config="secure", port=0, state_dir=tmp_path, identities=names, lab_prefix=lab.prefix
    )

    async def main() -> None:
        async with BrokerProcess(settings, quiet) as broker, contextlib.AsyncExitStack() as stack:
            one, two, coordinator = [
                await stack.enter_async_context(
                    open_connection(
                        broker.address_of(name),
                        Endpoint(name.replace("/", "-"), subscriptions=(("cans/#", 1),)),
                    )
                )
                for name in names
            ]
            # A player's name is neither in the ACL nor known before.
            await one.publish(lab.of(INFER, edge="edge-1", device="cam-1-p0-s1"), b"", qos=1)
            await one.publish(lab.of(LAB_REPORT, device="cam-1"), b"mine", qos=1)
            await coordinator.publish(lab.of(LAB_ORDER, device="cam-1"), b"play", qos=1)
            await coordinator.publish(lab.of(LAB_ORDER, device="cam-2"), b"stay", qos=1)
            for connection, topic in (
                (one, lab.of(LAB_REPORT, device="cam-2")),
                (one, lab.of(LAB_ORDER, device="cam-1")),
                (one, TOPICS.of(INFER, edge="edge-1", device="cam-1-p0-s1")),
                (coordinator, TOPICS.of(LAB_ORDER, device="cam-1")),
                (coordinator, lab.of(INFER, edge="edge-1", device="cam-1")),
            ):
                with pytest.raises(PublishRefused, match="0x87"):
                    await connection.publish(topic, b"", qos=1)
            heard = [await Listener(each).kind(Delivery) for each in (one, two, coordinator)]
            assert [bytes(each.payload) for each in heard] == [b"play", b"stay", b"mine"]

    run(main())


def test_a_testbed_cannot_play_below_the_sites_prefix(tmp_path: Path) -> None:
    need_mosquitto()
    settings = BrokerSettings(
        config="secure", state_dir=tmp_path, identities=IDENTITIES, lab_prefix="cans/v1", port=0
    )
    assert "give a testbed another" in _start(settings)


@pytest.mark.parametrize(
    "text",
    ["", "device/cam-1", "edge/a/b", "boss/a", "edge/A", "edge/+", "device/" + "a" * 40 + "/" + "b" * 40],
)
def test_an_identity_that_is_none_is_explained(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_identity(text)


# ---- wrong credentials -----------------------------------------------------------------------------------


async def _refusal(address: BrokerAddress) -> str:
    with pytest.raises((BrokerRefused, BrokerUnreachable)) as caught:
        async with open_connection(address, Endpoint("a")):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_wrong_certificates_ports_and_protocols_are_told_apart(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            mosquitto(tmp_path / "a", config="secure", identities=IDENTITIES) as secure,
            mosquitto(tmp_path / "b", config="secure", identities=IDENTITIES) as foreign,
            mosquitto(tmp_path / "c") as plain,
        ):
            good = secure.address_of("edge/edge-1")
            stranger = foreign.address_of("edge/edge-1")
            no_certificate = dataclasses.replace(good, certificate=None, key=None)
            other_ca = dataclasses.replace(good, ca=stranger.ca)
            other_certificate = dataclasses.replace(good, certificate=stranger.certificate, key=stranger.key)
            assert "does not verify" in await _refusal(other_ca)
            assert "lets nobody in without a certificate" in await _refusal(no_certificate)
            assert "refused this client's certificate" in await _refusal(other_certificate)
            assert "mqtts://" in await _refusal(BrokerAddress("127.0.0.1", secure.port))
            tls_to_plain = dataclasses.replace(good, port=plain.port)
            assert "does not speak TLS" in await _refusal(tls_to_plain)
            with socket.create_server(("127.0.0.1", 0)) as closed:
                port = closed.getsockname()[1]
            assert "nobody listens" in await _refusal(BrokerAddress("127.0.0.1", port))
            assert "cannot be found" in await _refusal(BrokerAddress("no-such-host.invalid", 1883))

    run(main())


def test_a_server_that_is_no_broker_is_recognised() -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            assert "is not an MQTT broker" in await _refusal(BrokerAddress("127.0.0.1", port))

    run(main())


def test_a_password_is_checked_and_a_wrong_one_explained(tmp_path: Path) -> None:
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", b"right", salt, 101)
    line = f"edge/edge-1:$7$101${b64encode(salt).decode()}${b64encode(digest).decode()}\n"
    (tmp_path / "passwords").write_text(line)
    (tmp_path / "passwords").chmod(0o600)

    async def main() -> None:
        async with mosquitto(tmp_path, config="password", identities=IDENTITIES) as broker:
            right = dataclasses.replace(broker.address, username="edge/edge-1", password="right")
            async with open_connection(right, Endpoint("a")) as connection:
                await connection.publish("cans/v1/reply/cam-1", b"", qos=1)
                with pytest.raises(PublishRefused):
                    await connection.publish("cans/v1/infer/edge-1/cam-1", b"", qos=1)
            wrong = dataclasses.replace(right, password="wrong")
            assert "user 'edge/edge-1'" in await _refusal(wrong)
            assert "without a user name" in await _refusal(broker.address)

    run(main())


def test_two_clients_of_one_id_are_told_even_by_a_broker_that_says_nothing() -> None:
    async def main() -> None:
        async with mosquitto() as broker:
            same = Endpoint("same")
            async with open_connection(broker.address, same) as one, open_connection(broker.address, same):
                told = await Listener(one).until(lambda e: isinstance(e, LinkDown) and e.taken_over)
                assert "same" in str(told)

    run(main())


# ---- starting --------------------------------------------------------------------------------------------


def _start(settings: BrokerSettings) -> str:
    async def main() -> None:
        async with BrokerProcess(settings, quiet):
            pass

    with pytest.raises(ConfigurationError) as caught:
        run(main())
    return str(caught.value)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_any_free_port_of_an_ipv6_address_will_do() -> None:
    need_mosquitto()

    async def main() -> None:
        async with (
            BrokerProcess(BrokerSettings(host="::1", port=0), quiet) as broker,
            open_connection(broker.address, Endpoint("a")),
        ):
            pass

    run(main())


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    need_mosquitto()
    file = tmp_path / "file"
    file.write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "is taken" in _start(BrokerSettings(port=taken.getsockname()[1]))
    assert "no broker configuration" in _start(BrokerSettings(config="x"))
    assert "cannot be written" in _start(BrokerSettings(state_dir=file))
    assert "needs mosquitto" in _start(BrokerSettings(config="secure", engine="amqtt"))
    secure = BrokerSettings(config="password", port=0, state_dir=tmp_path / "p")
    assert "nobody could connect" in _start(secure)
    assert "mosquitto_passwd" in _start(dataclasses.replace(secure, identities=IDENTITIES))
    for host in ("192.0.2.1", "nosuch.invalid", "a..b"):
        assert "choose another host" in _start(BrokerSettings(host=host))
        assert "choose another host" in _start(BrokerSettings(host=host, port=0))


def test_a_broker_that_dies_ends_run_broker_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_mosquitto()

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        task = asyncio.create_task(run_broker(BrokerSettings(port=port, state_dir=tmp_path)))
        address = BrokerAddress("127.0.0.1", port)
        async with open_connection(address, Endpoint("a"), first_connect="wait") as connection:
            await Listener(connection).until(lambda event: type(event).__name__ == "LinkUp")
        pid = int(capsys.readouterr().err.split("pid ")[1].split(";")[0])
        os.kill(pid, 9)
        with pytest.raises(ConfigurationError, match="ended by itself"):
            await task

    run(main())


def test_provisioning_keeps_what_is_there_and_adds_what_is_new(tmp_path: Path) -> None:
    async def start(*identities: str) -> bytes:
        async with mosquitto(tmp_path, config="secure", identities=identities) as broker:
            for name in identities:
                async with open_connection(broker.address_of(name), Endpoint("a")):
                    pass
            return (tmp_path / "ca" / "ca.pem").read_bytes()

    assert run(start("edge/edge-1")) == run(start("edge/edge-2"))
    acl = (tmp_path / "acl").read_text()
    assert "user edge/edge-1\n" in acl
    assert "user edge/edge-2\n" in acl
    for key in tmp_path.rglob("key.pem"):
        assert key.stat().st_mode & 0o077 == 0
    ssl.create_default_context(cafile=str(tmp_path / "ca" / "ca.pem"))


def test_a_key_that_was_taken_away_opens_nothing_even_after_a_new_one_was_issued(tmp_path: Path) -> None:
    name = "edge/edge-1"
    stolen = tmp_path / "stolen"

    async def main() -> None:
        state = tmp_path / "state"
        async with (
            mosquitto(state, config="secure", identities=(name, "watcher/wall")) as broker,
            open_connection(broker.address_of(name), Endpoint("a")),
        ):
            pass
        (state / "identities" / name).rename(stolen)
        for identities in ((), (name,)):  # not replaced, then replaced
            async with mosquitto(state, config="secure", identities=identities) as broker:
                thief = dataclasses.replace(
                    broker.address_of(name), certificate=stolen / "certificate.pem", key=stolen / "key.pem"
                )
                assert "certificate" in await _refusal(thief)
        async with (
            mosquitto(state, config="secure") as broker,
            open_connection(broker.address_of(name), Endpoint("a")),
        ):
            pass

    run(main())


def test_one_device_id_belongs_to_one_type(tmp_path: Path) -> None:
    need_mosquitto()
    twins = ("device/phone/cam-1", "device/tv/cam-1")
    settings = BrokerSettings(config="secure", port=0, state_dir=tmp_path, identities=twins)
    assert "of type phone and of type" in _start(settings)
    assert _start(dataclasses.replace(settings, identities=("device/x",))).startswith("identity 'device/x'")
    assert "identity" in _start(BrokerSettings(port=0, identities=("device/x",)))


def test_a_broker_whose_log_nobody_can_take_runs_on() -> None:
    lines = 0

    def full(line: str) -> None:
        nonlocal lines
        lines += 1
        raise OSError(28, "No space left on device")

    async def main() -> None:
        async with mosquitto(on_line=full) as broker:
            # mosquitto says three lines for each: far more in all than a pipe holds.
            for _ in range(600):
                _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
                writer.write(b"x" * 64)
                writer.close()
            async with open_connection(broker.address, Endpoint("a")) as connection:
                await connection.publish("t", b"", qos=1)

    run(main())
    assert lines == 1


def test_templates_are_found_and_filled_in_completely(tmp_path: Path) -> None:
    assert (template_folder() / "README.md").is_file()
    for config in ("dev", "secure", "password"):
        text = render(config, host="127.0.0.1", port=1, state_dir=tmp_path)
        assert "$" not in text
        assert "max_packet_size 8388608" in text


@pytest.mark.parametrize(
    "unit", sorted((template_folder() / "systemd").glob("*.service")), ids=lambda p: p.stem
)
def test_a_service_unit_starts_a_command_with_flags_that_it_has(unit: Path) -> None:
    (start,) = [line for line in unit.read_text().splitlines() if line.startswith("ExecStart=")]
    _, *arguments = start.removeprefix("ExecStart=").split()
    result = CliRunner().invoke(main, [*arguments, "--show-settings"])
    assert result.exit_code == 0, result.output
    lab = "-lab" if "--lab" in arguments else ""
    assert f"cans-{arguments[0]}{lab}" == unit.stem
