"""Arms that a device does not play: a decision taken before the first frame, with a reason for each.

A banned arm leaves the plan, so no policy ever sees it: not as a choice, a forced frame, or a probe. Its row
of the contexts goes with it; the columns, hence the schema, stay what they are, and so does every statistic.
What a device bans is therefore its own business: it learns with the same group as one that bans others.
Feedback keeps counting arms as the model does. This file must never decide what to ban; see `ban_reasons.py`.
"""

from collections.abc import Mapping

from bus.errors import ConfigurationError
from device.compute import Compute, Frame, LocalAnswer
from device.events import ExitRow, Head
from device.plan import Plan

ALONE = "every arm that sends is banned, so it works alone"
_NAMED = 3  # arms that a sentence names


class BanningCompute:
    """Implements `Compute` without some of another's arms.

    Args:
        inner: the computing, emulated or not.
        bans: index of an arm to the reason, such as "602112 bytes are above the packet limit of 500000".

    Raises:
        ConfigurationError: a ban of the device-only arm, or of none that there is.
    """

    def __init__(self, inner: Compute, bans: Mapping[int, str]) -> None:
        arms = inner.plan.arms
        for index in bans:
            if not 0 <= index < len(arms):
                raise ConfigurationError(
                    f"there is no arm {index} to ban: arms count from 0 to {len(arms) - 1}"
                )
        self._inner = inner
        self.plan: Plan = inner.plan.without(bans)
        self.emulated = inner.emulated
        self.exit_count = inner.exit_count
        self.input_size = inner.input_size
        alone = [ALONE] if bans and len(self.plan.arms) == 1 else []
        said = [f"banned {some(labels)}: {reason}" for reason, labels in grouped(self.plan.banned).items()]
        self.label = "; ".join([inner.label, *alone, *said])

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        """As `Compute.run_head`; `arm` counts those that are left."""
        return self._inner.run_head(frame, self.plan.number(arm), until)

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        """As `Compute.finish`."""
        return self._inner.finish(kept, exit_index)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        """As `Compute.run_exits`."""
        return self._inner.run_exits(frame, exit_index)


def grouped(banned: Mapping[str, str]) -> dict[str, list[str]]:
    """Return reason to labels, for label to reason."""
    found: dict[str, list[str]] = {}
    for label, reason in banned.items():
        found.setdefault(reason, []).append(label)
    return found


def some(labels: list[str]) -> str:
    """Return the first few labels, and how many there are besides: a state's detail has 256 characters."""
    rest = len(labels) - _NAMED
    return ", ".join(labels if rest <= 0 else [*labels[:_NAMED], f"{rest} more"])
