"""Sessions that follow one another are one run in the summary."""

from bus.messages import AnsweredBy
from device.settings import DeviceSummary, PolicySummary
from device.summaries import joined


def summary(sent: int, label: str, reason: str) -> DeviceSummary:
    played = PolicySummary(sent, {"edge": sent - 1}, {reason: 1}, 1, (float(sent),), sent - 1, 10 * sent)
    edge: dict[AnsweredBy, int] = {"edge": sent - 1}
    return DeviceSummary(
        sent, sent - 1, edge, 3, 2, 1, {"ucb": played}, {"boot": sent}, label, {"0/jpeg": label}
    )


def test_counts_add_up_and_the_rest_is_the_later_ones() -> None:
    both = joined(summary(5, "old", "dropped"), summary(3, "new", "stopping"))
    played = PolicySummary(8, {"edge": 6}, {"dropped": 1, "stopping": 1}, 2, (5.0, 3.0), 6, 80)
    edge: dict[AnsweredBy, int] = {"edge": 6}
    assert both == DeviceSummary(8, 6, edge, 6, 4, 2, {"ucb": played}, {"boot": 3}, "new", {"0/jpeg": "new"})
