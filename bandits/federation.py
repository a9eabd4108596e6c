"""The bookkeeping both ends of a federation run: `Member` on a device, `Group` at the aggregator."""

from bandits.group import Duplicate, Group, GroupFull, Merged, Repeated
from bandits.guard import GuardSettings
from bandits.member import Member, Start, View
from bandits.uploads import Kind, Upload
from bandits.watch import Verdict

__all__ = [
    "Duplicate",
    "Group",
    "GroupFull",
    "GuardSettings",
    "Kind",
    "Member",
    "Merged",
    "Repeated",
    "Start",
    "Upload",
    "Verdict",
    "View",
]
