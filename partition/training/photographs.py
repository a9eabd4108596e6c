"""A network that means its answers, trained in minutes on the photographs inside scikit-image.

`python -m partition.training.photographs OUT` writes `OUT/train` and `OUT/held-out`, a folder of crops
for each photograph, and `OUT/weights.pth`: MobileNetV2 told to say which photograph a crop is of. Crops held
out show other pixels than those trained on: right third of a photograph, and the rest.
`--shown N` writes N other crops of the part that was trained on into `OUT/shown`: what a camera sees that stays.
Nothing is downloaded. What it must never be taken for: a network that knows more than these photographs.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from partition.images import photograph, read_image
from partition.networks.zoo import load_model
from partition.preprocessing import normalise

SUBJECTS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
# Pixels left of this share of the width train, those right of it test.
BORDER = 0.65
SIZE = 224
BATCH = 16
_SHOWN_SEED = 200


def write_crops(folder: Path, count: int, seed: int, *, held_out: bool) -> None:
    """Write `count` crops of each photograph into `folder`/NAME, PNG files of 224 x 224."""
    random = np.random.default_rng(seed)
    for subject in SUBJECTS:
        image = photograph(subject)
        place = folder / Path(subject).stem
        place.mkdir(parents=True, exist_ok=True)
        left, right = (BORDER, 1.0) if held_out else (0.0, BORDER)
        for number in range(count):
            width = (right - left) * image.width
            side = random.uniform(0.7, 1.0) * min(image.height, (1.0 - BORDER) * image.width)
            x = left * image.width + random.uniform(0.0, width - side)
            y = random.uniform(0.0, image.height - side)
            crop = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
            crop.save(place / f"{number:04}.png")


def read_crops(folder: Path) -> tuple[Tensor, Tensor]:
    """Return normalised crops (n, 3, 224, 224) and the number of their photograph (n,)."""
    paths = sorted(folder.glob("*/*.png"))
    names = [Path(subject).stem for subject in SUBJECTS]
    labels = torch.tensor([names.index(path.parent.name) for path in paths])
    return torch.cat([normalise(np.array(read_image(path))) for path in paths]), labels


def train(module: nn.Module, x: Tensor, labels: Tensor, *, epochs: int, seed: int) -> Iterator[float]:
    """Train every weight but the norms' statistics; yield the loss of each epoch."""
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        total = 0.0
        for batch in torch.split(torch.randperm(len(x), generator=generator), BATCH):
            loss = nn.functional.cross_entropy(module(x[batch]), labels[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            optimiser.step()
            total += float(loss.detach()) * len(batch)
        yield total / len(x)


def fit_last_layer(module: nn.Module, x: Tensor, labels: Tensor, *, steps: int = 300) -> None:
    """Train the last layer alone on what the seeded layers before it give: a start for the rest."""
    last = module.get_submodule("classifier.1")
    with torch.no_grad():
        features = torch.cat(
            [module.get_submodule("features")(part).mean((2, 3)) for part in torch.split(x, BATCH)]
        )
    optimiser = torch.optim.Adam(last.parameters(), lr=3e-3, weight_decay=1e-4)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(last(features), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        optimiser.step()


def accuracy(module: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Return the share of crops whose photograph is named."""
    with torch.no_grad():
        answers = torch.cat([module(part).argmax(1) for part in torch.split(x, BATCH)])
    return float((answers == labels).float().mean())


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--epochs", type=click.IntRange(min=0), default=2, show_default=True)
@click.option(
    "--crops", type=click.IntRange(min=1), default=40, show_default=True, help="Of each photograph."
)
@click.option(
    "--shown", type=click.IntRange(min=0), default=0, help="Crops like those trained on, but others."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
def main(out: Path, epochs: int, crops: int, shown: int, seed: int, threads: int) -> None:
    """Train MobileNetV2 on crops of photographs; some minutes on two cores."""
    torch.set_num_threads(threads)
    for name, held_out in (("train", False), ("held-out", True)):
        write_crops(out / name, crops, seed + held_out, held_out=held_out)
    if shown:
        write_crops(out / "shown", shown, seed + _SHOWN_SEED, held_out=False)
    module = load_model("mobilenet_v2", seed=seed).module
    x, labels = read_crops(out / "train")
    unseen = read_crops(out / "held-out")
    fit_last_layer(module, x, labels)
    click.echo(f"last layer only: held-out accuracy {accuracy(module, *unseen):.3f}")
    torch.save(module.state_dict(), out / "weights.pth")
    for epoch, loss in enumerate(train(module, x, labels, epochs=epochs, seed=seed), start=1):
        torch.save(module.state_dict(), out / "weights.pth")
        click.echo(f"epoch {epoch}: loss {loss:.4f}, held-out accuracy {accuracy(module, *unseen):.3f}")


if __name__ == "__main__":
    main()
