"""What the batched engine knows; anything else is the plain engine's, by a reason that can be said.

A list of what is known, not of what is not: a setting that somebody adds is refused here, at any value but
its default, until somebody adds it here too, with a test of equality.
"""

import msgspec

from lab.simulator import spec

_LARGEST_GROUP = 10_000  # installs that `bandits.group.Group` remembers
_SITE = frozenset(
    ("network", "frames", "types", "edge_slowness", "edge_whole_ms", "bus_ms", "fps", "deadline_ms",
     "fallback_at", "patience", "check_bytes", "look_ahead", "traces")
)  # fmt: skip
_TYPE = frozenset(("name", "devices", "slowness", "whole_ms", "link"))
_NOISE = frozenset(("sigma", "hiccups", "hiccup_ms"))
_LEARNER = frozenset(
    ("share", "warm_start", "download", "regularisation", "alpha", "beta_s", "beta_noise", "beta_prior",
     "feedback", "offsets", "offset_pseudo_rows", "offset_forgetting", "probes", "probe_after_frames",
     "probe_largest_gap_frames")
)  # fmt: skip
_MEASURED_LINK = frozenset(
    ("link_optimism", "drift_unit", "drift_round_trip", "link_noise", "link_prior", "link_memory_frames",
     "link_usual_weight", "link_checks")
)  # fmt: skip
"""Say nothing of a link that is learned, which is the only one known."""
_OTHERS = (spec.Fixed, spec.Oracle, spec.BestFixed, spec.Random)


def why_plain(learner: spec.Learner, world: spec.World) -> str | None:
    """Return why a policy cannot play a world batched, None where it can."""
    if not isinstance(world, spec.Site):
        return "its contexts change from round to round"
    if isinstance(learner, spec.Family):
        unknown = _unknown(learner, _LEARNER | _MEASURED_LINK)
        devices = [kind.devices for kind in world.types]
        largest = {"device": 1, "type": max(devices), "all": sum(devices)}[learner.share]
        if largest > _LARGEST_GROUP:
            return f"a group has more than {_LARGEST_GROUP} devices"
    elif isinstance(learner, _OTHERS):
        unknown = _unknown(learner, frozenset(("arm",)))
    else:
        return f"{learner.__struct_config__.tag} has no batched form"
    sections = ((world, _SITE | {"noise"}), (world.noise, _NOISE), *((kind, _TYPE) for kind in world.types))
    for section, known in sections:
        unknown = unknown or _unknown(section, known)
    return unknown and f"{unknown} has no batched form"


def _unknown(section: msgspec.Struct, known: frozenset[str]) -> str | None:
    """Return the first setting that is neither known nor at its default."""
    for field in msgspec.structs.fields(section):
        value = getattr(section, field.name)
        if field.name not in known and value != field.default:
            return f"{field.encode_name} = {value!r}"
    return None
