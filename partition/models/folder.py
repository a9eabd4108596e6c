"""A folder of models by hash: what is in it, what is called how, and how an entry goes.

    DIR/0123456789abcdef/model.json            the manifest
                         weights.safetensors   the weights
                         model.pt2             of an archive, the archive
                         bottleneck-....safetensors, exits-....safetensors, named by their content
    DIR/names/current                          a name: a file that holds a hash

An entry appears and goes by one rename, so a reader sees all of it or nothing, and two writers cannot make
half of each. What was trained for a model later comes by a rename of the manifest.
Whoever can write here decides what edge workers compute: it is a folder of the owner's, and nothing in it
ever comes from the bus.
This file must never open a model or import torch; `partition.models.entries` does.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bus.errors import ConfigurationError
from bus.names import require_name
from partition.models.manifests import Archive, Manifest, Part

MANIFEST, WEIGHTS, ARCHIVE, NAMES = "model.json", "weights.safetensors", "model.pt2", "names"
_HASH = re.compile(r"[0-9a-f]{16}")
_PREFIX = re.compile(r"[0-9a-f]{4,16}")
# A manifest of thousands of derived entries is a hundred KiB.
_MANIFEST_BYTES = 4 * 1024 * 1024
# Unfinished work is hidden from readers; older than this, its writer is dead.
_UNFINISHED = ".unfinished-"
_UNFINISHED_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in a folder.

    Attributes:
        path: of its own folder.
        manifest: what it says of itself; the files are not checked against it yet.
        names: that point to it.
    """

    path: Path
    manifest: Manifest
    names: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Of the model."""
        return self.manifest.hash

    @property
    def bytes(self) -> int:
        """Of all files that the manifest names."""
        archive = self.manifest.source.bytes if isinstance(self.manifest.source, Archive) else 0
        return self.manifest.weights.bytes + archive + sum(part.bytes for part in self.trained)

    @property
    def trained(self) -> tuple[Part, ...]:
        """What was trained for the model and lies beside it."""
        return (*self.manifest.bottlenecks, *self.manifest.exits)

    @property
    def trained_sha256(self) -> tuple[str, ...]:
        """By which two states of an entry differ; its hash is that of the model alone."""
        return tuple(part.sha256 for part in self.trained)


def hashes(folder: Path) -> tuple[str, ...]:
    """Return the hashes of the entries, sorted; none if there is no folder yet.

    Raises:
        ConfigurationError: the folder cannot be read.
    """
    try:
        return tuple(sorted(item.name for item in folder.iterdir() if _HASH.fullmatch(item.name)))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unusable(folder, error) from None


def read(folder: Path, hash_: str) -> Entry:
    """Return one entry.

    Raises:
        ConfigurationError: it is not there, or damaged, in a sentence.
    """
    path = folder / hash_
    if not _HASH.fullmatch(hash_) or not os.path.lexists(path):
        raise _absent(folder, hash_)
    if path.is_symlink():
        raise _damaged(path, "it is a link, and could be turned to another model unseen")
    try:
        manifest = msgspec.json.decode(_content(path / MANIFEST), type=Manifest)
    except msgspec.DecodeError as error:
        raise _damaged(path, f"{MANIFEST}: {error}") from None
    if manifest.hash != hash_:
        raise _damaged(path, f"{MANIFEST} is of model {manifest.hash}")
    return Entry(path, manifest, tuple(name for name, at in names(folder).items() if at == hash_))


def names(folder: Path) -> dict[str, str]:
    """Return the names and the hashes that they stand for; a name that cannot be read stands for none."""
    found = {}
    with contextlib.suppress(OSError):
        for item in sorted((folder / NAMES).iterdir()):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                text = item.read_text(encoding="ascii").strip()
                if _HASH.fullmatch(text):
                    found[item.name] = text
    return found


def resolve(folder: Path, word: str) -> str:
    """Return the hash that a person means by a name, a hash, or its first digits (4 or more).

    Raises:
        ConfigurationError: it means none, or several.
    """
    named = names(folder).get(word)
    if named is not None:
        return named
    found = [hash_ for hash_ in hashes(folder) if hash_.startswith(word)] if _PREFIX.fullmatch(word) else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"{word} begins {len(found)} models ({', '.join(found)}): give more digits")
    raise ConfigurationError(
        f"there is no model {word!r} in {folder}: give a hash or a name that `cans models list` shows"
    )


def use(folder: Path, name: str, word: str) -> str:
    """Let a name stand for a model from now on; return the model's hash.

    Raises:
        ConfigurationError: no such model, a name that will not do, or a folder that cannot be written.
    """
    require_alias(name)
    hash_ = read(folder, resolve(folder, word)).hash
    with _writing(folder):
        (folder / NAMES).mkdir(exist_ok=True)
        temporary = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            _write(temporary, f"{hash_}\n".encode())
            temporary.replace(folder / NAMES / name)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(folder / NAMES)
    return hash_


def require_alias(name: str) -> None:
    """Refuse what cannot be a model's name.

    Raises:
        ConfigurationError: what a name may look like.
    """
    if _PREFIX.fullmatch(require_name(name, "name of a model")):
        raise ConfigurationError(f"the name {name!r} could be taken for a hash: give it another letter")


def remove(folder: Path, word: str) -> tuple[str, tuple[str, ...]]:
    """Remove a model, damaged or not; return its hash and the names that went with it.

    Raises:
        ConfigurationError: no such model, or a folder that cannot be written.
    """
    hash_ = resolve(folder, word)
    gone = tuple(name for name, at in names(folder).items() if at == hash_)
    path, aside = folder / hash_, folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
    with _writing(folder):
        try:
            path.rename(aside)
        except FileNotFoundError:
            raise _absent(folder, hash_) from None
        for name in gone:
            (folder / NAMES / name).unlink(missing_ok=True)
        _sync(folder)
    if aside.is_symlink():
        aside.unlink()
    else:
        shutil.rmtree(aside, ignore_errors=True)
    return hash_, gone


@contextlib.contextmanager
def unfinished(folder: Path) -> Iterator[Path]:
    """A new folder that readers do not see; what is left of it at the end goes.

    Raises:
        ConfigurationError: the folder cannot be written, or the disk is full: nothing is left.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        path = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def finish(made: Path, manifest: Manifest) -> bool:
    """Turn an unfinished folder into an entry, durably; False if the model is there already.

    Raises:
        OSError: disk full and so on.
    """
    _write_manifest(made, manifest)
    for file in made.iterdir():
        _sync(file)
    _sync(made)
    try:
        made.rename(made.parent / manifest.hash)
    except OSError:
        if not os.path.lexists(made.parent / manifest.hash):
            raise
        return False
    _sync(made.parent)
    return True


def change(made: Path, manifest: Manifest) -> None:
    """Let an entry that is there have what an unfinished folder holds besides, durably.

    What the old manifest names stays, for whoever has just read it; files have their content's name, so none
    is ever written over with anything else.

    Args:
        made: with those files that `manifest` names and the entry has not.
        manifest: of an entry that is there.

    Raises:
        OSError: disk full and so on.
    """
    path = made.parent / manifest.hash
    for part in (*manifest.bottlenecks, *manifest.exits):
        with contextlib.suppress(FileNotFoundError):
            _sync(made / part.file)
            (made / part.file).replace(path / part.file)
    _sync(path)
    (made / MANIFEST).unlink(missing_ok=True)
    _write_manifest(made, manifest)
    (made / MANIFEST).replace(path / MANIFEST)
    _sync(path)


def version(folder: Path, hash_: str) -> tuple[int, int] | None:
    """Return what tells an entry from what it was before it was changed or made anew; None if it is gone."""
    for path in (folder / hash_ / MANIFEST, folder / hash_):  # one without a manifest is damaged, but there
        with contextlib.suppress(OSError):
            status = path.lstat()
            return status.st_ino, status.st_mtime_ns
    return None


def digest(path: Path) -> tuple[str, int]:
    """Return SHA-256 and size of a regular file.

    Raises:
        ConfigurationError: there is none, or it is a link.
    """
    with contextlib.ExitStack() as stack:
        try:
            # O_NOFOLLOW: a link could be turned to another file between the check and the use.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            file = stack.enter_context(os.fdopen(descriptor, "rb"))
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                return hashlib.file_digest(file, "sha256").hexdigest(), status.st_size
        except OSError as error:
            raise _damaged(path.parent, f"{path.name}: {(error.strerror or '').lower()}") from None
    raise _damaged(path.parent, f"{path.name} is no regular file")


def require(path: Path, sha256: str) -> None:
    """Check that a file is what the manifest says.

    Raises:
        ConfigurationError: it is not.
    """
    if digest(path)[0] != sha256:
        raise _damaged(path.parent, f"{path.name} is not what {MANIFEST} says")


def _content(path: Path) -> bytes:
    """Return what a manifest holds, never more than a manifest can be."""
    _, size = digest(path)
    if size > _MANIFEST_BYTES:
        raise _damaged(path.parent, f"{path.name} is larger than any manifest")
    return path.read_bytes()


def _write_manifest(made: Path, manifest: Manifest) -> None:
    _write(made / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what a writer that was killed has left."""
    for item in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            age_s = datetime.now(UTC).timestamp() - item.lstat().st_mtime
            if age_s > _UNFINISHED_S:
                shutil.rmtree(item, ignore_errors=True)
                item.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(folder, error) from None


def _absent(folder: Path, hash_: str) -> ConfigurationError:
    return ConfigurationError(f"there is no model {hash_} in {folder}: see `cans models list`")


def _unusable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"cannot use the model folder {folder} ({error.strerror}): give a folder that can be written, on a "
        "disk with room, to --models-dir"
    )


def _damaged(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the model {path} cannot be used ({why}): `cans models remove {path.name}`, then add it again"
    )
