"""What recorded devices would have taken under other policies, for people or for programs."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table

from bandits.settings import Settings
from bus.errors import ConfigurationError
from bus.topics import DEFAULT_PREFIX
from cans.recording.opening import opened
from device.policy_names import LEARNER
from lab.network_table import NetworkTable, load_table
from lab.whatif.estimate import LEAST_MATCHED, Estimate, WhatIf, what_if
from lab.whatif.logged import Frames, Log
from lab.whatif.model import predictions
from lab.whatif.targets import chosen_by

_LEGEND = (
    "Milliseconds a frame. alike: frames that were played as the policy would have. took: recorded. model: "
    "would take, by what stages of other frames took; no interval vouches for it. weights, both: by how "
    "likely each arm was, and by that and the model, with 95 % intervals. measured: the policy's own turns."
)
# Where nobody says how wide the page is.
_WIDTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """What to ask.

    Attributes:
        file: a recording.
        policies: whose cost is asked for.
        of: the policy whose frames are looked at; the learner, or the only one that was recorded, when empty.
        device: only this one; all when empty.
        profile: of the network; what learning policies need.
        changed: switches of the learners, by name.
    """

    file: Path
    policies: tuple[str, ...]
    of: str = ""
    device: str = ""
    profile: Path | None = None
    changed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """One policy on the frames of one device.

    Attributes:
        measured: what the policy took there itself, on its own turns of the recording; None where it had
            none.
    """

    device: str
    of: str
    policy: str
    found: WhatIf
    measured: float | None


def evaluate(settings: EvaluateSettings) -> list[Answered]:
    """Return what each policy would have cost each device.

    Raises:
        ConfigurationError: no such recording, policy or device; no feedback in it; a policy without its
            profile.
    """
    if settings.profile is not None and not settings.profile.is_file():
        raise ConfigurationError(f"cannot read {settings.profile}: no such file; cans profile makes one")
    table = None if settings.profile is None else load_table(str(settings.profile))
    learner = _changed(settings.changed)
    frames = Frames()
    with opened(settings.file) as recording:
        frames.take(recording, recording.about.get("prefix", DEFAULT_PREFIX))
    logs = frames.logs()
    means = {(log.device, log.policy): float(log.cost_ms.mean()) for log in logs}
    for log in _chosen(settings, logs):
        require_its_profile(settings.profile, log)
    return [
        Answered(log.device, log.policy, policy, found, means.get((log.device, policy)))
        for log in _chosen(settings, logs)
        for policy, found in _asked(settings.policies, log, table, learner)
    ]


def _asked(
    policies: Sequence[str], log: Log, table: NetworkTable | None, learner: Settings
) -> list[tuple[str, WhatIf]]:
    predicted = predictions(log)
    return [
        (policy, what_if(log, chosen_by(policy, log, predicted, table, learner), predicted))
        for policy in policies
    ]


def _chosen(settings: EvaluateSettings, logs: Sequence[Log]) -> list[Log]:
    """Return the logs that are asked about."""
    policies = sorted({log.policy for log in logs})
    devices = sorted({log.device for log in logs})
    if not logs:
        raise ConfigurationError(f"{settings.file} holds no feedback that can be read: record feedback/# too")
    of = settings.of or (LEARNER if LEARNER in policies else policies[0] if len(policies) == 1 else "")
    if of not in policies:
        raise ConfigurationError(f"say --of whose frames to look at: {', '.join(policies)}")
    if settings.device and settings.device not in devices:
        raise ConfigurationError(f"no device {settings.device!r} was recorded: {', '.join(devices)}")
    return [log for log in logs if log.policy == of and settings.device in {"", log.device}]


class _Named(msgspec.Struct, frozen=True):
    """Whose a profile is, all else skipped."""

    model: str = ""


def require_its_profile(path: Path | None, log: Log) -> None:
    """Refuse a profile of another network; a bare table does not say whose it is.

    Raises:
        ConfigurationError: it is of another one.
    """
    model = "" if path is None else msgspec.json.decode(path.read_bytes(), type=_Named).model
    if model and log.model and model != log.model:
        raise ConfigurationError(
            f"{path} is of another network ({model}) than {log.device} played ({log.model}): make one of that"
        )


def _changed(changed: Mapping[str, Any]) -> Settings:
    known = {each.name for each in dataclasses.fields(Settings)}
    for name in changed:
        if name not in known:
            raise ConfigurationError(f"learners have no switch {name!r}: {', '.join(sorted(known))}")
    try:
        return dataclasses.replace(Settings(link_checks=False), **changed)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"a switch cannot be set so: {error}") from None


def tell(answers: Sequence[Answered], out: TextIO, *, as_json: bool) -> None:
    """Print them."""
    if as_json:
        said = [
            {
                **{name: getattr(each, name) for name in ("device", "of", "policy", "measured")},
                **_finite(dataclasses.asdict(each.found)),
            }
            for each in answers
        ]
        print(json.dumps(said), file=out)
        return
    console = Console(file=out, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _WIDTH
    table = Table()
    for heading in ("device", "policy"):
        table.add_column(heading, no_wrap=True)
    for heading in ("alike", "took", "model", "weights", "both", "measured"):
        table.add_column(heading, justify="right")
    for each in answers:
        table.add_row(each.device, each.policy, *_cells(each))
    console.print(table)
    for sentence in _remarks(answers):
        console.print(sentence, markup=False)


def _cells(each: Answered) -> list[str]:
    found = each.found
    return [
        f"{found.matched}/{found.frames}",
        f"{found.logged.mean:,.1f}",
        "?" if math.isnan(found.model) else f"{found.model:,.1f}",
        _words(found.weighted),
        _words(found.robust),
        "" if each.measured is None else f"{each.measured:,.1f}",
    ]


def _words(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.mean:,.1f} ({estimate.low:,.1f} to {estimate.high:,.1f})"


def _remarks(answers: Sequence[Answered]) -> list[str]:
    """Return what a reader has to know."""
    said = [_LEGEND]
    if all(each.found.weighted is None for each in answers):
        said.append(
            f"Nothing by likelihoods: they are not recorded (cans device --log-propensities), or fewer than "
            f"{LEAST_MATCHED} frames were played as the policy would."
        )
    said += [
        f"{each.device}, {each.policy}: on {each.found.unknown} frames it plays an arm that was never played "
        "there; nothing is said of them."
        for each in answers
        if each.found.unknown
    ]
    return said


def _finite(value: Any) -> Any:  # noqa: ANN401 - whatever a figure is
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
