"""Head then tail is the whole model, to the bit, at every cut; bad bytes raise one error."""

import threading

import numpy as np
import pytest
import torch

from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from partition.bundle import encode
from partition.codecs import CODECS
from partition.graphs.example import of_shape
from partition.graphs.graph import Graph
from partition.images import Frame, MovingCrops
from partition.networks.zoo import NAMES, Network, load_model
from partition.partitioned import PartitionedModel, build
from partition.preprocessing import normalise
from partition.profiles.calibration import calibrate


@pytest.mark.parametrize("name", NAMES)
def test_head_then_tail_is_the_whole_model_to_the_bit_at_every_frontier(
    name: str, networks: dict[str, Network], frame: Frame
) -> None:
    network = networks[name]
    graph = Graph(network.module, of_shape(network.input_shape))
    end = len(graph.frontiers) - 1
    with torch.inference_mode():
        x = normalise(frame)
        whole = network.module(x)
        for place in range(end + 1):
            assert torch.equal(graph.run_cut(place, (x,)), whole), graph.frontiers[place].nodes
        for place in range(end):
            (crossing,) = graph.piece(0, place)(x)
            before = crossing.clone()
            graph.piece(place, end)(crossing)
            assert torch.equal(crossing, before), "the tail wrote into what the device keeps"


@pytest.mark.parametrize("name", NAMES)
def test_lossless_arms_over_unaligned_bytes_give_the_same_bits(
    name: str, models: dict[str, PartitionedModel], frame: Frame
) -> None:
    model = models[name]
    whole = model.run_head(frame, model.device_only).logits
    assert whole is not None
    for arm in model.arms[:-1]:
        head = model.run_head(frame, arm)
        assert head.payload is not None
        # As inside a received message: read-only, and at an odd address.
        message = b"?" + bytes(head.payload)
        tail = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, memoryview(message)[1:])
        assert np.array_equal(tail.logits, whole) or not CODECS[arm.codec].lossless, arm.label
        assert head.kept is not None
        assert np.array_equal(model.finish(head.kept).logits, whole)
        assert head.payload_bytes == len(message) - 1
        assert min(head.head_ms, head.encode_ms, tail.decode_ms, tail.tail_ms) >= 0.0


def test_device_only_arm_answers_and_sends_nothing(mobilenet: PartitionedModel, frame: Frame) -> None:
    result = mobilenet.run_head(frame, mobilenet.device_only)
    assert result.payload is None
    assert result.payload_bytes == 0
    assert result.answer is not None
    assert result.answer.top1 == int(np.argmax(result.answer.logits))
    softmax = torch.softmax(torch.from_numpy(result.answer.logits).double(), 0).max()
    assert result.answer.confidence == pytest.approx(float(softmax))
    assert result.kept is None


def test_all_pieces_share_one_set_of_weights(models: dict[str, PartitionedModel]) -> None:
    for model in models.values():
        end = len(model.cuts) - 1
        own = {p.data_ptr() for p in model.piece(0, end).parameters()}
        for cut in range(end + 1):
            for piece in (model.piece(0, cut), model.piece(cut, end)):
                assert {p.data_ptr() for p in piece.parameters()} <= own


def test_a_worker_thread_runs_on_as_many_threads_as_asked(mobilenet: PartitionedModel, frame: Frame) -> None:
    seen: list[int] = []

    def work() -> None:
        torch.set_num_threads(2)
        mobilenet.run_head(frame, mobilenet.arms[0])
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [1]


def test_exits_give_front_rows_that_grow_with_the_exit(
    models: dict[str, PartitionedModel], frame: Frame
) -> None:
    model = models["mobilenet_v2"]
    assert (model.exit_count, models["resnet18"].exit_count) == (4, 1)
    runs = [model.run_exits(frame, exit_index) for exit_index in range(4)]
    first = model.schema.columns.index("front.conv_macs")
    for run in runs:
        assert not run.context[~model.schema.front].any()
        assert run.answer.logits.shape == (1000,)
        assert run.latency_ms > 0.0
    macs = [run.context[first] for run in runs]
    assert macs == sorted(macs)
    assert macs[0] > 0.15
    # The last exit is the whole trunk, with the heads on the way beside it.
    whole = model.run_head(frame, model.device_only).logits
    assert whole is not None
    assert np.array_equal(runs[3].answer.logits, whole)
    assert runs[3].context[first] > 1.0
    with pytest.raises(LocalProtocolError, match="exits 0 to 3, not 4"):
        model.run_exits(frame, 4)


@pytest.mark.parametrize("wrong", [np.zeros((224, 224), np.uint8), np.zeros((224, 224, 3), np.float32)])
def test_a_wrong_frame_is_this_side_s_mistake(mobilenet: PartitionedModel, wrong: Frame) -> None:
    with pytest.raises(LocalProtocolError, match="a frame is uint8"):
        mobilenet.run_head(wrong, mobilenet.arms[0])


@pytest.mark.parametrize(
    ("cut", "codec", "dtype", "shape", "size", "fault"),
    [
        (99, "float32", "float32", (1, 3, 224, 224), 602112, "foreign"),
        (-1, "float32", "float32", (1, 3, 224, 224), 602112, "foreign"),
        (14, "none", "float32", (1, 1000), 4000, "foreign"),
        (0, "int8-zstd", "int8", (1, 3, 224, 224), 602112, "foreign"),
        (1, "jpeg", "uint8", (224, 224, 3), 9, "foreign"),
        (0, "uint8", "uint8", (224, 224), 50176, "tensor"),
        (0, "uint8", "int8", (224, 224, 3), 150528, "tensor"),
        (0, "uint8", "uint8", (224, 224, 3), 150527, "tensor"),
        (1, "float16", "float16", (1, 24, 56, 56), 7, "tensor"),
    ],
)
def test_what_a_peer_sends_wrong_is_named(
    mobilenet: PartitionedModel,
    cut: int,
    codec: str,
    dtype: str,
    shape: tuple[int, ...],
    size: int,
    fault: str,
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        mobilenet.run_tail(cut, codec, dtype, shape, memoryview(bytes(size)))
    assert caught.value.fault == fault


def test_an_activation_with_nan_is_refused(mobilenet: PartitionedModel) -> None:
    array = np.full((1, 24, 56, 56), np.nan, np.float32)
    with pytest.raises(RemoteProtocolError) as caught:
        mobilenet.run_tail(1, "float32", "float32", array.shape, memoryview(array.tobytes()))
    assert caught.value.fault == "not_finite"


def test_arms_by_label(mobilenet: PartitionedModel) -> None:
    labels = [arm.label for arm in mobilenet.arms]
    assert len(set(labels)) == len(labels) == 43
    assert labels[:3] == ["0/float32", "0/uint8", "0/jpeg"]
    assert labels[-1] == "end/none"
    assert mobilenet.arm("0/jpeg") is mobilenet.arms[2]
    with pytest.raises(ConfigurationError, match="no arm '7/gzip'"):
        mobilenet.arm("7/gzip")


def test_build_refuses_what_it_does_not_have(networks: dict[str, Network]) -> None:
    network = networks["resnet18"]
    with pytest.raises(ConfigurationError, match="no codec 'gzip'"):
        build(network, codecs=["gzip"])
    with pytest.raises(ConfigurationError, match="at least 1"):
        build(network, threads=0)
    with pytest.raises(ConfigurationError, match="no device 'tpu'"):
        build(network, device="tpu")


def test_codecs_in_any_order_give_one_schema(networks: dict[str, Network]) -> None:
    network = networks["resnet18"]
    one = build(network, codecs=["jpeg", "int8-zstd"], device="auto")
    other = build(network, codecs=["int8-zstd", "jpeg"])
    assert one.schema.hash == other.schema.hash
    assert one.schema.hash != build(network, codecs=["jpeg"]).schema.hash
    assert [arm.label for arm in one.arms] == [arm.label for arm in other.arms]


def test_a_cut_of_two_tensors_is_an_arm_like_any_other() -> None:
    model = build(load_model("tests.support.foreign_networks:TwoPaths@64x64"))
    frame = MovingCrops(1, model.input_size).frame(0)
    whole = model.run_head(frame, model.device_only).logits
    assert whole is not None
    assert whole.shape == (6,)
    both = [arm for arm in model.arms[:-1] if len(model.cuts[arm.cut].tensors) == 2]
    assert {arm.codec for arm in both} == {"float32", "float16", "int8-zstd"}
    assert not all(spec.contiguous for spec in model.cuts[both[0].cut].tensors)
    for arm in both:
        head = model.run_head(frame, arm)
        assert head.payload is not None
        assert head.kept is not None
        tail = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, bytes(head.payload))
        assert np.array_equal(tail.logits, whole) or not CODECS[arm.codec].lossless
        assert tail.logits == pytest.approx(whole, abs=0.05)
        assert np.array_equal(model.finish(head.kept).logits, whole)
        for bad in (b"", bytes(head.payload)[:-1], bytes(head.payload) + b"?", b"\xff" * 64):
            with pytest.raises(RemoteProtocolError):
                model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, bad)
    profile = calibrate(model, repeats=3)
    assert len(profile.segments) == len(model.cuts) - 1
    assert len(profile.operators) > len(profile.segments)
    sent = {arm.label: arm.payload_bytes for arm in profile.arms}
    assert all(sent[arm.label] > 0.0 for arm in both)


def test_what_is_no_float32_crosses_without_loss_and_its_indices_are_not_believed() -> None:
    model = build(load_model("tests.support.foreign_networks:Chooses@64x64"))
    frame = MovingCrops(1, model.input_size).frame(0)
    whole = model.run_head(frame, model.device_only).logits
    mixed = [
        arm
        for arm in model.arms[:-1]
        if {"int64", "bfloat16", "float32"} <= {spec.dtype for spec in model.cuts[arm.cut].tensors}
    ]
    assert mixed
    for arm in mixed:
        head = model.run_head(frame, arm)
        assert head.payload is not None
        tail = model.run_tail(arm.cut, arm.codec, head.dtype, head.shape, bytes(head.payload))
        # What is quantised here has one element, so every codec keeps it, to half precision at least.
        assert tail.logits == pytest.approx(whole, rel=1e-2, abs=1e-3)
        with pytest.raises(RemoteProtocolError):
            model.run_tail(arm.cut, arm.codec, "float64", head.shape, bytes(head.payload))
    arm = mixed[0]
    specs = model.cuts[arm.cut].tensors
    hostile = [
        torch.full(spec.shape, 10**9 if spec.dtype == "int64" else 1, dtype=getattr(torch, spec.dtype))
        for spec in specs
    ]
    sent = encode(CODECS["float32"], hostile)
    with pytest.raises(RemoteProtocolError, match="the tail cannot work on what crossed"):
        model.run_tail(arm.cut, arm.codec, sent.dtype, sent.shape, sent.payload)
