"""A device's metrics: flat, numbers only, units in the names."""

from device.saver import Saver
from device.turns import Turns
from device.upload import Uploads


def metrics_of(turns: Turns, uploads: Uploads | None, saver: Saver) -> dict[str, float]:
    """Return the leaves of a metrics message, sums over all policies that play."""
    tallies = list(turns.tallies.values())
    leaves: dict[str, float] = {
        "frames": turns.captured,
        "turns": sum(tally.sent for tally in tallies),
        "turns_rejected": sum(tally.rejections for tally in tallies),
        "turns_dropped": sum(tally.rejected.get("dropped", 0) for tally in tallies),
        "turns_masked": sum(tally.masked for tally in tallies),
        "turns_excused": turns.excused,
        "late_replies": turns.late_replies,
        "link_checks": turns.link_checks.done,
        "link_check_ms": 1000.0 * turns.link_checks.latest_s,
        "payload_bytes": sum(tally.payload_bytes for tally in tallies),
        "exits_sure": sum(tally.exits_sure for tally in tallies),
        "exits_forced": sum(tally.exits_forced for tally in tallies),
        "snapshots_failing": int(saver.failing),
    }
    for by in ("device", "edge", "fallback"):
        leaves[f"answered_by_{by}"] = sum(tally.answered[by] for tally in tallies)
    if uploads is not None:
        counts = uploads.counts
        leaves |= {
            "uploads_sent": counts.sent,
            "uploads_merged": counts.merged,
            "uploads_refused": counts.refused,
            "uploads_repeated": counts.repeated,
            "groups_adopted": counts.adopted,
        }
    return leaves
