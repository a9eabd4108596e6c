"""What `model.json` of a model folder holds: where a model is from, and what its files must be.

Rules of evolution: fields are only ever added, with a default; what cannot be said that way raises `FORMAT`.
This file must never open a model or import torch: listing a folder takes no second.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

FORMAT: Final = 1

Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z", description="Over graph, preprocessing and weights.")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Words = Annotated[str, Meta(min_length=1, max_length=4096)]
Seed = Annotated[int, Meta(description="Of what the source draws besides the weights in the file.")]


class BuiltIn(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="built-in"):
    """A network of `partition.networks.zoo`."""

    name: Words
    seed: Seed = 0


class Callable(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="callable"):
    """A callable of a package that is installed here, as a person wrote it: "module:callable({...})"."""

    text: Words
    seed: Seed = 0


class Archive(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="pt2"):
    """An archive of torch.export, kept beside the manifest."""

    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0)]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of an entry, by what it must hold."""

    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0)]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained for a model afterwards, and lies beside it.

    Attributes:
        file: its name in the entry's folder.
        cut: where it belongs; of several exits the first.
    """

    file: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,47}\.safetensors\Z")]
    cut: Annotated[int, Meta(ge=0, le=4096)]
    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a model folder.

    Attributes:
        hash: of the model, and the name of the entry's folder.
        name: what a person called the model.
        source: how its module is made.
        weights: the file `weights.safetensors`, every entry of the module's state.
        weights_label: as devices and edge workers announce it: "seeded:0", "file:0123456789ab".
        input_shape: (1, 3, height, width).
        derived: entries of the state that calibration made, whose values the hash leaves out.
        added: when, ISO 8601, for people.
        bottlenecks, exits: what was trained for this model; of exits at most one file.
    """

    format: Literal[1] = FORMAT
    hash: Hash
    name: Words
    source: BuiltIn | Callable | Archive
    weights: File
    weights_label: Annotated[str, Meta(max_length=64)]
    input_shape: tuple[int, int, int, int]
    derived: tuple[str, ...] = ()
    added: Annotated[str, Meta(max_length=64)] = ""
    bottlenecks: tuple[Part, ...] = ()
    exits: tuple[Part, ...] = ()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `model.json`, as docs/schemas/model.json holds it."""
    text = msgspec.json.encode(msgspec.json.schema(Manifest)).decode()
    # JSON Schema's patterns are ECMA's, which know no \\A and no \\Z.
    found: dict[str, Any] = msgspec.json.decode(text.replace(r"\\A", "^").replace(r"\\Z", "$"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
