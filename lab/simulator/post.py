"""What devices and groups of the family send each other over a `Channel`, and when. Pure.

`bandits.federation` decides what goes up and what it is worth; here is what `device/upload.py` and
`aggregator/broadcasts.py` do around it, without disks: send, repeat with their back-off until answered,
tell all members. A device hears of many versions between two frames and needs the newest only; older ones
change nothing that it would see, so they are never adopted.
"""

from functools import partial

from bandits.federation import Group, Member, Merged, Repeated, Upload
from bandits.statistics import Statistics
from bandits.uploads import Broadcast
from device.limits import Limits
from lab.simulator.channel import Channel
from lab.simulator.lies import Liar
from lab.simulator.traffic import Traffic

_INSTALL = "install"
_LIMITS = Limits()


class GroupPost:
    """The aggregator's side.

    Args:
        group: merges.
        channel: carries.
        traffic: counts what is sent, lost or not.
        to_all: whether every member hears of every version, the newest of them as soon as it joins; else
            only the device whose upload made it does.
        common: d booleans, the columns that mean the same for all devices of the group; for its guard.
    """

    def __init__(
        self,
        group: Group,
        channel: Channel,
        traffic: Traffic,
        *,
        to_all: bool,
        common: tuple[bool, ...] = (),
    ) -> None:
        self.group = group
        self.channel = channel
        self.traffic = traffic
        self._to_all = to_all
        self._common = common
        self._members: dict[DevicePost, None] = {}  # a set that keeps its order
        self._broadcast_waits = False
        self._earliest_s = 0.0

    def subscribe(self, device: "DevicePost", now_s: float) -> None:
        """A device has come; what was broadcast last is retained for it."""
        self._members[device] = None
        if self._to_all and self.group.version > 0:
            self._tell([device], now_s)

    def unsubscribe(self, device: "DevicePost") -> None:
        """A device has gone."""
        self._members.pop(device, None)

    def uploaded(self, device: "DevicePost", upload: Upload, now_s: float) -> None:
        """Merge an upload, acknowledge it, and tell whom it concerns; refuse one that repeats old rows."""
        group, loss = self.group, self.channel.settings.ack_loss
        self.traffic.acknowledgement()
        try:
            answer = group.merge(
                device.name, _INSTALL, upload.boot, upload.seq, upload.statistics, columns=self._common
            )
        except Repeated:
            self.channel.send(partial(device.refused, upload.boot, upload.seq), now_s, loss)
            return
        acknowledge = partial(
            device.acknowledged,
            upload.boot,
            upload.seq,
            group.origin,
            answer.version,
            parked=group.is_parked(device.name),
        )
        self.channel.send(acknowledge, now_s, loss)
        if not self._to_all:
            self._tell([device], now_s)
        elif isinstance(answer, Merged) and not self._broadcast_waits:
            self._broadcast_waits = True
            self.channel.at(max(now_s, self._earliest_s), self._broadcast)

    def _broadcast(self, now_s: float) -> None:
        self._broadcast_waits = False
        self._earliest_s = now_s + self.channel.settings.broadcast_every_s
        self._tell(list(self._members), now_s)

    def _tell(self, devices: "list[DevicePost]", now_s: float) -> None:
        group = self.group
        newest = Broadcast(group.origin, group.version, group.statistics)
        self.traffic.download(group.statistics.dimension, len(devices))
        for device in devices:
            self.channel.send(partial(device.heard, newest), now_s, self.channel.settings.broadcast_loss)


class DevicePost:
    """A device's side.

    Args:
        name: of the device.
        member: decides what is due.
        group: where it learns.
        liar: alters what it uploads, None for an honest device.
    """

    def __init__(self, name: str, member: Member, group: GroupPost, liar: Liar | None = None) -> None:
        self.name = name
        self._member = member
        self._group = group
        self._liar = liar
        self._heard: Broadcast | None = None
        self._leaving = False
        self._gone_s = float("inf")

    def join(self, offline: Statistics, now_s: float) -> None:
        """Come, with early-exit experience."""
        self._member.join(offline)
        self._group.subscribe(self, now_s)

    def leave(self, now_s: float) -> None:
        """Hand in what was learnt, for as long as a device takes to stop, and go."""
        self._leaving = True
        self._gone_s = now_s + _LIMITS.flush_s
        self._group.channel.at(self._gone_s, lambda _: self._group.unsubscribe(self))
        self.send_due(now_s)
        self._go_when_drained()

    def catch_up(self) -> None:
        """Adopt the newest version heard of.

        That makes no upload due by itself: the more a group holds, the less own rows add to it.
        """
        newest, self._heard = self._heard, None
        if newest is not None:
            self._member.adopt(newest.origin, newest.version, newest.statistics)

    def send_due(self, now_s: float) -> None:
        """Send what has become due, everything when leaving."""
        self.catch_up()
        member = self._member
        if member.upload_due() or (self._leaving and member.in_flight is None and member.local.count > 0):
            upload = member.take_upload()
            told = upload if self._liar is None else self._liar.altered(upload)
            self._send(upload, told, 0, now_s)

    def heard(self, broadcast: Broadcast, now_s: float) -> None:  # noqa: ARG002 - it is a `Delivery`
        """Keep a version until it is needed, unless a newer one overtook it."""
        if self._heard is None or self._heard.version < broadcast.version:
            self._heard = broadcast

    def acknowledged(
        self, boot: int, seq: int, origin: str, version: int, now_s: float, *, parked: bool
    ) -> None:
        """The group has an upload; the next may be due."""
        if self._member.acknowledged(boot, seq, origin, version, parked=parked):
            self.send_due(now_s)
            self._go_when_drained()

    def refused(self, boot: int, seq: int, now_s: float) -> None:
        """The group will not have an upload; the next may be due."""
        if self._member.refused(boot, seq):
            self.send_due(now_s)
            self._go_when_drained()

    def _send(self, upload: Upload, told: Upload, attempts: int, now_s: float) -> None:
        """Send what is told of an upload, and again later, until it is answered or the device has gone."""
        if self._member.in_flight is not upload or now_s > self._gone_s:
            return
        channel = self._group.channel
        self._group.traffic.upload(upload.statistics.dimension, acknowledged=False)
        channel.send(partial(self._group.uploaded, self, told), now_s, channel.settings.upload_loss)
        again = partial(self._send, upload, told, attempts + 1)
        channel.at(now_s + _LIMITS.resend_after_s(attempts), again)

    def _go_when_drained(self) -> None:
        if self._leaving and self._member.in_flight is None:
            self._group.unsubscribe(self)
