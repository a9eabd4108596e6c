"""What a session knows of the partitioned model: numbers and names, never the network."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from bus.arms import arms_digest
from bus.errors import ConfigurationError, LocalProtocolError
from bus.messages import Columns


@dataclass(frozen=True, slots=True)
class PlanArm:
    """One arm: where the network is cut, and how what crosses the cut is written."""

    cut: int
    codec: str

    @property
    def label(self) -> str:
        """Return what people call it; that which sends nothing is the plan's to call."""
        return f"{self.cut}/{self.codec}"


@dataclass(frozen=True, slots=True)
class PlanExit:
    """An early exit that may answer.

    Attributes:
        cut: the first cut that lies at it or behind it.
        context: row of a run that ends at it, shape (d,), zero outside the device's own columns.
        sure: it answers where it is sure; else only where the deadline leaves nothing better.
        answered: share of all frames that it is sure of, as calibrated.
    """

    cut: int
    context: tuple[float, ...]
    sure: bool = True
    answered: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The arms and their contexts.

    Attributes:
        model: hash over weights and graph.
        schema: hash of the context columns.
        arms: by index.
        contexts: shape (K, d), float64, columns scaled to O(1).
        front: d booleans, true where a column describes the device's own work; for ANS.
        device_arm: index of the arm that runs all on the device.
        link: index of the context column of what is sent; None where nobody measures a link.
        columns: what the context columns mean, for people, and for checks of the link; None where nobody
            asks, and then the link is not checked.
        link_measured: whether statistics hold no link, so that every column means the same to all devices.
        numbers: of the arms as the model counts them; None where the plan holds all of the model's.
        whole_asks: what `asks` was before arms were taken out; empty where none were.
        agreement: of each arm, the share of frames with the uncut network's best class; empty where nobody
            has measured it.
        banned: of the arms that were taken out, label to reason.
        exits: those that may answer, by number.
        trained: SHA-256 of the bottlenecks and exits that a model folder holds for the model.
    """

    model: str
    schema: str
    arms: tuple[PlanArm, ...]
    contexts: npt.NDArray[np.float64]
    front: tuple[bool, ...]
    device_arm: int
    link: int | None = None
    columns: Columns | None = None
    link_measured: bool = False
    numbers: tuple[int, ...] | None = None
    whole_asks: str = ""
    agreement: tuple[float, ...] = ()
    banned: Mapping[str, str] = field(default_factory=dict)
    exits: tuple[PlanExit, ...] = ()
    trained: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows, columns = self.contexts.shape
        if rows != len(self.arms) or columns != len(self.front) or not 0 <= self.device_arm < rows:
            raise LocalProtocolError("arms, contexts and front columns of a plan do not fit together")
        if len(self.agreement) not in {0, rows}:
            raise LocalProtocolError(f"a plan of {rows} arms has agreements of {len(self.agreement)}")

    def with_measured_link(self) -> "Plan":
        """Return this plan under a schema of its own: statistics without the link never meet others."""
        said = hashlib.sha256(f"{self.schema} link measured".encode()).hexdigest()
        columns = None if self.columns is None else msgspec.structs.replace(self.columns, link="measured")
        return replace(self, schema=said[: len(self.schema)], columns=columns, link_measured=True)

    def number(self, arm: int) -> int:
        """Return how the model, hence feedback, counts an arm of this plan."""
        return arm if self.numbers is None else self.numbers[arm]

    def label(self, arm: int) -> str:
        """Return what people call an arm, as the model does."""
        return "end/none" if arm == self.device_arm else self.arms[arm].label

    def payload_bytes(self, arm: int) -> float:
        """Return the mean bytes that an arm sends, as its context says; 0 where no column says it."""
        if self.link is None or self.columns is None:
            return 0.0
        return float(self.contexts[arm, self.link]) * self.columns.input_elements

    def without(self, bans: Mapping[int, str]) -> "Plan":
        """Return this plan with fewer arms; columns, hence schema and all that was learnt, stay as they are.

        Args:
            bans: index of an arm to the reason why it goes.

        Raises:
            ConfigurationError: the device-only arm is among them.
        """
        if self.device_arm in bans:
            raise ConfigurationError(
                f"the arm {self.label(self.device_arm)} runs all on the device, which is what is left when "
                "there is no edge worker: it cannot be banned"
            )
        left = [index for index in range(len(self.arms)) if index not in bans]
        return replace(
            self,
            arms=tuple(self.arms[index] for index in left),
            contexts=self.contexts[left],
            device_arm=left.index(self.device_arm),
            numbers=tuple(self.number(index) for index in left),
            whole_asks=self.asks,
            agreement=tuple(self.agreement[index] for index in left) if self.agreement else (),
            banned={**self.banned, **{self.label(index): bans[index] for index in sorted(bans)}},
        )

    @property
    def asks(self) -> str:
        """What an edge worker must be ready to be asked, as its state says it; arms taken out are no less."""
        if self.whole_asks:
            return self.whole_asks
        sending = (arm for index, arm in enumerate(self.arms) if index != self.device_arm)
        return arms_digest((arm.cut, arm.codec) for arm in sending)

    @property
    def common(self) -> str:
        """A 0 or 1 a column: 1 where it means the same for all devices of a type, as uploads say it."""
        return "".join("1" if self.link_measured or own else "0" for own in self.front)

    @property
    def dimension(self) -> int:
        """Number of context columns d."""
        return len(self.front)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this device is.

    Attributes:
        device, type: id and declared device type.
        install: random id made with the state folder. boot: starts of that install, from 1.
        emulated: the compute is stretched, or the link shaped, by an emulator.
    """

    device: str
    type: str
    install: str
    boot: int
    emulated: bool = False
