"""Who may connect to a secure broker, changed while it runs, by delivery: added, renewed, revoked, stolen."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import shutil
import stat
import tarfile
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from bus.address import BrokerAddress
from bus.connection import Connection, Endpoint
from bus.errors import CansError, ConfigurationError
from bus.mqtt import open_connection
from cans.__main__ import main as command_line
from cans.broker import provisioning
from cans.broker.process import BrokerProcess
from tests.support.broker import PATIENCE_S, Listener, mosquitto, run

URL = "mqtts://localhost:8883"
WALL, MAIN, CAM = "watcher/wall", "aggregator/main", "device/pi4/cam-1"


def _cans(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["provision", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture
def site(tmp_path: Path) -> Path:
    state = tmp_path / "broker"
    code, said = _cans("site", "--state-dir", state, "--identity", MAIN, "--identity", WALL)
    assert (code, "ready for cans broker" in said) == (0, True), said
    return state


def test_a_bundle_is_all_that_a_machine_needs_and_only_its_owner_can_read_it(
    site: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cam-1.tar"
    code, said = _cans("add", CAM, "--state-dir", site, "--broker", URL, "-o", out)
    assert (code, "cd cam-1 && cans device" in said) == (0, True), said
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with tarfile.open(out) as archive:
        assert {member.name: member.mode for member in archive} == dict.fromkeys(
            ("cam-1/ca.pem", "cam-1/certificate.pem", "cam-1/key.pem", "cam-1/cans.toml"), 0o600
        )
        archive.extractall(tmp_path, filter="data")
    settings = tomllib.loads((tmp_path / "cam-1" / "cans.toml").read_text())
    assert settings["device"] == {"id": "cam-1", "type": "pi4", "state-dir": "state"}
    assert settings["broker"] == {"url": URL, "ca": "ca.pem", "cert": "certificate.pem", "key": "key.pem"}
    assert (tmp_path / "cam-1" / "key.pem").read_bytes() == (
        site / "identities" / CAM / "key.pem"
    ).read_bytes()
    assert _cans("bundle", CAM, "--state-dir", site, "--broker", URL, "-o", out)[0] == 2  # never written over
    again = tmp_path / "again.tar"
    assert _cans("bundle", CAM, "--state-dir", site, "--broker", URL, "-o", again)[0] == 0
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(("name", "section"), [("edge/e", "edge"), (MAIN, "aggregator"), (WALL, None)])
def test_each_role_finds_its_settings(site: Path, tmp_path: Path, name: str, section: str | None) -> None:
    if name.startswith("edge"):
        provisioning.add(site, name)
    provisioning.bundle(site, name, URL, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        id_ = name.rpartition("/")[2]
        file = archive.extractfile(f"{id_}/cans.toml")
        assert file is not None
        settings = tomllib.loads(file.read().decode())
    assert set(settings) == {"broker", *([section] if section else [])}


def test_a_list_says_until_when_and_fails_before_it_is_too_late(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = _cans("list", "--state-dir", site)
    assert (code, MAIN in said, WALL in said) == (0, True, True)
    rows = json.loads(_cans("list", "--json", "--state-dir", site)[1])
    assert {row["identity"] for row in rows} == {MAIN, WALL, "the broker itself", "the authority"}
    until = dt.datetime.fromisoformat(rows[0]["until"])
    soon = provisioning.Issued(MAIN, until)
    assert soon.days(until - dt.timedelta(days=3, hours=1)) == 3
    monkeypatch.setattr("cans.commands.provision._SOON_DAYS", 100_000)
    code, said = _cans("list", "--state-dir", site)
    assert (code, "renew those" in said) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", MAIN, "--broker", URL), "is there already"),
        (("add", "camera/x", "--broker", URL), "is none: write device/TYPE/ID"),
        (("add", CAM, "--broker", "mqtt://localhost"), "is not encrypted"),
        (("revoke", CAM), "there is no device/pi4/cam-1"),
        (("renew", CAM, "--broker", URL), "it has aggregator/main, watcher/wall"),
        (("bundle", WALL, "--broker", URL, "-o", "/nowhere/x.tar"), "/nowhere is no folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(site: Path, arguments: tuple[str, ...], said: str) -> None:
    code, output = _cans(*arguments, "--state-dir", site)
    assert (code, said in output) == (2, True), output


def test_nobody_is_not_a_site_and_the_last_one_stays(site: Path, tmp_path: Path) -> None:
    code, said = _cans("list", "--state-dir", tmp_path / "none")
    assert (code, "make one with cans provision site" in said) == (2, True)
    code, said = _cans("site", "--state-dir", tmp_path / "empty")
    assert (code, "nobody could connect" in said) == (2, True)
    assert _cans("revoke", WALL, "--state-dir", site)[0] == 0
    code, said = _cans("revoke", MAIN, "--state-dir", site)
    assert (code, "is the only one" in said) == (2, True)
    (site / "site.json").write_text("{")
    with pytest.raises(ConfigurationError, match="is damaged"):
        provisioning.issued(site)
    (site / "site.json").unlink()  # as one that was made before there was such a file
    assert len(provisioning.issued(site)) == 3  # with the broker and the authority


def test_who_was_revoked_is_made_again_only_on_purpose(site: Path) -> None:
    assert _cans("revoke", WALL, "--state-dir", site)[0] == 0
    code, said = _cans("site", "--state-dir", site, "--identity", WALL)
    assert (code, f"{WALL} was revoked: cans provision add" in said) == (2, True)
    assert not (site / "identities" / WALL / "certificate.pem").exists()
    assert _cans("add", WALL, "--state-dir", site, "--broker", URL, "-o", site / "wall.tar")[0] == 0
    assert _cans("site", "--state-dir", site, "--identity", WALL)[0] == 0


def test_a_broker_started_by_its_old_command_line_makes_nobody_again(site: Path) -> None:
    assert _cans("revoke", WALL, "--state-dir", site)[0] == 0
    lines: list[str] = []

    async def start() -> None:
        names = (MAIN, WALL)
        async with mosquitto(site, config="secure", identities=names, on_line=lines.append) as broker:
            assert broker.port

    run(start())
    assert [line for line in lines if line.startswith(f"{WALL} was revoked: not made again")]
    assert not (site / "identities" / WALL / "certificate.pem").exists()
    assert provisioning.remembered(site).revoked == (WALL,)


def test_changes_keep_the_sites_prefix(tmp_path: Path) -> None:
    about = provisioning.About("home/cans", "home/lab")
    provisioning.prepare(tmp_path, (MAIN,), (), about.prefix, about.lab_prefix)
    provisioning.add(tmp_path, CAM)
    acl = (tmp_path / "acl").read_text()
    assert "topic write home/cans/feedback/pi4/cam-1" in acl
    assert "home/lab/" in acl
    provisioning.bundle(tmp_path, CAM, URL, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        file = archive.extractfile("cam-1/cans.toml")
        assert file is not None
        assert tomllib.loads(file.read().decode())["broker"]["prefix"] == "home/cans"


def _revoked(state: Path) -> int:
    crl = x509.load_pem_x509_crl((state / "ca" / "crl.pem").read_bytes())
    return len(list(crl))


def test_a_revocation_holds_whatever_lies_in_the_folder_and_can_be_said_twice(site: Path) -> None:
    (site / "identities" / WALL / "notes.txt").write_text("somebody's own")
    assert _cans("revoke", WALL, "--state-dir", site)[0] == 0
    assert _revoked(site) == 1
    assert "watcher/wall" not in (site / "acl").read_text()
    assert not (site / "identities" / WALL / "key.pem").exists()
    assert _cans("revoke", WALL, "--state-dir", site)[0] == 0
    assert _revoked(site) == 1
    provisioning.add(site, WALL)  # the folder is no hindrance
    assert "watcher/wall" in (site / "acl").read_text()


def test_one_that_was_cut_short_is_finished_by_the_next(site: Path) -> None:
    (site / "identities" / WALL / "certificate.pem").unlink()  # killed right behind that
    assert _revoked(site) == 0
    assert _cans("revoke", WALL, "--state-dir", site)[0] == 0
    assert _revoked(site) == 1


def test_nothing_is_changed_where_a_bundle_could_not_be_written(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "main.tar"
    out.write_text("of before")
    key = (site / "identities" / MAIN / "key.pem").read_bytes()
    assert _cans("renew", MAIN, "--state-dir", site, "--broker", URL, "-o", out)[0] == 2
    assert (site / "identities" / MAIN / "key.pem").read_bytes() == key
    assert _cans("add", CAM, "--state-dir", site, "--broker", URL, "-o", out)[0] == 2
    assert not (site / "identities" / CAM).exists()
    assert _cans("renew", MAIN, "--state-dir", site, "--broker", URL, "-o", tmp_path / "new.tar")[0] == 0
    assert (site / "identities" / MAIN / "key.pem").read_bytes() != key
    (site / "identities" / MAIN / "key.pem").unlink()
    code, said = _cans("bundle", MAIN, "--state-dir", site, "--broker", URL, "-o", tmp_path / "x.tar")
    assert (code, "is missing" in said) == (2, True)


def test_a_site_keeps_its_prefixes_and_a_testbed_never_gets_the_sites(tmp_path: Path) -> None:
    asked = ("site", "--state-dir", tmp_path, "--identity", MAIN)
    code, said = _cans(*asked, "--prefix", "home/cans", "--lab-prefix", "home/cans")
    assert (code, "is the site's own prefix" in said) == (2, True)
    code, said = _cans(*asked, "--prefix", "home/cans", "--lab-prefix", "home/lab")
    assert (code, "--prefix home/cans --lab-prefix home/lab" in said) == (0, True)
    before = (tmp_path / "acl").read_text()
    assert _cans(*asked)[0] == 0
    assert (tmp_path / "acl").read_text() == before

    async def main() -> None:
        async with mosquitto(tmp_path, config="secure"):
            pass

    with pytest.raises(ConfigurationError, match="has the prefix home/cans"):
        run(main())


def test_an_address_with_quotes_is_one_of_the_settings(site: Path, tmp_path: Path) -> None:
    odd = 'mqtts://a"b:8883'
    provisioning.bundle(site, MAIN, odd, tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as archive:
        file = archive.extractfile("main/cans.toml")
        assert file is not None
        assert tomllib.loads(file.read().decode())["broker"]["url"] == odd


async def _refusal(address: BrokerAddress) -> str:
    """Return why a connection is refused; empty where it is not."""
    try:
        async with asyncio.timeout(PATIENCE_S), open_connection(address, Endpoint("thief")):
            return ""
    except CansError as error:
        return str(error)


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it: a running broker is told of changes within two seconds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await true():  # noqa: ASYNC110 - nobody tells when a broker has read its files
            await asyncio.sleep(0.2)


def _heard(connection: Connection, topic: str) -> Callable[[], Awaitable[bool]]:
    """Return what asks whether the broker takes what it publishes."""

    async def ask() -> bool:
        try:
            async with asyncio.timeout(1.0):
                await connection.publish(topic, b"x", qos=1)
        except (CansError, TimeoutError):
            return False
        return True

    return ask


def _with(address: BrokerAddress, folder: Path) -> BrokerAddress:
    return dataclasses.replace(address, certificate=folder / "certificate.pem", key=folder / "key.pem")


@contextlib.asynccontextmanager
async def _running(state: Path) -> AsyncIterator[BrokerProcess]:
    async with mosquitto(state, config="secure", identities=(MAIN, WALL)) as broker:
        following = asyncio.create_task(broker.follow())
        try:
            yield broker
        finally:
            following.cancel()


def test_a_running_broker_lets_new_ones_in_and_revoked_ones_out(tmp_path: Path) -> None:
    """Who is added is heard; who is revoked is heard no more, though connected, and cannot come back."""
    topic, stolen, state = "cans/v1/feedback/pi4/cam-1", tmp_path / "stolen", tmp_path / "state"

    async def main() -> None:
        async with (
            _running(state) as broker,
            open_connection(broker.address_of(WALL), Endpoint("wall")) as wall,
        ):
            await wall.subscribe("cans/v1/feedback/#")
            listener = Listener(wall)
            await asyncio.to_thread(provisioning.add, state, CAM)
            shutil.copytree(state / "identities" / CAM, stolen)
            mine, thiefs = broker.address_of(CAM), _with(broker.address_of(CAM), stolen)
            async with open_connection(mine, Endpoint("cam")) as device:
                await _until(_heard(device, topic))
                assert bytes((await listener.delivery(topic)).payload) == b"x"
                await asyncio.to_thread(provisioning.revoke, state, CAM)

                async def silenced() -> bool:
                    return not await _heard(device, topic)()

                await _until(silenced)
                assert "certificate" in await _refusal(thiefs)
            assert await _refusal(broker.address_of(MAIN)) == ""  # for others nothing has changed
            await asyncio.to_thread(provisioning.add, state, CAM)
            async with open_connection(mine, Endpoint("cam")) as device:
                await _until(_heard(device, topic))
            assert "certificate" in await _refusal(thiefs)
            await asyncio.to_thread(provisioning.renew, state, CAM)
            async with open_connection(mine, Endpoint("cam")) as device:
                await _until(_heard(device, topic))

    run(main())
