"""Every backend gives what eager gives, shares what it may, and changes nothing that is not its own."""

import shutil
from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor, fx, nn

from bus.errors import ConfigurationError
from partition.backends import AUTO, NAMES, make
from partition.backends.base import Backend, Run, Tensors, difference_of, run_piece
from partition.backends.choice import Choice, Trial, adopt, choose
from partition.backends.compiled import Compiled
from partition.backends.eager import Eager
from partition.backends.folding import fold
from partition.backends.onnx_runtime import OnnxRuntime
from partition.backends.segments import Segments
from partition.backends.sharing import Once
from partition.images import Frame
from partition.networks.zoo import NAMES as NETWORKS
from partition.networks.zoo import Network
from partition.partitioned import PartitionedModel, build
from partition.profiles.backends import all_backends, measure
from partition.profiles.backends_table import table

QUICK = (*AUTO, "onnx", "quantised")


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def backend_of(name: str) -> Backend:
    """The backend, where this machine has what it needs."""
    try:
        (backend,) = make(name)
    except ConfigurationError as error:
        pytest.skip(str(error))
    return backend


class TwoWays(nn.Module):
    """Convolutions in two branches: between them and what joins them, two tensors cross."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, affine=False))
        self.join = nn.Sequential(nn.Conv2d(16, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(torch.cat([self.left(x), self.right(x)], 1))
        return joined.mean((2, 3))


class Attention(nn.Module):
    """A transformer block without the library's fused path, on 16 tokens of 32 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.project = nn.LayerNorm(32), nn.Linear(32, 96)
        self.mlp = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(self.norm(x)).reshape(1, 16, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + mixed.transpose(1, 2).reshape(1, 16, 32)
        fed: Tensor = self.mlp(x)
        return x + fed


def seeded(module: nn.Module) -> nn.Module:
    """The module in eval mode, its weights and its batch norms' statistics drawn."""
    draw = torch.Generator().manual_seed(5)
    with torch.inference_mode(mode=False), torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=draw) * 0.4 + 0.1)
    return module.eval()


def pieces_of_two_ways() -> tuple[fx.GraphModule, fx.GraphModule]:
    """Head of one tensor in and two out, tail of two in and one out."""
    with torch.inference_mode(mode=False):
        module = seeded(TwoWays())
        whole = fx.Tracer().trace(module)
        head, tail = fx.Graph(), fx.Graph()
        copies: dict[fx.Node, fx.Node] = {}
        crossing = [node for node in whole.nodes if node.target in {"left.2", "right.1"}]
        for node in whole.nodes:
            if node.name.startswith(("x", "left", "right")):
                copies[node] = head.node_copy(node, copies.__getitem__)
        head.output(tuple(copies[node] for node in crossing))
        for node in crossing:
            copies[node] = tail.placeholder(node.name)
        for node in whole.nodes:
            if not node.name.startswith(("x", "left", "right")):
                made = tail.node_copy(node, copies.__getitem__)
                copies[node] = made
        return fx.GraphModule(module, head), fx.GraphModule(module, tail)


def piece_of(model: PartitionedModel, start: int, stop: int) -> fx.GraphModule:
    piece = model.piece(start, stop)
    assert isinstance(piece, fx.GraphModule)
    return piece


def random(*shapes: tuple[int, ...], seed: int = 1) -> Tensors:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=draw) for shape in shapes)


def holds(backend: Backend, piece: fx.GraphModule, examples: Sequence[Tensors]) -> None:
    run = backend.prepare(piece, examples[0])
    for example in examples:
        before = tuple(tensor.clone() for tensor in example)
        given, expected = run(*example), run_piece(piece, *example)
        assert difference_of(given, expected) <= backend.tolerance
        assert all(tensor.is_contiguous() for tensor in given)
        assert difference_of(example, before) == 0.0, "it wrote into what crosses"


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("network", NETWORKS)
def test_heads_and_tails_give_what_eager_gives(
    name: str, network: str, models: dict[str, PartitionedModel]
) -> None:
    backend, model = backend_of(name), models[network]
    end = len(model.cuts) - 1
    for start, stop in ((0, end // 2), (end // 2, end)):
        shape = model.cuts[start].shape
        holds(backend, piece_of(model, start, stop), [random(shape), random(shape, seed=2)])


@pytest.mark.parametrize("name", QUICK)
def test_a_transformer_gives_what_eager_gives(name: str) -> None:
    with torch.inference_mode(mode=False):
        piece = fx.symbolic_trace(seeded(Attention()))
    holds(backend_of(name), piece, [random((1, 16, 32)), random((1, 16, 32), seed=2)])


@pytest.mark.parametrize("name", QUICK)
def test_several_tensors_cross(name: str) -> None:
    backend = backend_of(name)
    head, tail = pieces_of_two_ways()
    images = [random((1, 3, 12, 12), seed=seed) for seed in (1, 2)]
    holds(backend, head, images)
    holds(backend, tail, [run_piece(head, *image) for image in images])


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.timeout(400)
def test_compiled_gives_what_eager_gives() -> None:
    head, _ = pieces_of_two_ways()
    holds(backend_of("compiled"), head, [random((1, 3, 12, 12)), random((1, 3, 12, 12), seed=2)])


@pytest.mark.parametrize("name", QUICK)
def test_preparing_leaves_the_piece_as_it_was(name: str, networks: dict[str, Network]) -> None:
    backend, module = backend_of(name), networks["mobilenet_v2"].module
    piece = piece_of(build(networks["mobilenet_v2"], codecs=["float32"]), 0, 3)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    code, modes = piece.code, [part.training for part in piece.modules()]
    backend.prepare(piece, random((1, 3, 224, 224)))(*random((1, 3, 224, 224)))
    piece(*random((1, 3, 224, 224)))
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    assert piece.code == code
    assert [part.training for part in piece.modules()] == modes
    assert not any(part.training for part in module.modules())


def test_folding_takes_out_every_norm_behind_a_convolution_and_shares_the_rest(
    models: dict[str, PartitionedModel],
) -> None:
    for model in models.values():
        end, once = len(model.cuts) - 1, Once()
        own = {tensor.data_ptr() for tensor in model.piece(0, end).parameters()}
        new: set[int] = set()
        for start, stop in ((0, end), (0, end // 2), (end // 2, end)):
            folded = fold(piece_of(model, start, stop), once)
            assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
            added = {tensor.data_ptr() for tensor in folded.parameters()} - own
            assert (start, stop) == (0, end) or added <= new, "folded twice for two cuts"
            new |= added
        linear = [part for part in folded.modules() if isinstance(part, nn.Linear)]
        assert linear
        assert all(part.weight.data_ptr() in own for part in linear)


def test_folding_knows_what_torch_export_writes() -> None:
    with torch.inference_mode(mode=False):
        exported = torch.export.export(seeded(TwoWays()), random((1, 3, 12, 12))).module()
        plain = fx.GraphModule(exported, without_guards(exported.graph))
    assert "batch_norm" in plain.code
    for name in AUTO:
        holds(backend_of(name), plain, [random((1, 3, 12, 12)), random((1, 3, 12, 12), seed=2)])
    assert "batch_norm" not in fold(plain, Once()).code


def without_guards(graph: fx.Graph) -> fx.Graph:
    """The graph of an exported program without its checks of the input, and one tensor out."""
    for node in reversed(list(graph.nodes)):
        if node.op == "call_module" and "guard" in str(node.target):
            graph.erase_node(node)
    for node in graph.nodes:
        if node.op == "placeholder":
            node.target = "x"
    graph.set_codegen(fx.graph.CodeGen())
    return graph


def test_a_convolution_that_is_used_twice_or_read_by_others_stays() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            z: Tensor = self.other(self.conv(self.norm(y) + y))
            return z

    with torch.inference_mode(mode=False):
        piece = fx.symbolic_trace(seeded(Shared()))
    assert sum(isinstance(part, nn.BatchNorm2d) for part in fold(piece, Once()).modules()) == 2
    holds(backend_of("folded"), piece, [random((1, 3, 5, 5))])


class Halved(Backend):
    """Gives half of what it should."""

    name = "halved"
    tolerance = 1e-5

    def missing(self) -> str | None:
        return None

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        return lambda *tensors: tuple(tensor / 2 for tensor in run_piece(piece, *tensors))


class Slower(Eager):
    """Equal, and runs the piece three times."""

    name = "slower"

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        def run(*tensors: Tensor) -> Tensors:
            run_piece(piece, *tensors)
            run_piece(piece, *tensors)
            return run_piece(piece, *tensors)

        return run


class Instant(Eager):
    """Gives at once what the piece gave for the examples it was shown."""

    name = "instant"

    def __init__(self, known: Sequence[tuple[Tensors, Tensors]]) -> None:
        self._known = known

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        return lambda *tensors: next(out for given, out in self._known if given[0] is tensors[0])


class Broken(Eager):
    """Cannot prepare anything."""

    name = "broken"

    def prepare(self, piece: fx.GraphModule, example: Tensors) -> Run:
        raise RuntimeError("operator not known\nmuch more")


class Absent(Halved):
    name = "absent"

    def missing(self) -> str | None:
        return "it is not installed: install it"


@pytest.fixture
def head_and_images(mobilenet: PartitionedModel) -> tuple[fx.GraphModule, list[Tensors]]:
    return mobilenet._graph.piece(0, 4), [random((1, 3, 224, 224), seed=seed) for seed in (1, 2)]


def test_what_differs_fails_or_is_missing_is_refused_with_a_reason(
    head_and_images: tuple[fx.GraphModule, list[Tensors]],
) -> None:
    choice = choose(*head_and_images, [Halved(), Broken(), Absent()], repeats=1)
    assert choice.backend == "eager"
    assert choice.speedup == 1.0
    assert {trial.backend: trial.refused for trial in choice.trials} == {
        "eager": "",
        "halved": "differs from eager by 0.5, and 1e-05 is allowed",
        "broken": "RuntimeError: operator not known",
        "absent": "it is not installed: install it",
    }
    assert "broken refused: RuntimeError: operator not known" in choice.words
    assert adopt(*head_and_images, Halved()).backend == "eager"


def test_the_fastest_is_kept_and_its_figures_with_it(
    head_and_images: tuple[fx.GraphModule, list[Tensors]],
) -> None:
    piece, images = head_and_images
    known = [(image, run_piece(piece, *image)) for image in images]
    choice = choose(piece, images, [Slower(), Instant(known)])
    seconds = {trial.backend: trial.seconds for trial in choice.trials}
    assert choice.backend == "instant"
    assert seconds["eager"] is not None
    assert seconds["instant"] is not None
    assert choice.speedup == seconds["eager"] / seconds["instant"]
    assert choice.words == f"instant {choice.speedup:.2f}x of eager"
    assert choice.run(*images[1]) is known[1][1]
    assert choose(piece, images, [Slower()]).backend == "eager"


def test_words_of_a_choice() -> None:
    run = Eager().prepare(fx.symbolic_trace(nn.Identity()), ())
    trials = (Trial("eager", seconds=0.03), Trial("onnx", seconds=0.04))
    assert Choice("eager", run, 1.0, trials).words == "eager (onnx 0.75x)"
    assert Choice("onnx", run, None, trials[1:]).words == "onnx"
    assert Choice("eager", run, 1.0, trials[:1]).words == "eager"


def test_without_time_a_piece_gets_what_the_whole_network_got(mobilenet: PartitionedModel) -> None:
    end = len(mobilenet.cuts) - 1
    images = [random((1, 3, 224, 224), seed=seed) for seed in (1, 2)]
    known = [(image, run_piece(mobilenet._graph.piece(0, end), *image)) for image in images]
    segments = Segments(mobilenet._graph.piece, [Instant(known)])
    segments.choose([(0, 0), (0, end), (2, end)], end, images, limit_s=0.0)
    # For the piece from 2 on it knows no answer: refused, so eager runs.
    assert {pair: choice.backend for pair, choice in segments.choices.items()} == {
        (0, end): "instant",
        (2, end): "eager",
    }
    assert segments.words.endswith("of 2 pieces, 1 timed: instant 1, eager 1")


@pytest.mark.parametrize(
    ("given", "expected", "difference"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([0.0], [0.0], 0.0),
        ([float("nan")], [1.0], float("inf")),
        ([1.0], [float("inf")], float("inf")),
        ([1, 2], [1, 3], float("inf")),
        ([True], [True], 0.0),
        ([1.0, 1.0], [1.0], float("inf")),
        ([1], [1.0], float("inf")),
    ],
)
def test_differences(given: list[float], expected: list[float], difference: float) -> None:
    assert difference_of((torch.tensor(given),), (torch.tensor(expected),)) == difference
    assert difference_of((), (torch.tensor(expected),)) == float("inf")


def test_asked_for_by_name() -> None:
    assert make("eager") == ()
    assert tuple(backend.name for backend in make("auto")) == AUTO
    assert [backend.name for backend in make("channels-last, folded,folded")] == ["channels-last", "folded"]
    assert not any(backend.exact for backend in make("auto"))
    assert Eager().exact
    with pytest.raises(ConfigurationError, match=r"no backend 'tensorrt': choose auto, or of eager, folded"):
        make("tensorrt")


def test_what_a_machine_lacks_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigurationError, match=r"backend compiled cannot run: there is no C\+\+ compiler"):
        make("compiled")
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    assert "g++ or clang++" in str(Compiled(Once()).missing())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert OnnxRuntime(1, "cpu").missing() == "onnx and onnxruntime are not installed: install cans[onnx]"


def test_onnx_says_when_its_cuda_provider_is_missing() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it is there")
    assert OnnxRuntime(1, "cuda").missing() == (
        "this onnxruntime has no CUDA provider: install onnxruntime-gpu"
    )


def test_a_network_with_chosen_backends_answers_as_before(networks: dict[str, Network], frame: Frame) -> None:
    plain = build(networks["mobilenet_v2"], codecs=["float32"])
    fast = build(networks["mobilenet_v2"], codecs=["float32"], backend="auto")
    assert fast.backend_words == ""
    fast.choose_backends()
    assert "pieces" in fast.backend_words
    assert fast.hash == plain.hash
    assert fast.schema.hash == plain.schema.hash
    whole = plain.run_head(frame, plain.device_only).logits
    assert whole is not None
    close = pytest.approx(whole, abs=1e-4 * float(abs(whole).max()))
    for arm in fast.arms[:-1]:
        head = fast.run_head(frame, arm)
        assert head.payload is not None
        assert plain.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload).logits == close
        assert fast.run_tail(arm.cut, arm.codec, head.dtype, head.shape, head.payload).logits == close
        assert head.kept is not None
        assert fast.finish(head.kept).logits == close
    for index in range(fast.exit_count):
        given, expected = fast.run_exits(frame, index), plain.run_exits(frame, index)
        limit = 1e-4 * float(abs(expected.answer.logits).max())
        assert given.answer.logits == pytest.approx(expected.answer.logits, abs=limit)


def test_the_table_has_a_row_for_every_backend_and_piece(mobilenet: PartitionedModel) -> None:
    measured = list(measure(mobilenet, [*all_backends(1, AUTO), Halved()], threads=1, repeats=3))
    assert [each.side for each in measured] == ["head", "tail"]
    assert all(each.again(3) > 0.0 for each in measured)
    lines = list(table(measured))
    assert len(lines) == 2 + 2 * 4
    assert all(line.count("|") == 8 for line in lines)
    assert any("halved" in line and "refused: differs" in line for line in lines)


def test_names_are_what_can_be_asked_for() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make("?")
    assert ", ".join(NAMES) in str(caught.value)
