"""Frames of several devices in one run of a tail: each is answered as if it had come alone."""

from functools import partial

import numpy as np
import pytest
import torch

from bus.errors import RemoteProtocolError
from partition.arms import Arm
from partition.batch_choice import AGREEMENT
from partition.batches import run_tail_batch
from partition.bundle import encode
from partition.codecs import CODECS
from partition.images import MovingCrops
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build
from partition.results import TailResult


def sent(model: PartitionedModel, arm: Arm, number: int) -> tuple[str, tuple[int, ...], bytes]:
    """Return dtype, shape and payload of a device's frame."""
    head = model.run_head(MovingCrops(number, model.input_size).frame(number), arm)
    assert head.payload is not None
    return head.dtype, head.shape, bytes(head.payload)


def agree(found: object, alone: TailResult) -> bool:
    assert isinstance(found, TailResult)
    assert found.logits.shape == alone.logits.shape
    near = np.abs(found.logits - alone.logits).max() <= AGREEMENT * np.abs(alone.logits).max()
    return bool(near) and int(found.logits.argmax()) == int(alone.logits.argmax())


def test_a_batch_answers_each_frame_as_if_it_had_come_alone_at_every_cut(mobilenet: PartitionedModel) -> None:
    for arm in {arm.cut: arm for arm in mobilenet.arms[:-1]}.values():
        frames = [sent(mobilenet, arm, number) for number in range(3)]
        dtype, shape, _ = frames[0]
        alone = partial(mobilenet.run_tail, arm.cut, arm.codec, dtype, shape)
        found = run_tail_batch(mobilenet, arm.cut, arm.codec, dtype, shape, [each[2] for each in frames])
        for outcome, (_, _, payload) in zip(found, frames, strict=True):
            assert agree(outcome, alone(payload)), arm.label
        assert len({(each.decode_ms, each.tail_ms) for each in found if isinstance(each, TailResult)}) == 1


def test_frames_may_meet_at_a_later_cut_and_run_alone_before_it(mobilenet: PartitionedModel) -> None:
    arm = mobilenet.arms[0]
    frames = [sent(mobilenet, arm, number) for number in range(2)]
    dtype, shape, _ = frames[0]
    payloads = [payload for *_, payload in frames]
    for meet in (arm.cut, 4, len(mobilenet.cuts) - 2):
        found = run_tail_batch(mobilenet, arm.cut, arm.codec, dtype, shape, payloads, meet=meet)
        for outcome, payload in zip(found, payloads, strict=True):
            assert agree(outcome, mobilenet.run_tail(arm.cut, arm.codec, dtype, shape, payload))


def test_what_is_wrong_with_one_payload_is_nobody_elses_trouble(mobilenet: PartitionedModel) -> None:
    arm = mobilenet.arm("1/float32")
    dtype, shape, good = sent(mobilenet, arm, 0)
    broken = np.full(shape, np.nan, np.float32).tobytes()
    run = partial(run_tail_batch, mobilenet, arm.cut, arm.codec, dtype, shape)
    short, first, nan, last = run([b"short", good, broken, good])
    assert isinstance(short, RemoteProtocolError)
    assert isinstance(nan, RemoteProtocolError)
    assert (short.fault, nan.fault) == ("tensor", "not_finite")
    alone = mobilenet.run_tail(arm.cut, arm.codec, dtype, shape, good)
    assert agree(first, alone)
    assert agree(last, alone)
    assert [getattr(each, "fault", None) for each in run([b"", b""])] == ["tensor", "tensor"]


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_that_run_alone_after_all_have_the_bits_of_run_tail(frames: int) -> None:
    model = build(load_model("tests.support.batch_networks:Flat@64x64"))
    arm = model.arms[0]
    dtype, shape, payload = sent(model, arm, 0)
    alone = model.run_tail(arm.cut, arm.codec, dtype, shape, payload)
    for found in run_tail_batch(model, arm.cut, arm.codec, dtype, shape, [payload] * frames):
        assert isinstance(found, TailResult)
        assert np.array_equal(found.logits, alone.logits)


def test_frames_of_two_tensors_are_stacked_tensor_by_tensor() -> None:
    model = build(load_model("tests.support.foreign_networks:TwoPaths@64x64"))
    arm = next(arm for arm in model.arms if len(model.cuts[arm.cut].tensors) == 2)
    frames = [sent(model, arm, number) for number in range(3)]
    dtype, shape, _ = frames[0]
    found = run_tail_batch(model, arm.cut, arm.codec, dtype, shape, [each[2] for each in frames])
    for outcome, (_, _, payload) in zip(found, frames, strict=True):
        assert agree(outcome, model.run_tail(arm.cut, arm.codec, dtype, shape, payload))


def test_a_number_that_points_nowhere_fails_alone() -> None:
    model = build(load_model("tests.support.foreign_networks:Chooses@64x64"))
    arm = next(arm for arm in model.arms if "int64" in {spec.dtype for spec in model.cuts[arm.cut].tensors})
    dtype, shape, good = sent(model, arm, 0)
    specs = model.cuts[arm.cut].tensors
    far = [
        torch.full(each.shape, 10**9 if each.dtype == "int64" else 1.0).to(getattr(torch, each.dtype))
        for each in specs
    ]
    hostile = bytes(encode(CODECS[arm.codec], far).payload)
    found = run_tail_batch(model, arm.cut, arm.codec, dtype, shape, [good, hostile])
    assert isinstance(found[1], RemoteProtocolError)
    assert agree(found[0], model.run_tail(arm.cut, arm.codec, dtype, shape, good))
