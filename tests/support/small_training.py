"""What training tests share: a network of 32 x 32 images, and images to train on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from partition.images import MovingCrops
from partition.networks.zoo import Network, load_model
from partition.partitioned import PartitionedModel, build
from partition.training.bottleneck import BottleneckTraining
from partition.training.bottleneck import Recipe as BottleneckRecipe
from partition.training.data import Images
from partition.training.exits import ExitsTraining
from partition.training.exits import Recipe as ExitsRecipe

SIZE = (32, 32)


def small_network(seed: int = 0) -> Network:
    """Three convolutions and a classifier of ten classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 10),
        )
    return Network(module.eval(), "small", (1, 3, *SIZE), f"seeded:{seed}", None)


def small_model(seed: int = 0) -> PartitionedModel:
    """Return the small network, cut."""
    return build(small_network(seed))


def small_images(train: int = 12, held_out: int = 6) -> Images:
    """Return crops of the built-in photographs."""
    film = MovingCrops(1, SIZE)
    frames = tuple(film.frame(13 * number) for number in range(train + held_out))
    return Images(frames[:train], frames[train:])


def write_images(folder: Path, count: int, seed: int = 0) -> None:
    """Write images of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        image = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(image).resize((40, 36)).save(folder / f"{number}.png")


def write_classes(folder: Path, names: Sequence[str], count: int) -> None:
    """Write noisy images, `count` a class into FOLDER/NAME/, each class of a colour of its own."""
    random = np.random.default_rng(5)
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = random.integers(0, 80, (8, 8, 3), dtype=np.uint8)
            image[..., place % 3] += 150
            Image.fromarray(image).resize((40, 36)).save(folder / name / f"{number}.png")


def trained_for(name: str, folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Train a bottleneck and exits at cut 1 of a network for some steps; return their files."""
    model = build(load_model(name, seed=seed))
    height, width = model.input_size[:2]
    film = MovingCrops(2, (height, width))
    frames = tuple(film.frame(17 * number) for number in range(12))
    images = Images(frames[:8], frames[8:])
    folder.mkdir(parents=True, exist_ok=True)
    bottleneck, exits = folder / "b.safetensors", folder / "e.safetensors"
    BottleneckTraining(model, images, BottleneckRecipe(cut=1, steps=1)).save(bottleneck)
    training = ExitsTraining(model, images, ExitsRecipe(after=("1",), agreement=0.5, steps=4))
    for number in range(4):
        training.step(number)
    training.save(exits)
    return bottleneck, exits
