"""Arms that a device does not play: a decision taken before the first frame, with a reason for each.

A banned arm leaves the plan, so no policy ever sees it: not as a choice, a forced frame, or a probe. Its row
of the contexts goes with it; the columns, hence the schema, stay what they are, and so does every statistic.
What a device bans is therefore its own business: it learns with the same group as one that bans others.
Feedback keeps counting arms as the model does. This file must never decide what to ban.
"""

from collections.abc import Mapping

from bus.errors import ConfigurationError
from device.compute import Compute, Frame, LocalAnswer
from device.events import ExitRow, Head
from device.plan import Plan

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
        self.label = "; ".join([inner.label, *_sentences(inner.plan, bans)])

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        """As `Compute.run_head`; `arm` counts those that are left."""
        return self._inner.run_head(frame, self.plan.number(arm), until)

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        """As `Compute.finish`."""
        return self._inner.finish(kept, exit_index)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        """As `Compute.run_exits`."""
        return self._inner.run_exits(frame, exit_index)


def _sentences(plan: Plan, bans: Mapping[int, str]) -> list[str]:
    """Return one sentence a reason, with some of its arms: a state's detail has 256 characters for all."""
    grouped: dict[str, list[str]] = {}
    for index, reason in sorted(bans.items()):
        grouped.setdefault(reason, []).append(f"{plan.arms[index].cut}/{plan.arms[index].codec}")
    return [f"banned {_some(arms)}: {reason}" for reason, arms in grouped.items()]


def _some(arms: list[str]) -> str:
    rest = len(arms) - _NAMED
    return ", ".join(arms if rest <= 0 else [*arms[:_NAMED], f"{rest} more"])
