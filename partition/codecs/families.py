"""Codecs by name: the default ones, and the families that names with numbers and packers belong to.

A codec has one name, so that all parties that are told the same names number their arms alike.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from bus.errors import ConfigurationError
from partition.codecs.base import Codec
from partition.codecs.bfloat16 import Bfloat16
from partition.codecs.exact import Exact
from partition.codecs.float16 import Float16
from partition.codecs.float32 import Float32
from partition.codecs.formats import Format
from partition.codecs.int4 import Int4
from partition.codecs.int8 import Int8
from partition.codecs.jpeg import Jpeg
from partition.codecs.packed import Packed
from partition.codecs.packing import Compressor, Lz4, Packer, Plain, Zstd
from partition.codecs.png import Png
from partition.codecs.sparse import Sparse
from partition.codecs.topk import TopK
from partition.codecs.uint8 import Uint8
from partition.codecs.webp import Webp


class _Int8Zstd(Packed):
    """int8-zstd1 by the name it had first: the unit of work."""

    def __init__(self, form: Format, packer: Packer) -> None:
        super().__init__(form, packer)
        self.name = "int8-zstd"
        self.encode_work = 1.0
        self.decode_work = 1.0


# The default arms: they define the schema's hash. zstd's level 1 loses 2 % in size to level 3 on activations
# and takes half its time.
CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Packed(Float32(), Packer(Plain())),
        Packed(Float16(), Packer(Plain())),
        _Int8Zstd(Int8(), Packer(Zstd(1))),
        Uint8(),
        Jpeg(name="jpeg"),
    )
}

_FLOATS: dict[str, Format] = {form.name: form for form in (Float32(), Float16(), Bfloat16())}
_GRIDS: dict[str, Format] = {form.name: form for form in (Int8(), Int4())}
_CHANNELS: dict[str, Format] = {form.name: form for form in (Int8(per_channel=True), Int4(per_channel=True))}
_COMPRESS = r"(?:zstd(?P<level>[1-9]|1[0-9])|(?P<lz4>lz4))"
# Shuffling without a compressor is for nothing.
_SHUFFLE = rf"(?:(?P<shuffle>-shuffle)?-{_COMPRESS})?"
_PACK = rf"(?:-{_COMPRESS})?"
_QUALITY = r"(?P<quality>[1-9][0-9]?|100)"


@dataclass(frozen=True, slots=True)
class Family:
    """Codecs whose names follow one pattern.

    Attributes:
        words: the pattern for people; PACK is -zstd1 to -zstd19 or -lz4, SHUFFLE is "-shuffle" before it.
        pattern: the pattern, of the whole name.
        make: a codec from its match.
        examples: names that between them reach every branch; tests try each of them.
    """

    words: str
    pattern: re.Pattern[str]
    make: Callable[[re.Match[str]], Codec]
    examples: tuple[str, ...]


def resolve(name: str) -> Codec:
    """Return the codec of that name; the same object for the same name.

    Raises:
        ConfigurationError: if no family has it.
    """
    return CODECS.get(name) or _made(name)


@functools.lru_cache(maxsize=256)
def _made(name: str) -> Codec:
    for family in FAMILIES:
        found = family.pattern.fullmatch(name)
        if found:
            return family.make(found)
    patterns = ", ".join(family.words for family in FAMILIES)
    raise ConfigurationError(
        f"there is no codec {name!r}: choose from {', '.join(CODECS)}, or by the patterns {patterns}, "
        "where PACK is -zstd1 to -zstd19 or -lz4, and docs/codecs.md says more"
    )


def _packer(found: re.Match[str]) -> Packer:
    groups = found.groupdict()
    compressor: Compressor = Plain()
    if groups["lz4"]:
        compressor = Lz4()
    elif groups["level"]:
        compressor = Zstd(int(groups["level"]))
    return Packer(compressor, shuffle=bool(groups.get("shuffle")))


def _packed(found: re.Match[str]) -> Codec:
    form = (_FLOATS | _GRIDS | _CHANNELS)[found["format"]]
    return Packed(form, _packer(found))


def _sparse(found: re.Match[str]) -> Codec:
    return Packed(Sparse((_FLOATS | _GRIDS)[found["format"]]), _packer(found))


def _topk(found: re.Match[str]) -> Codec:
    return Packed(TopK(int(found["percent"]), (_FLOATS | _GRIDS)[found["format"]]), _packer(found))


def _of(formats: dict[str, Format]) -> str:
    return rf"(?P<format>{'|'.join(formats)})"


def _family(words: str, pattern: str, make: Callable[[re.Match[str]], Codec], *examples: str) -> Family:
    return Family(words, re.compile(pattern), make, examples)


FAMILIES: tuple[Family, ...] = (
    *(
        _family(
            f"{name}[[-shuffle]PACK]",
            rf"(?P<format>{name}){_SHUFFLE}",
            _packed,
            *(name + pack for pack in ("", "-zstd3", "-lz4", "-shuffle-zstd1", "-shuffle-lz4")),
        )
        for name in _FLOATS
    ),
    *(
        _family(
            f"{name}[-channel][PACK]",
            rf"(?P<format>{name}(?:-channel)?){_PACK}",
            _packed,
            *(name + end for end in ("", "-zstd3", "-lz4", "-channel", "-channel-zstd1", "-channel-lz4")),
        )
        for name in _GRIDS
    ),
    _family(
        "sparse-FORMAT[PACK]",
        rf"sparse-{_of(_FLOATS | _GRIDS)}{_PACK}",
        _sparse,
        *(f"sparse-{name}{pack}" for name in _FLOATS | _GRIDS for pack in ("", "-zstd1")),
        "sparse-float32-lz4",
    ),
    _family(
        "topkPERCENT-FORMAT[[-shuffle]PACK]",
        rf"topk(?P<percent>[1-9][0-9]?)-{_of(_FLOATS | _GRIDS)}{_SHUFFLE}",
        _topk,
        *(f"topk{percent}-{name}" for name in _FLOATS | _GRIDS for percent in (1, 10, 99)),
        "topk10-int8-shuffle-zstd3",
        "topk5-float16-lz4",
    ),
    _family(
        "exact[[-shuffle]PACK]",
        rf"exact{_SHUFFLE}",
        lambda found: Exact(_packer(found)),
        *("exact" + pack for pack in ("", "-zstd3", "-lz4", "-shuffle-zstd3", "-shuffle-lz4")),
    ),
    _family("uint8", "uint8", lambda _: CODECS["uint8"], "uint8"),
    _family(
        "jpegQUALITY",
        f"jpeg{_QUALITY}",
        lambda found: Jpeg(int(found["quality"])),
        "jpeg5",
        "jpeg75",
        "jpeg100",
    ),
    _family(
        "webpQUALITY",
        f"webp{_QUALITY}",
        lambda found: Webp(int(found["quality"])),
        "webp5",
        "webp80",
        "webp100",
    ),
    _family("webp-lossless", "webp-lossless", lambda _: Webp(None), "webp-lossless"),
    _family("png", "png", lambda _: Png(), "png"),
)
