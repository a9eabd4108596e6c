"""`cans backup`: what a site cannot make again, in one file and back."""

import io
import stat
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from aggregator.record import Record, decode_record
from bus.snapshot import read_snapshot
from cans.__main__ import main
from cans.broker.provisioning import prepare
from tests.reference.make import RECORDING


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(each) for each in arguments])
    return done.exit_code, done.output


def record_of(path: Path) -> Record:
    payload = read_snapshot(path)
    assert payload is not None
    return decode_record(payload)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folders of a broker, an aggregator that knows groups, and models."""
    prepare(tmp_path / "broker", ("aggregator/main",), ("broker.local",), None, None)
    (tmp_path / "broker" / "mosquitto.db.new").write_bytes(b"half")
    assert run("rewind", RECORDING, "--at", "5", "-o", tmp_path / "then.groups")[0] == 0
    code, said = run("aggregator", "restore", tmp_path / "then.groups", "--state-dir", tmp_path / "main")
    assert code == 0, said
    (tmp_path / "models" / "names").mkdir(parents=True)
    (tmp_path / "models" / "names" / "current").write_text("0123456789abcdef")
    return tmp_path


def write(site: Path, *names: str) -> Path:
    code, said = run("backup", "write", *(site / name for name in names), "-o", site / "monday.tar.gz")
    assert code == 0, said
    return site / "monday.tar.gz"


def test_a_site_comes_back(site: Path) -> None:
    file = write(site, "broker", "main", "models")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, said = run("backup", "restore", file, "--into", site / "again")
    assert code == 0, said
    assert said.splitlines() == [
        f"{site}/again/broker: give it to cans broker --state-dir",
        f"{site}/again/main: give it to cans aggregator --state-dir",
        f"{site}/again/models: give it to cans edge --models-dir",
    ]
    assert (site / "again/models/names/current").read_text() == "0123456789abcdef"
    key = Path("identities/aggregator/main/key.pem")
    assert (site / "again/broker" / key).read_bytes() == (site / "broker" / key).read_bytes()
    assert stat.S_IMODE((site / "again/broker" / key).stat().st_mode) == 0o600
    assert not (site / "again/broker/mosquitto.db.new").exists()
    assert sorted(each.name for each in (site / "again").iterdir()) == ["broker", "main", "models"]


def test_restored_groups_know_the_same_and_have_an_origin_of_their_own(site: Path) -> None:
    file = write(site, "main")
    assert run("backup", "restore", file, "--into", site / "again")[0] == 0
    before, after = record_of(site / "main/groups"), record_of(site / "again/main/groups")
    assert before.groups
    assert after.groups == before.groups
    assert after.origin != before.origin


def test_it_says_what_it_holds(site: Path) -> None:
    code, said = run("backup", "show", write(site, "broker", "main"))
    assert code == 0
    assert f"aggregator: main, which was {site}/main" in said
    assert f"broker: broker, which was {site}/broker" in said


def test_a_damaged_file_is_one_sentence_and_nothing_is_written(site: Path) -> None:
    whole = write(site, "main").read_bytes()
    damaged = site / "damaged.tar.gz"
    lengths = [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1]
    for length in lengths:
        damaged.write_bytes(whole[:length])
        for part in (["show", damaged], ["restore", damaged, "--into", site / "again"]):
            code, said = run("backup", *part)
            assert (code, said.startswith("cans: "), said.count("\n")) == (2, True, 1), (length, said)
    assert not (site / "again").exists()


@pytest.mark.parametrize("about", [b"{}", b"[]", b"{", b'{"format":9,"version":"9","at":"","folders":[]}'])
def test_what_says_something_else_of_itself_is_one_sentence(tmp_path: Path, about: bytes) -> None:
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as tar:
        member = tarfile.TarInfo("backup.json")
        member.size = len(about)
        tar.addfile(member, io.BytesIO(about))
    code, said = run("backup", "restore", other, "--into", tmp_path / "again")
    assert (code, said.startswith("cans: "), said.count("\n")) == (2, True, 1), said


def test_what_is_there_is_never_touched(site: Path) -> None:
    file = write(site, "main", "models")
    before = (site / "main/groups").read_bytes()
    code, said = run("backup", "restore", file, "--into", site)
    assert (code, "is there already" in said) == (2, True)
    assert (site / "main/groups").read_bytes() == before
    code, said = run("backup", "write", site / "main", "-o", file)
    assert (code, "give another --out" in said) == (2, True)


@pytest.mark.parametrize(
    ("name", "holds", "sentence"),
    [
        ("cam-1", "device-cam-1-pi4-ab-cd.state", "a new device is warm by its group"),
        ("photos", "one.png", "no state folder"),
        ("wrong", "groups", "no snapshot of an aggregator"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, name: str, holds: str, sentence: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / holds).write_bytes(b"something else")
    code, said = run("backup", "write", tmp_path / name, "-o", tmp_path / "out.tar.gz")
    assert (code, sentence.lower() in said.lower()) == (2, True), said
    assert sorted(each.name for each in tmp_path.iterdir()) == [name]


def test_folders_of_one_name_and_a_folder_that_is_not_there(site: Path) -> None:
    (site / "other").mkdir()
    (site / "main").rename(site / "other" / "broker")
    code, said = run("backup", "write", site / "broker", site / "other/broker", "-o", site / "out.tar.gz")
    assert (code, "different names" in said) == (2, True)
    code, said = run("backup", "write", site / "broker", "-o", site / "broker" / "out.tar.gz")
    assert (code, "lies in a folder that it is to hold" in said) == (2, True)
    code, said = run("backup", "write", site / "broker", "-o", site / "none" / "out.tar.gz")
    assert (code, "cannot write" in said) == (2, True)
