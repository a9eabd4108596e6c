"""A learned bottleneck: what training does, what its file says, and the codec on hostile bytes."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from partition.bottleneck import BottleneckCodec, load, make_dictionary, require_used
from partition.bottleneck_pair import Form, Pair, choose_form
from partition.partitioned import build
from partition.training.bottleneck import BottleneckTraining, Recipe
from partition.training.checkpoint import run
from tests.support.small_training import small_images, small_model, small_network

RECIPE = Recipe(cut=1, ratio=16, steps=60, batch=6)


def codec_of(form: Form, seed: int = 0) -> BottleneckCodec:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pair = Pair(form)
        pair.fit(torch.randn(40, *form.shape[1:]))
    return BottleneckCodec(pair, cut="somewhere", network="0" * 16)


FORMS = [
    Form((1, 8, 16, 16), 3, 0, 8),
    Form((1, 8, 15, 9), 5, 1, 4),
    Form((1, 8, 15, 9), 4, 3, 8),
    Form((1, 7, 12), 3, 0, 4),
    Form((1, 40), 5, 0, 8),
]
CODECS = [codec_of(form) for form in FORMS]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: str(codec.form.shape))
def test_what_is_decoded_is_what_the_pair_makes_of_it(codec: BottleneckCodec) -> None:
    array = np.random.default_rng(1).normal(size=codec.form.shape).astype(np.float32)
    encoded = codec.encode(array)
    assert encoded.payload_bytes <= codec.estimate(array.shape)
    decoded = codec.decode(encoded.payload, encoded.dtype, encoded.shape)
    with torch.no_grad():
        expected = codec._pair(torch.from_numpy(array)).numpy()
    assert decoded.shape == array.shape
    assert decoded.dtype == np.float32
    assert np.allclose(decoded, expected, atol=1e-5)


@given(st.sampled_from(CODECS), st.binary(max_size=300))
def test_any_bytes_decode_or_raise_the_one_error(codec: BottleneckCodec, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(data, "uint8", codec.form.shape)


@given(st.sampled_from(CODECS), st.data())
def test_a_payload_with_one_byte_changed_decodes_or_raises_the_one_error(
    codec: BottleneckCodec, data: st.DataObject
) -> None:
    encoded = bytearray(codec.encode(np.ones(codec.form.shape, np.float32)).payload)
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteProtocolError):
        assert codec.decode(bytes(encoded), "uint8", codec.form.shape).shape == codec.form.shape


def test_a_bomb_and_what_is_announced_wrongly_are_refused() -> None:
    codec = CODECS[0]
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 24))
    with pytest.raises(RemoteProtocolError, match="does not announce"):
        codec.decode(bomb, "uint8", codec.form.shape)
    good = codec.encode(np.zeros(codec.form.shape, np.float32)).payload
    with pytest.raises(RemoteProtocolError, match="carries uint8"):
        codec.decode(good, "float32", codec.form.shape)
    with pytest.raises(RemoteProtocolError, match="is for"):
        codec.decode(good, "uint8", (1, 8, 16, 17))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 8, 16, 17), np.float32),
        np.zeros(FORMS[0].shape, np.float64),
        np.full(FORMS[0].shape, np.nan, np.float32),
        np.full(FORMS[0].shape, np.inf, np.float32),
    ],
)
def test_what_cannot_be_encoded_is_refused(array: np.ndarray) -> None:
    with pytest.raises(LocalProtocolError):
        CODECS[0].encode(array)


def test_the_form_keeps_within_the_limit() -> None:
    for shape in [(1, 24, 56, 56), (1, 160, 7, 7), (1, 3, 5, 5), (1, 197, 192), (1, 1280)]:
        for limit in (300.0, 1568.0, 9408.0):
            for bits in (4, 8):
                assert choose_form(shape, "float32", limit, bits).packed_bytes <= limit
    with pytest.raises(ConfigurationError, match="choose another --cut"):
        choose_form((1, 3, 4, 5, 6), "float32", 100.0, 8)
    with pytest.raises(ConfigurationError, match="choose another --cut"):
        choose_form((1, 3, 4, 5), "int64", 100.0, 8)
    with pytest.raises(ConfigurationError, match="choose a smaller --ratio"):
        choose_form((1, 197, 192), "float32", 100.0, 8)
    with pytest.raises(ConfigurationError, match="choose a smaller --ratio"):
        choose_form((1, 24, 56, 56), "float32", 0.5, 8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[BottleneckTraining, Path]:
    folder = tmp_path_factory.mktemp("bottleneck")
    training = BottleneckTraining(small_model(), small_images(), RECIPE)
    assert run(training, folder / "checkpoint", every=20)
    training.save(folder / "b.safetensors")
    return training, folder / "b.safetensors"


def test_training_lessens_the_loss_and_leaves_the_network_as_it_was() -> None:
    model = small_model()
    before = {name: t.clone() for name, t in small_network().module.state_dict().items()}
    training = BottleneckTraining(model, small_images(), replace(RECIPE, ratio=4, steps=90))

    def losses() -> list[float]:
        with torch.no_grad():
            given = training.pair(training._crossing), training._crossing, training._answers
            return [float(training._loss(*given, through=through)) for through in (False, True)]

    copying, _ = losses()
    for number in range(30):
        training.step(number)
    copied, answering = losses()
    assert copied < 0.95 * copying
    for number in range(30, 90):
        training.step(number)
    assert losses()[1] < answering
    after = model.piece(0, len(model.cuts) - 1).state_dict()
    assert len(after) == len(before)
    for old, new in zip(before.values(), after.values(), strict=True):
        assert torch.equal(old, new)


def test_the_price_of_bits_presses_payloads_towards_what_they_may_take() -> None:
    training = BottleneckTraining(small_model(), small_images(), replace(RECIPE, steps=300))
    begun = training.measure().payload_bytes
    for number in range(300):
        training.step(number)
    assert training.measure().payload_bytes < 0.85 * begun


def test_a_dictionary_makes_payloads_smaller_and_only_its_own_reads_them() -> None:
    form = Form((1, 8, 16, 16), 3, 0, 4)
    known = CODECS[0]._pair
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        pair = Pair(form)
        shape = torch.randn(1, *form.shape[1:])
        activations = shape + 0.1 * torch.randn(300, *form.shape[1:])
        pair.fit(activations)
    dictionary = make_dictionary(pair, activations)
    assert dictionary
    assert make_dictionary(known, torch.zeros(2, *known.form.shape[1:])) == b""
    plain, better = (
        BottleneckCodec(pair, cut="c", network="n", dictionary=each) for each in (b"", dictionary)
    )
    assert plain.name != better.name
    array = activations[:1].numpy()
    payloads = [codec.encode(array).payload for codec in (plain, better)]
    assert len(payloads[1]) < 0.9 * len(payloads[0])
    for codec, payload in zip((plain, better), payloads, strict=True):
        assert np.array_equal(
            codec.decode(payload, "uint8", form.shape), plain.decode(payloads[0], "uint8", form.shape)
        )
    with contextlib.suppress(RemoteProtocolError):
        wrong = plain.decode(payloads[1], "uint8", form.shape)
        assert not np.array_equal(wrong, plain.decode(payloads[0], "uint8", form.shape))
    with pytest.raises(ConfigurationError, match="no zstd dictionary"):
        BottleneckCodec(pair, cut="c", network="n", dictionary=dictionary[:8])


def test_a_file_is_an_arm_at_its_cut_only(trained: tuple[BottleneckTraining, Path]) -> None:
    training, path = trained
    codec = load(path)
    assert codec.name == training.codec().name
    plain = small_model()
    model = build(small_network(), bottlenecks=[codec])
    added = [arm for arm in model.arms if arm.label not in {each.label for each in plain.arms}]
    assert [arm.label for arm in added] == [f"1/{codec.name}"]
    assert model.hash == plain.hash
    assert model.schema.hash != plain.schema.hash
    arm = added[0]
    frame = small_images().held_out[0]
    head = model.run_head(frame, arm)
    assert head.payload is not None
    assert head.payload_bytes <= codec.form.packed_bytes + 64
    logits = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload).logits
    assert np.isfinite(logits).all()
    # Finishing locally loses nothing: what was kept is the activation, not what the edge would make of it.
    whole = model.run_head(frame, model.device_only).logits
    assert whole is not None
    assert head.kept is not None
    assert np.array_equal(model.finish(head.kept).logits, whole)


def test_encoder_and_decoder_count_as_work(trained: tuple[BottleneckTraining, Path]) -> None:
    codec = load(trained[1])
    model = build(small_network(), bottlenecks=[codec])
    rows = {arm.label: model.contexts[arm.index] for arm in model.arms}
    column = {name: index for index, name in enumerate(model.schema.columns)}
    mine, raw = rows[f"1/{codec.name}"], rows["1/float32"]
    assert mine[column["front.conv_macs"]] > raw[column["front.conv_macs"]]
    assert mine[column["back.conv_macs"]] > raw[column["back.conv_macs"]]
    assert mine[column["link.bits"]] < raw[column["link.bits"]] / 10


def test_what_is_said_of_a_file_was_measured_on_images_held_out(
    trained: tuple[BottleneckTraining, Path],
) -> None:
    training, path = trained
    model = build(small_network(), bottlenecks=[load(path)])
    arm = next(arm for arm in model.arms if arm.codec == load(path).name)
    same, sizes = [], []
    for frame in small_images().held_out:
        head = model.run_head(frame, arm)
        assert head.payload is not None
        logits = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload).logits
        whole = model.run_head(frame, model.device_only).logits
        assert whole is not None
        same.append(logits.argmax() == whole.argmax())
        sizes.append(head.payload_bytes)
    assert training.measure().agreement == pytest.approx(np.mean(same))
    assert training.measure().payload_bytes == pytest.approx(np.mean(sizes))


def test_the_hash_is_of_weights_form_and_cut() -> None:
    form = FORMS[0]
    assert codec_of(form).name == codec_of(form).name
    names = {codec_of(form).name, codec_of(form, seed=1).name, codec_of(replace_bits(form)).name}
    pair = Pair(form)
    names |= {BottleneckCodec(pair, cut=cut, network="0").name for cut in ("a", "b")}
    assert len(names) == 5
    assert all(len(name) == len("bottleneck-") + 8 for name in names)


def replace_bits(form: Form) -> Form:
    return Form(form.shape, form.channels, form.halvings, 4)


def test_a_sentence_for_each_file_that_cannot_be_used(
    trained: tuple[BottleneckTraining, Path], tmp_path: Path
) -> None:
    path = trained[1]
    with pytest.raises(ConfigurationError, match=r"there is no file .* with a bottleneck"):
        load(tmp_path / "none")
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(ConfigurationError, match="cannot be read as safetensors"):
        load(tmp_path / "text")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(ConfigurationError, match="does not hold a bottleneck of this version"):
        load(tmp_path / "other")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    (tmp_path / "flipped").write_bytes(data)
    with pytest.raises(ConfigurationError, match="is damaged"):
        load(tmp_path / "flipped")
    codec = load(path)
    with pytest.raises(ConfigurationError, match="was given twice"):
        build(small_network(), bottlenecks=[codec, codec])
    other = build(small_network(seed=1), bottlenecks=[codec])
    assert not any("bottleneck" in arm.label for arm in other.arms)
    require_used([codec], [codec.network])
    with pytest.raises(ConfigurationError, match="give the weights it was trained with"):
        require_used([codec], [other.hash])
    moved = BottleneckCodec(Pair(FORMS[0]), cut="nowhere", network=codec.network)
    with pytest.raises(ConfigurationError, match="which this network has no more"):
        build(small_network(), bottlenecks=[moved])


@pytest.mark.parametrize("cut", [0, 99])
def test_a_cut_that_takes_no_bottleneck_is_refused(cut: int) -> None:
    with pytest.raises(ConfigurationError, match="for a bottleneck, not"):
        BottleneckTraining(small_model(), small_images(), replace(RECIPE, cut=cut))
