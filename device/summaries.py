"""One summary of several sessions that followed one another, each with another model. Pure."""

from collections.abc import Mapping
from typing import TypeVar

from device.settings import DeviceSummary, PolicySummary

K = TypeVar("K", bound=str)


def joined(first: DeviceSummary, then: DeviceSummary) -> DeviceSummary:
    """Return what both came to; metrics, label and bans are the later one's."""
    return DeviceSummary(
        frames_sent=first.frames_sent + then.frames_sent,
        frames_answered=first.frames_answered + then.frames_answered,
        answered_by=_sum(first.answered_by, then.answered_by),
        statistics_sent=first.statistics_sent + then.statistics_sent,
        statistics_merged=first.statistics_merged + then.statistics_merged,
        statistics_refused=first.statistics_refused + then.statistics_refused,
        policies={name: _both(first.policies[name], then.policies[name]) for name in then.policies},
        metrics=then.metrics,
        label=then.label,
        banned=then.banned,
    )


def _both(first: PolicySummary, then: PolicySummary) -> PolicySummary:
    return PolicySummary(
        sent=first.sent + then.sent,
        answered=_sum(first.answered, then.answered),
        rejected=_sum(first.rejected, then.rejected),
        masked=first.masked + then.masked,
        total_ms=first.total_ms + then.total_ms,
        deadlines_met=first.deadlines_met + then.deadlines_met,
        payload_bytes=first.payload_bytes + then.payload_bytes,
    )


def _sum(first: Mapping[K, int], then: Mapping[K, int]) -> dict[K, int]:
    return {key: first.get(key, 0) + then.get(key, 0) for key in {**first, **then}}
