"""One file with what a site cannot make again, and the way back.

That is the broker's folder (authority, certificates, retained messages), what groups know, and models. A
device's state is never in it: a device that begins anew is warm at once, by its group; an older copy of what
it has sent would be taken for a repetition, and its next rows would be lost.
This file must never write into a folder that is there.
"""

import datetime as dt
import gzip
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from aggregator.record import decode_record
from bus.errors import ConfigurationError
from cans.rewind import restore as restore_groups
from cans.rewind import snapshot_of
from cans.version import __version__

FORMAT = 1
_ABOUT = "backup.json"
_GROUPS = "groups"
_DAMAGE = (
    *(tarfile.TarError, OSError, EOFError, zlib.error),
    *(KeyError, ValueError, AssertionError, msgspec.MsgspecError),
)


Kind = Literal["aggregator", "broker", "models"]


class Kept(msgspec.Struct, frozen=True):
    """One folder: its name in the backup, whose it is, and where it was."""

    name: str
    kind: Kind
    was: str


class Contents(msgspec.Struct, frozen=True):
    """What a backup says of itself, in its first member.

    Attributes:
        format: of the file. version: of who made it. at: when, ISO 8601, UTC.
    """

    format: int
    version: str
    at: str
    folders: list[Kept]


def kind_of(folder: Path) -> Kind:
    """Return whose folder it is: aggregator, broker or models.

    Raises:
        ConfigurationError: a device's, or none that cans knows.
    """
    if (folder / _GROUPS).is_file():
        return "aggregator"
    if (folder / "ca" / "ca.pem").is_file() or (folder / "mosquitto.db").is_file():
        return "broker"
    if (folder / "names").is_dir() or any(folder.glob("*/model.json")):
        return "models"
    if any(folder.glob("device-*.state")):
        raise ConfigurationError(
            f"{folder} is a device's: leave it out. A new device is warm by its group; an old copy would be "
            "taken for a repetition of what it has sent already"
        )
    raise ConfigurationError(
        f"{folder} is no state folder of a broker or an aggregator, and no model folder: give one of those"
    )


def write_backup(folders: Sequence[Path], out: Path) -> list[Kept]:
    """Write a new file that only its owner can read; return what is in it.

    Roles may go on meanwhile: each file is replaced by a rename, so it is read as it was before or after.

    Raises:
        ConfigurationError: nothing to back up, two folders of one name, `out` exists or lies in one of them,
            or the disk is full.
    """
    about = [Kept(each.resolve().name, kind_of(each), str(each.resolve())) for each in folders]
    names = [each.name for each in about]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError("give folders of different names, one or more: they are restored under them")
    if out.exists():
        raise ConfigurationError(f"{out} is there already: give another --out")
    if any(out.resolve().is_relative_to(each.was) for each in about):
        raise ConfigurationError(f"{out} lies in a folder that it is to hold: give another --out")
    try:
        descriptor, partial = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                _fill(raw, folders, about)
                raw.flush()
                os.fsync(raw.fileno())
            Path(partial).replace(out)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"cannot write {out}: {error.strerror or error}") from None
    return about


def _fill(raw: BinaryIO, folders: Sequence[Path], about: list[Kept]) -> None:
    with gzip.GzipFile(fileobj=raw, mode="wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        _add(tar, _ABOUT, msgspec.json.encode(Contents(FORMAT, __version__, _now(), about)))
        for folder, each in zip(folders, about, strict=True):
            if each.kind == "aggregator":
                decode_record(snapshot_of(folder / _GROUPS))  # a damaged one is told now, not in need
                tar.add(folder / _GROUPS, f"{each.name}/{_GROUPS}")
            else:
                tar.add(folder, each.name, filter=_worth_keeping)


def _worth_keeping(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """No sockets, locks and half-written files, and no links out of the folder."""
    name = Path(member.name).name
    return member if (member.isreg() or member.isdir()) and not name.endswith((".new", ".lock")) else None


def _add(tar: tarfile.TarFile, name: str, payload: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    tar.addfile(member, io.BytesIO(payload))


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def contents(file: Path) -> Contents:
    """Return what a backup says of itself, after it was read to its end.

    Raises:
        ConfigurationError: it is none, it is damaged, or of a newer version.
    """
    try:
        _read_to_its_end(file)
        with tarfile.open(file, "r:gz") as tar:
            first = tar.extractfile(_ABOUT)
            assert first is not None
            said = msgspec.json.decode(first.read(), type=Contents)
    except FileNotFoundError:
        raise ConfigurationError(f"{file} does not exist") from None
    except _DAMAGE as error:
        raise ConfigurationError(f"{file} is no backup of cans, or is damaged: {error}") from None
    if said.format != FORMAT:
        raise ConfigurationError(f"{file} was made by cans {said.version}: restore it with that version")
    return said


def _read_to_its_end(file: Path) -> None:
    """Hold it against its checksum, before anything is written."""
    with gzip.open(file) as packed:
        while packed.read(1 << 20):
            pass


def restore_backup(file: Path, into: Path) -> list[tuple[Kind, Path]]:
    """Put every folder of a backup below another one; return kind and place of each.

    Groups get a new origin (`cans aggregator restore`), so devices adopt them.

    Raises:
        ConfigurationError: as `contents`, or one of them is there already; then nothing is written.
    """
    places = [(each.kind, into / Path(each.name).name) for each in contents(file).folders]
    there = [place for _, place in places if place.exists()]
    if there:
        raise ConfigurationError(f"{there[0]} is there already: move it away, or give another --into")
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into) as half, tarfile.open(file, "r:gz") as tar:
            tar.extractall(half, filter=_safely)  # noqa: S202 - the filter is ours
            for kind, place in places:
                _place(kind, Path(half) / place.name, place)
    except OSError as error:
        raise ConfigurationError(f"cannot restore into {into}: {error.strerror or error}") from None
    return places


def _place(kind: Kind, from_: Path, to: Path) -> None:
    if kind == "aggregator":
        restore_groups(from_ / _GROUPS, to)
    else:
        from_.rename(to)


def _safely(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """Nothing outside the folder, no owners of another machine; folders stay as closed as they were."""
    return tarfile.data_filter(member, path).replace(mode=member.mode & 0o755)
