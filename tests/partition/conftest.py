import pytest

from partition.images import Frame, MovingCrops
from partition.networks.zoo import NAMES, Network, load_model
from partition.partitioned import PartitionedModel, build


@pytest.fixture(scope="session")
def networks() -> dict[str, Network]:
    return {name: load_model(name) for name in NAMES}


@pytest.fixture(scope="session")
def models(networks: dict[str, Network]) -> dict[str, PartitionedModel]:
    return {name: build(network) for name, network in networks.items()}


@pytest.fixture(scope="session")
def mobilenet(models: dict[str, PartitionedModel]) -> PartitionedModel:
    return models["mobilenet_v2"]


@pytest.fixture(scope="session")
def frame() -> Frame:
    return MovingCrops(3).frame(5)
