"""The bookkeeping both ends of a federation run: `Member` on a device, `Group` at the aggregator."""

from bandits.group import Duplicate, Group, GroupFull, Merged
from bandits.member import Member, Start, View
from bandits.uploads import Kind, Upload

__all__ = ["Duplicate", "Group", "GroupFull", "Kind", "Member", "Merged", "Start", "Upload", "View"]
