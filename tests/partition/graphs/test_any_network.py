"""Whatever people bring is cut exactly or refused in one sentence."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.graphs.example import DTYPES, Example, of_shape, parse, read
from partition.graphs.graph import Graph, TensorSpec
from partition.graphs.survey import survey
from partition.graphs.tracing import same_kernels
from tests.support import foreign_networks as foreign

NETWORKS: list[tuple[nn.Module, list[str], str]] = [
    (foreign.Skips(), ["1x3x16x16"], "symbolic"),
    (foreign.Narrow(), ["1x64"], "symbolic"),
    (foreign.Dictionary(), ["input_ids=1x7:int64<50", "mask=1x7"], "export"),
    (foreign.Dictionary(), ["input_ids=1x7:int64<50"], "export"),
    (foreign.Attention(), ["1x9x32"], "export"),
    (foreign.InPlace(), ["1x3x12x12"], "export"),
    (foreign.Padded(), ["1x20x8", "lengths=1:int64=15"], "export"),
    (foreign.Strided(), ["1x24x48"], "symbolic"),
    (foreign.Half(), ["1x5x16"], "export"),
    (nn.Transformer(16, 2, 1, 1, 32, batch_first=True), ["1x4x16", "1x5x16"], "export"),
    (nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Dropout(), nn.GELU()), ["1x2x30"], "symbolic"),
]


@pytest.mark.parametrize(
    ("module", "inputs", "how"), NETWORKS, ids=[f"{type(m).__name__}-{len(i)}" for m, i, _ in NETWORKS]
)
def test_every_cut_gives_the_whole_network_s_bits_for_one_and_for_eight(
    module: nn.Module, inputs: list[str], how: str
) -> None:
    found = survey(copy.deepcopy(module).eval(), parse(inputs))
    assert found.how == how
    assert found.refused == {}
    assert len(found.cuts) >= 3
    for cut in found.cuts:
        assert cut.exact == {1: True, 8: True}, cut
    assert [cut.macs for cut in found.cuts] == sorted(cut.macs for cut in found.cuts)
    assert found.cuts[0].after == "input"
    assert found.cuts[-1].after == "end"
    assert found.cuts[-1].nbytes == 0
    assert found.cuts[-1].macs == found.macs


def test_a_check_can_fail() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    graph = Graph(module, of_shape((1, 4)))
    with torch.no_grad():
        whole = module(*graph.example.tensors)
        graph.piece(1, len(graph.frontiers) - 1).get_submodule("2").get_parameter("bias").add_(1.0)
        assert not torch.equal(graph.run_cut(1, graph.example.tensors), whole)


def test_several_tensors_cross_where_they_send_less_than_any_one_before() -> None:
    graph = Graph(foreign.Narrow().eval(), of_shape((1, 64)))
    several = [place for place in graph.frontiers if len(place.tensors) > 1]
    assert [place.nbytes for place in several] == [32]
    assert [tensor.shape for tensor in several[0].tensors] == [(1, 4), (1, 4)]
    # The skip of a U-net is larger than its input: no cut of two tensors is worth anything there.
    assert all(len(p.tensors) == 1 for p in Graph(foreign.Skips().eval(), of_shape((1, 3, 16, 16))).frontiers)


def test_outputs_come_back_in_the_form_in_which_the_network_gives_them() -> None:
    module = foreign.Dictionary().eval()
    example = parse(["input_ids=1x7:int64<50", "mask=1x7"])
    graph = Graph(module, example)
    for place in range(len(graph.frontiers)):
        found = graph.run_cut(place, example.tensors)
        assert list(found) == ["early", "none", "state", "logits"]
        assert found["none"] is None
        assert isinstance(found["state"], tuple)
        assert found["logits"].shape == (1, 5)


def test_weights_are_shared_by_all_pieces_of_either_way_of_tracing() -> None:
    for module, inputs in ((foreign.Skips(), ["1x3x16x16"]), (foreign.Dictionary(), ["1x7:int64<50"])):
        module.eval()
        graph = Graph(module, parse(inputs))
        own = {parameter.data_ptr() for parameter in module.parameters()}
        end = len(graph.frontiers) - 1
        seen: set[int] = set()
        for place in range(end):
            for piece in (graph.piece(0, place), graph.piece(place, end)):
                seen |= {parameter.data_ptr() for parameter in piece.parameters()}
        assert seen == own


def test_a_module_that_writes_into_its_input_leaves_the_device_s_copy_alone() -> None:
    graph = Graph(foreign.InPlace().eval(), of_shape((1, 3, 12, 12)))
    end = len(graph.frontiers) - 1
    for place in range(end):
        crossing = graph.piece(0, place)(*(tensor.clone() for tensor in graph.example.tensors))
        before = [tensor.clone() for tensor in crossing]
        graph.piece(place, end)(*crossing[: len(graph.frontiers[place].tensors)])
        assert all(map(torch.equal, crossing, before))


@pytest.mark.parametrize(
    ("module", "inputs", "sentence"),
    [
        (
            foreign.Decides(),
            ["1x4"],
            r"content of a tensor at foreign_networks.py:\d+ in Decides",
        ),
        (
            nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), foreign.Decides())),
            ["1x4"],
            r"content of a tensor at foreign_networks.py:\d+ in Decides \(1.1\)",
        ),
        (
            foreign.reversible(),
            ["1x8"],
            r"calls the autograd.Function _Reverse at foreign_networks.py:\d+ in _Reversible \(1.1\)",
        ),
        (
            foreign.CustomOperator(),
            ["1x4", "1x4"],
            r"cannot follow at foreign_networks.py:\d+ in _Custom \(body.1\): cans_tests.*register_fake",
        ),
        (foreign.Random(), ["1x64"], "Random answers the same input with other numbers each time"),
        (foreign.Nothing(), ["1x4"], "Nothing returns no tensor"),
        (nn.Identity(), ["1x4"], "no place to cut Identity"),
        (nn.Conv2d(4, 2, 3), ["3x9x9"], "an image as a batch of one: 1x3x9x9"),
        (nn.Linear(4, 2), ["1x5"], "Linear cannot be called with 1x5:float32: mat1 and mat2"),
        (
            nn.Linear(4, 2),
            ["1x4", "1x4"],
            r"called with 1x4:float32, 1x4:float32: .*takes 2",
        ),
        (nn.Linear(4, 2), ["bogus=1x4"], "unexpected keyword argument 'bogus'"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(module: nn.Module, inputs: list[str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as raised:
        survey(module.eval(), parse(inputs))
    assert "\n" not in str(raised.value)


def test_an_operator_that_torch_cannot_follow_is_named() -> None:
    @torch.library.custom_op("cans_tests::opaque", mutates_args=())
    def opaque(x: Tensor) -> Tensor:
        return x * 2

    class Uses(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return opaque(x) + y  # type: ignore[no-any-return] # untyped decorator

    with pytest.raises(ConfigurationError, match="Uses calls an operator that torch cannot follow at"):
        survey(Uses().eval(), parse(["1x4", "1x4"]))


def test_a_network_that_takes_one_batch_size_says_so_for_the_other() -> None:
    class OnlyOne(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).view(1, 2, 2).sum(-1)  # type: ignore[no-any-return]

    found = survey(OnlyOne().eval(), parse(["1x4"]))
    assert found.exact
    assert all(cut.exact == {1: True} for cut in found.cuts)
    assert "OnlyOne cannot be called with 8x4:float32" in found.refused[8]


def test_work_agrees_with_torch_s_own_counter() -> None:
    for module, inputs, _ in NETWORKS:
        found = survey(copy.deepcopy(module).eval(), parse(inputs), batches=())
        if not any("lstm" in operator.name for operator in found.operators):
            assert found.macs == pytest.approx(found.macs_by_torch, rel=0.01), type(module).__name__
        assert sum(operator.macs for operator in found.operators) == found.macs


def test_a_recurrence_counts_each_step_of_each_matrix() -> None:
    found = survey(foreign.Dictionary().eval(), parse(["1x7:int64<50"]), batches=())
    lstm = next(operator for operator in found.operators if "lstm" in operator.name)
    assert lstm.macs == 7 * (4 * 12 * 16 + 4 * 12 * 12)


@given(st.lists(st.integers(1, 6), max_size=4), st.sampled_from(sorted(DTYPES)), st.integers(1, 90))
@settings(max_examples=60, deadline=None)
def test_inputs_are_of_the_shape_dtype_and_range_that_was_written(
    shape: list[int], dtype: str, bound: int
) -> None:
    written = "x".join(map(str, shape)) or "scalar"
    example = parse([f"{written}:{dtype}<{bound}", f"y={written}:{dtype}<{bound}"])
    for tensor in example.tensors:
        assert tuple(tensor.shape) == tuple(shape)
        assert tensor.dtype == DTYPES[dtype]
        if not tensor.dtype.is_floating_point and tensor.dtype != torch.bool:
            assert 0 <= int(tensor.min()) <= int(tensor.max()) < bound
    assert list(example.kwargs) == ["y"]
    larger = example.with_batch(5)
    for tensor, other in zip(example.tensors, larger.tensors, strict=True):
        first = [5] if shape[:1] == [1] else shape[:1]
        assert list(other.shape) == first + shape[1:]
        assert other.dtype == tensor.dtype


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("lengths=1:int64=50", torch.int64, 50),
        ("lengths=2x3:int8=-128", torch.int8, -128),
        ("lengths=scalar=0.25", torch.float32, 0.25),
        ("lengths=1x2:bfloat16=-1e3", torch.bfloat16, -1000.0),
        ("lengths=1x2:bool=false", torch.bool, False),
        ("lengths=1x2:bool=1", torch.bool, True),
    ],
)
def test_a_value_that_was_written_is_every_element_of_any_batch(
    text: str, dtype: torch.dtype, value: float
) -> None:
    example = parse(["1x4", text])
    for one in (example, example.with_batch(3)):
        found = one.kwargs["lengths"]
        assert found.dtype == dtype
        assert bool((found == value).all())
    assert not torch.equal(example.args[0], example.with_batch(1).args[0])


def test_a_length_that_is_drawn_will_not_do_where_one_that_is_written_does() -> None:
    with pytest.raises(ConfigurationError, match="at least one step"):
        survey(foreign.Padded().eval(), parse(["1x20x8", "lengths=1:int64<1"]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1:int8=128", "128 is outside -128 to 127"),
        ("1:int64=half", "invalid literal"),
        ("1:int64=0.5", "invalid literal"),
        ("1=half", "could not convert"),
        ("1:bool=2", "2 is outside 0 to 1"),
        ("1:int8<300", ""),
        ("1:int64<0", ""),
        ("999999999x999999999x999999999", ""),
        ("99999999999999999999999", ""),
    ],
)
def test_an_input_that_cannot_be_made_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^'{text}' cannot be made: .*{words}[^\\n]*$"):
        parse([text])


@pytest.mark.parametrize(
    "text", ["", "x3x4", "3x", "1x3:floaty", "1x3<", "a b=", "-1x3", "1x3;rm", "1x3=", "1x3<2=1"]
)
def test_an_input_that_is_none_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(text)) + " is no input: write"):
        parse([text])


def test_examples_come_from_files(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "0": np.ones((1, 4), np.float32),
        "1": np.zeros((1, 2), np.int64),
        "mask": np.ones((1, 4), bool),
    }
    np.savez(tmp_path / "e.npz", **arrays)
    np.save(tmp_path / "e.npy", arrays["0"])
    torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, tmp_path / "e.pt")
    torch.save([torch.ones(2), torch.zeros(3)], tmp_path / "l.pt")
    for name in ("e.npz", "e.pt"):
        example = read(tmp_path / name)
        assert [tuple(t.shape) for t in example.args] == [(1, 4), (1, 2)]
        assert list(example.kwargs) == ["mask"]
    assert [tuple(t.shape) for t in read(tmp_path / "e.npy").args] == [(1, 4)]
    save_file({"mask": torch.ones(1, 4)}, tmp_path / "e.safetensors")
    assert list(read(tmp_path / "e.safetensors").kwargs) == ["mask"]
    Image.new("RGB", (300, 250)).save(tmp_path / "e.jpg")
    assert [tuple(t.shape) for t in read(tmp_path / "e.jpg").args] == [(1, 3, 224, 224)]
    assert [tuple(t.shape) for t in read(tmp_path / "l.pt").args] == [(2,), (3,)]


def test_a_file_without_tensors_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    torch.save({"a": 3}, tmp_path / "number.pt")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    for name in (
        "text.npz",
        "text.jpg",
        "text.txt",
        "text.safetensors",
        "number.pt",
        "objects.npy",
        "nowhere.npy",
    ):
        with pytest.raises(ConfigurationError, match=name) as raised:
            read(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_a_tensor_laid_out_otherwise_comes_back_so() -> None:
    turned = torch.randn(2, 3, 4).transpose(1, 2)
    spec = TensorSpec.of(turned)
    assert not spec.contiguous
    back = spec.laid_out(turned.contiguous())
    assert back.stride() == turned.stride()
    assert torch.equal(back, turned)
    spread = torch.randn(2, 1).expand(2, 5)
    assert TensorSpec.of(spread).laid_out(spread.contiguous()).stride() == (5, 1)


def test_the_fast_path_of_attention_is_put_back() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    with same_kernels():
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_an_example_may_hold_nested_arguments() -> None:
    class Nested(nn.Module):
        def forward(self, pair: tuple[Tensor, Tensor], flag: bool = False) -> Tensor:
            return (pair[0] * 2 + pair[1]).relu() * (2 if flag else 1)

    example = Example(((torch.randn(1, 4), torch.randn(1, 4)),), {"flag": True})
    found = survey(Nested().eval(), example)
    assert found.exact
    assert len(found.inputs) == 2


def test_the_graph_in_words_has_no_addresses() -> None:
    graph = Graph(foreign.Dictionary().eval(), parse(["1x7:int64<50"]))
    assert not re.search(r"0x[0-9a-f]{6}", graph.text)
    assert json.dumps(graph.text)
