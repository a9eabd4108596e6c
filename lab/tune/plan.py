"""What is tuned and on what: `tuning.toml`, or one sentence that says what is wrong with it.

It must never let tuning see what evaluation sees: seeds end below 1000, and links are generated.
"""

import json
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.experiment import load
from lab.tune.search import Point, Value

FIRST_EVALUATION_SEED = 1000
PLAN = Path(__file__).with_name("tuning.toml")

_Values = Annotated[list[Value], Meta(min_length=1)]
_Knobs = Annotated[dict[str, _Values], Meta(min_length=1)]


class Plan(spec.Section, frozen=True, kw_only=True):
    """See `tuning.toml`.

    Attributes:
        experiment: file whose world is played.
        elsewhere: for policies that are made for another world, its file.
        frames: of each device.
        policies: for each the values of its knobs.
    """

    experiment: str
    elsewhere: dict[str, str] = msgspec.field(default_factory=dict)
    first_seed: Annotated[int, Meta(ge=0)] = 0
    seeds: spec.Count = 4
    frames: spec.Count = 1000
    policies: Annotated[dict[str, _Knobs], Meta(min_length=1)]


def read_plan(path: Path = PLAN, *, seeds: int | None = None) -> Plan:
    """Read a plan.

    Args:
        path: a TOML file.
        seeds: instead of the plan's own.

    Raises:
        ConfigurationError: no such file, no plan, or seeds that belong to evaluation; one sentence.
    """
    try:
        plan = msgspec.toml.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise ConfigurationError(f"cannot read the tuning plan {path}: {error.strerror}") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if seeds is not None:
        plan = msgspec.structs.replace(plan, seeds=seeds)
    for policy in plan.elsewhere:
        if policy not in plan.policies:
            raise ConfigurationError(f"{path}: elsewhere names {policy!r}, which has no grid here")
    if plan.first_seed + plan.seeds > FIRST_EVALUATION_SEED:
        last = plan.first_seed + plan.seeds - 1
        raise ConfigurationError(
            f"{path}: seeds {plan.first_seed} to {last} reach into those of evaluation, "
            f"which begin at {FIRST_EVALUATION_SEED}: take fewer"
        )
    return plan


def file_of(plan: Plan, policy: str) -> str:
    """Return the experiment whose world a policy is tuned in."""
    return plan.elsewhere.get(policy, plan.experiment)


def settings_at(plan: Plan, policy: str, point: Point) -> dict[str, Value]:
    """Return the knobs of a policy at a point, by name."""
    return dict(zip(plan.policies[policy], point, strict=True))


def experiment_at(plan: Plan, policy: str, point: Point) -> spec.Experiment:
    """Return the experiment in which one policy plays with the settings of a point.

    Raises:
        ConfigurationError: the experiment cannot be read, a knob is none, a value is out of range, or links
            are recorded ones.
    """
    settings = settings_at(plan, policy, point)
    experiment = load(
        Path(file_of(plan, policy)),
        overrides=[
            f"first_seed={plan.first_seed}",
            f"seeds={plan.seeds}",
            f"world.frames={plan.frames}",
            *(f"policies.{policy}.{knob}={json.dumps(value)}" for knob, value in settings.items()),
        ],
        only=[policy],
    )
    for world in experiment.worlds.values():
        if isinstance(world, spec.Site) and (
            world.traces or any(isinstance(kind.link, spec.Trace) for kind in world.types)
        ):
            raise ConfigurationError(
                f"{file_of(plan, policy)} plays recorded links, which are for evaluation"
            )
    return experiment
