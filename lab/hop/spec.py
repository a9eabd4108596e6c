"""What the experiment's file may say, and nothing else; reading it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from bus.errors import ConfigurationError
from lab.links import LinkSpec
from lab.simulator.names import nearest
from lab.simulator.spec.sections import Count, NotNegative, Positive, Section

ArmLabel = Annotated[str, Meta(pattern=r"^\d+/\S+$")]


class Shaping(Section, frozen=True, kw_only=True):
    """An emulated link: Mbit/s from the device and back, milliseconds one way."""

    up_mbit_s: Positive
    down_mbit_s: Positive
    delay_ms: NotNegative

    @property
    def spec(self) -> LinkSpec:
        """As the proxy takes it."""
        return LinkSpec(self.up_mbit_s, self.down_mbit_s, self.delay_ms)


class HopLink(Section, frozen=True, kw_only=True):
    """What lies between the device and whom it talks to.

    Attributes:
        name: for people.
        shape: None for loopback as it is.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    shape: Shaping | None = None


class Hop(Section, frozen=True, kw_only=True):
    """The experiment.

    Attributes:
        title, asks: for people.
        network: as `cans device --model` takes it; its weights are drawn.
        arms: "CUT/CODEC", of those that send something.
        frames: of one repetition; each transport plays every one of them.
        repetitions: of each arm over each link; they are the sample.
        seed: of the film.
        timeout_s: how long an answer may take before the experiment ends.
        links: one after the other.

    Raises:
        ValueError: an arm or the name of a link stands there twice.
    """

    title: str
    asks: str
    network: str = "mobilenet_v2"
    arms: Annotated[tuple[ArmLabel, ...], Meta(min_length=1)]
    frames: Count = 20
    repetitions: Annotated[int, Meta(ge=1, le=1000)] = 10
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 1000
    timeout_s: Positive = 60.0
    links: Annotated[tuple[HopLink, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        """Refuse what could not be told apart in a table."""
        for what, names in (("arms", self.arms), ("links", [link.name for link in self.links])):
            twice = next((name for name in names if list(names).count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what} has {twice!r} twice: name each once")

    @property
    def codecs(self) -> tuple[str, ...]:
        """Names of the codecs of the arms."""
        return tuple(sorted({arm.partition("/")[2] for arm in self.arms}))

    def quick(self) -> "Hop":
        """Return it with one arm, two links and few frames: to see that it runs."""
        return msgspec.structs.replace(
            self,
            arms=self.arms[:1],
            links=self.links[:2],
            frames=min(4, self.frames),
            repetitions=min(4, self.repetitions),
        )


def load(path: Path) -> Hop:
    """Read the experiment.

    Raises:
        ConfigurationError: no such file, no TOML, an unknown key, a value out of range; one sentence.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Hop)
    except OSError as error:
        raise ConfigurationError(f"cannot read the experiment {path}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {_sentence(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None


def _sentence(error: str) -> str:
    """Turn the library's message into ours: the place in the file, and the nearest key."""
    said, _, place = error.partition(" - at `$")
    place = place.rstrip("`").removeprefix(".")
    unknown = re.search(r"unknown field `(.+?)`", said)
    if unknown:
        said = f"there is no key {unknown[1]!r}{nearest(unknown[1], _keys_at(place))}"
    return f"{place}: {said}" if place else said


def _keys_at(place: str) -> Sequence[str]:
    section = Shaping if place.endswith("shape") else HopLink if place.startswith("links") else Hop
    return [field.encode_name for field in msgspec.structs.fields(section)]
