"""Networks by name, weights from files, and what cannot be cut."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError
from partition.graphs.example import of_shape
from partition.graphs.graph import Graph
from partition.networks.weights import load_file
from partition.networks.zoo import Network, load_model
from partition.partitioned import build


class Tiny(nn.Module):
    """A user's network: constants, a skip and a functional product."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=8)
        self.shift = nn.Parameter(torch.ones(4))
        self.classify = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(x) + self.shift.view(1, 4, 1, 1)
        y = y + torch.relu(y)
        return self.classify(y.mean((2, 3)) * self.shift)  # type: ignore[no-any-return]


class WithExit(Tiny):
    exit_points: tuple[str, ...] = ("convolution",)

    def __init__(self) -> None:
        super().__init__()
        self.exits = nn.ModuleList([nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))])


class WithExitTooMany(WithExit):
    exit_points = ("convolution", "classify")


class WithExitNowhere(WithExit):
    exit_points = ("nothing",)


class Branching(Tiny):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def not_a_module() -> int:
    return 3


HERE = "tests.partition.networks.test_zoo"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest imports this file under a name of its own; a user's module has a plain one.
    monkeypatch.setitem(__import__("sys").modules, HERE, __import__("sys").modules[__name__])


def test_a_user_s_network_is_cut_like_ours() -> None:
    state = torch.random.get_rng_state()
    network = load_model(f"{HERE}:Tiny", seed=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(network.module.get_parameter("shift"), torch.ones(4))
    model = build(network)
    assert model.hash == build(load_model(f"{HERE}:Tiny", seed=4)).hash
    assert model.hash != build(load_model(f"{HERE}:Tiny", seed=5)).hash
    assert (network.weights_label, network.exits, model.exit_count) == ("seeded:4", None, 1)
    graph = Graph(network.module, of_shape(network.input_shape))
    x = torch.randn(network.input_shape)
    end = len(graph.frontiers) - 1
    with torch.inference_mode():
        for place in range(end + 1):
            assert torch.equal(graph.run_cut(place, (x,)), network.module(x))


def test_a_user_s_network_may_have_exits(tmp_path: Path) -> None:
    network = load_model(f"{HERE}:WithExit")
    assert build(network).exit_count == 2
    path = tmp_path / "weights.pt"
    torch.save(network.module.state_dict(), path)
    assert load_model(f"{HERE}:WithExit", weights=path, seed=9).weights_label.startswith("file:")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vgg", "no model 'vgg'"),
        ("nowhere:net", "cannot build the model nowhere:net"),
        (f"{HERE}:missing", "cannot build the model"),
        (f"{HERE}:not_a_module", "must return a torch.nn.Module"),
        (f"{HERE}:WithExitTooMany", "1 exits but 2 exit_points"),
    ],
)
def test_a_name_that_gives_no_network_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_model(name)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (Branching(), r"Branching decides by the content of a tensor at test_zoo.py:\d+ in Branching"),
        (TwoInputs(), "TwoInputs cannot be called with 1x3x32x32:float32"),
        (TwoOutputs(), "no place to cut TwoOutputs"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(module: nn.Module, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        build(Network(module.eval(), "theirs", (1, 3, 32, 32), "seeded:0", None))


def test_an_exit_must_follow_a_place_where_one_tensor_crosses() -> None:
    with pytest.raises(ConfigurationError, match="no exit can follow 'nothing'"):
        build(load_model(f"{HERE}:WithExitNowhere"))


def test_seeded_weights_differ_by_seed_and_leave_the_generator_alone(networks: dict[str, Network]) -> None:
    state = torch.random.get_rng_state()
    other = load_model("resnet18", seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    ours = networks["resnet18"].module.get_parameter("conv1.weight")
    assert not torch.equal(other.module.get_parameter("conv1.weight"), ours)
    assert other.weights_label == "seeded:1"
    assert not other.module.training


def test_weights_go_through_a_file(tmp_path: Path, networks: dict[str, Network]) -> None:
    network = networks["mobilenet_v2"]
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": network.module.state_dict()}, path)
    loaded = load_model("mobilenet_v2", weights=path, seed=7)
    assert loaded.weights_label.startswith("file:")
    assert loaded.derived == frozenset()
    for name, tensor in network.module.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], tensor), name


def test_a_file_without_exits_leaves_the_heads_seeded(tmp_path: Path, networks: dict[str, Network]) -> None:
    state = networks["mobilenet_v2"].module.state_dict()
    path = tmp_path / "weights.pt"
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("exits.")}
    assert len(trunk) == 314  # what torchvision's file holds
    torch.save({name: t for name, t in trunk.items() if "num_batches" not in name}, path)
    loaded = load_model("mobilenet_v2", weights=path)
    assert torch.equal(loaded.module.state_dict()["features.0.0.weight"], state["features.0.0.weight"])
    assert loaded.derived
    assert all(name.startswith("exits.") for name in loaded.derived)
    model = build(loaded)
    assert model.exit_count == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classify.bias": None, "shift": None}, "classify.bias, shift missing|shift, classify.bias missing"),
        ({f"more.{n}": torch.ones(1) for n in range(6)}, "and 2 more unexpected"),
        ({"shift": torch.ones(5)}, r"shift has shape \(5,\), not \(4,\)"),
        ({"shift": torch.full((4,), torch.nan)}, "NaN or infinity in shift"),
        ({"shift": torch.ones(4, dtype=torch.int64)}, "shift holds torch.int64, not torch.float32"),
        ({"shift": 3}, "not a PyTorch state dictionary"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    change: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    module = Tiny()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {**{name: t + 1 for name, t in before.items()}, **change}
    path = tmp_path / "weights.pt"
    torch.save({name: value for name, value in state.items() if value is not None}, path)
    with pytest.raises(ConfigurationError, match=sentence):
        load_file(module, path)
    assert all(torch.equal(module.state_dict()[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    "content", [b"", b"no weights at all", b"PK\x03\x04broken", b"cos\nsystem\n(S'true'\ntR."]
)
def test_a_foreign_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not a PyTorch state dictionary"):
        load_file(Tiny(), path)


def test_a_foreign_file_says_what_is_needed_and_nothing_of_the_readers_insides(tmp_path: Path) -> None:
    path = tmp_path / "weights.txt"
    path.write_text("hello\n")
    with pytest.raises(ConfigurationError) as raised:
        load_file(Tiny(), path)
    assert str(raised.value) == (
        f"{path} is not a PyTorch state dictionary: give a file written by torch.save(model.state_dict(), "
        "FILE) or a .safetensors file, neither a whole pickled model nor another format"
    )


def test_a_folder_is_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the weights file .*: is a directory$"):
        load_file(Tiny(), tmp_path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no weights file"):
        load_file(Tiny(), tmp_path / "none.pt")


def test_a_network_is_made_and_measured_without_torchs_compiler() -> None:
    """Its import would cost a small device 100 MiB; a private switch of torch's keeps it out."""
    code = (
        "import sys; from partition.networks.zoo import load_model; from partition.partitioned import build; "
        "from partition.images import MovingCrops; "
        "model = build(load_model('mobilenet_v2')); frame = MovingCrops(0, model.input_size).frame(0); "
        "[model.run_head(frame, arm) for arm in model.arms]; "
        "print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
