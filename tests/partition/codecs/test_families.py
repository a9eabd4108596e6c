"""Names of codecs: one spelling each, one order of arms, default ones to the byte, all of them in docs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from bus.errors import ConfigurationError
from partition.arms import choose_codecs, list_arms
from partition.codecs import CODECS, FAMILIES, resolve

EXAMPLES = [name for family in FAMILIES for name in family.examples]

# What the default codecs wrote when there were no others; jpeg's bytes are the library's affair.
GOLDEN = {
    "float32": "bcf8c2d41a7d64ed",
    "float16": "5cfee636528e2349",
    "int8-zstd": "1e88c5a0d9fcce9b",
    "uint8": "a65877be0cba9afa",
}


def test_the_default_codecs_keep_their_names_order_costs_and_bytes() -> None:
    rng = np.random.default_rng(3)
    activation = np.maximum(rng.normal(size=(1, 8, 6, 6)), 0).astype(np.float32)
    frame = rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)
    assert list(CODECS) == ["float32", "float16", "int8-zstd", "uint8", "jpeg"]
    costs = [(codec.encode_work, codec.decode_work) for codec in CODECS.values()]
    assert costs == [(0.0, 0.2), (0.1, 0.2), (1.0, 1.0), (0.0, 0.0), (0.7, 1.2)]
    for name, digest in GOLDEN.items():
        codec = CODECS[name]
        payload = codec.encode(frame if codec.encodes_frames else activation).payload
        assert hashlib.sha256(bytes(payload)).hexdigest()[:16] == digest, name
    small = CODECS["int8-zstd"].encode(np.arange(-3, 5, dtype=np.float32))
    assert bytes(small.payload).hex() == "e1e0e03c000040c028b52ffd200841000080a4c9ed12365b7f"
    assert bytes(CODECS["jpeg"].encode(frame).payload) == bytes(resolve("jpeg85").encode(frame).payload)


@pytest.mark.parametrize("name", [*CODECS, *EXAMPLES])
def test_a_codec_has_the_name_it_is_asked_by_and_is_made_once(name: str) -> None:
    codec = resolve(name)
    assert codec.name == name
    assert resolve(name) is codec
    assert codec.encode_work >= 0.0
    assert codec.decode_work >= 0.0


@pytest.mark.parametrize(
    "name",
    [
        "", "int8-", "int8-zstd0", "int8-zstd20", "int8-zstd03", "int8-shuffle-zstd3", "float32-shuffle",
        "float32-channel", "int4-zstd", "sparse", "sparse-int8-channel", "topk0-int8", "topk100-int8",
        "topk10", "jpeg0", "jpeg101", "jpeg075", "webp", "webp0", "png3", "INT8", "int8 ", "exact-int8",
        "int8\n", "int8-lz4-zstd3", "x" * 10_000,
    ],
)  # fmt: skip
def test_any_other_name_is_one_sentence_that_lists_the_families(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no codec") as caught:
        resolve(name)
    for family in FAMILIES:
        assert family.words in str(caught.value)


def test_arms_are_numbered_alike_in_whatever_order_codecs_are_named() -> None:
    names = ["webp80", "jpeg", "int4-zstd3", "float32", "webp80"]
    one, other = choose_codecs(CODECS, names), choose_codecs(CODECS, sorted(names))
    assert [codec.name for codec in one] == ["float32", "jpeg", "int4-zstd3", "webp80"]
    assert list_arms(3, one) == list_arms(3, other)
    labels = [arm.label for arm in list_arms(3, one)]
    assert labels == ["0/float32", "0/jpeg", "0/webp80", "1/float32", "1/int4-zstd3", "end/none"]
    assert choose_codecs(CODECS, None) == tuple(CODECS.values())


def test_a_codec_that_accompanies_arms_is_none() -> None:
    with pytest.raises(ConfigurationError, match="exact-zstd3 only accompanies"):
        choose_codecs(CODECS, ["exact-zstd3"])


def test_every_family_is_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "codecs.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for family in FAMILIES:
        assert any(row.startswith(f"| `{family.words}`") for row in rows), family.words
    assert len(rows) == len(FAMILIES)
