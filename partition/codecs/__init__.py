"""Activation and input codecs, one file each; `CODECS` is the table of them."""

from partition.codecs.base import Codec
from partition.codecs.float16 import Float16
from partition.codecs.float32 import Float32
from partition.codecs.int8_zstd import Int8Zstd
from partition.codecs.jpeg import Jpeg
from partition.codecs.uint8 import Uint8

CODECS: dict[str, Codec] = {
    codec.name: codec for codec in (Float32(), Float16(), Int8Zstd(), Uint8(), Jpeg())
}
