"""Devices of the family and their groups: `bandits.federation` as devices and aggregator run it.

Messages take no time here and none is lost.
"""

from bandits.federation import Group, GuardSettings, Repeated
from bandits.fedlinucb import FedLinUCBDW
from bandits.link_estimate import LinkSettings
from bandits.policy import Cost
from bandits.settings import Settings
from bandits.slowness_estimate import SlownessSettings
from lab.simulator import spec
from lab.simulator.lies import lies_of
from lab.simulator.sharing import groups_of
from lab.simulator.traffic import Traffic
from lab.simulator.world import Turn, World

_INSTALL = "install"


class FederatedTeam:
    """Implements `Team`.

    Args:
        learner: switches.
        world: its devices join, with their early-exit experience, before the first turn.
    """

    def __init__(self, learner: spec.Family, world: World) -> None:
        self.traffic = Traffic()
        self._dimension = world.device_columns.shape[0]
        self._share = learner.share
        self._to_all = learner.download == "members"
        keys = groups_of(learner.share, world)
        self._groups = {
            key: Group(
                self._dimension,
                f"origin-{key}",
                regularisation=learner.regularisation,
                guard=GuardSettings() if learner.guard else None,
            )
            for key in keys
        }
        self._group_of = [self._groups[key] for key in keys]
        self._members = {
            key: [device for device, other in enumerate(keys) if other == key] for key in self._groups
        }
        self._keys = keys
        # What devices of a type have in common: all, once their links are measured.
        measured = learner.link == "measured"
        self._common = tuple(bool(measured or own) for own in world.device_columns)
        self._lies = lies_of(world)
        settings = settings_of(learner)
        self.policies = [
            FedLinUCBDW(world.device_columns, settings, link_column=world.link_column, boot=1) for _ in keys
        ]
        for device, policy in enumerate(self.policies):
            policy.member.join(world.experience(device, learner.warm_start))
        for device in range(len(keys)):
            self._exchange(device)

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        return self.policies[turn.device].select(turn.contexts)

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """As `Team.update`."""
        self.policies[turn.device].update(arm, cost)
        self._exchange(turn.device)

    def group_of(self, device: int) -> Group:
        """Return the group of a device, for looking at."""
        return self._group_of[device]

    def _exchange(self, device: int) -> None:
        """Carry what is due to the group, and the group's new version back."""
        member, group = self.policies[device].member, self._group_of[device]
        while member.upload_due():
            upload = member.take_upload()
            sent = upload.statistics
            if device in self._lies:
                sent = self._lies[device].alter(sent)
            if self._share != "device":  # a group of one is the device itself
                self.traffic.upload(self._dimension)
            try:
                answer = group.merge(
                    str(device), _INSTALL, upload.boot, upload.seq, sent, columns=self._common
                )
            except Repeated:
                member.refused(upload.boot, upload.seq)
                continue
            member.acknowledged(
                upload.boot, upload.seq, group.origin, answer.version, parked=group.is_parked(str(device))
            )
            receivers = self._members[self._keys[device]] if self._to_all else [device]
            for receiver in receivers:
                self.policies[receiver].member.adopt(group.origin, group.version, group.statistics)
            if self._share != "device":
                self.traffic.download(self._dimension, len(receivers))


def settings_of(learner: spec.Family) -> Settings:
    """Return the learner's switches."""
    return Settings(
        regularisation=learner.regularisation,
        alpha=learner.alpha,
        beta_s=learner.beta_s,
        beta_noise=learner.beta_noise,
        beta_prior=learner.beta_prior,
        feedback=learner.feedback,
        view=learner.view,
        start=learner.start,
        link=learner.link,
        link_optimism=learner.link_optimism,
        link_settings=LinkSettings(
            drift_unit=learner.drift_unit,
            drift_round_trip=learner.drift_round_trip,
            noise=learner.link_noise,
            prior=learner.link_prior,
            memory_frames=learner.link_memory_frames,
            usual_weight=learner.link_usual_weight,
        ),
        slowness=learner.slowness,
        slowness_settings=SlownessSettings(
            drift=learner.slowness_drift,
            noise=learner.slowness_noise,
            memory_frames=learner.slowness_memory_frames,
        ),
        offset_pseudo_rows=learner.offset_pseudo_rows if learner.offsets else None,
        offset_forgetting=learner.offset_forgetting,
        probe_after_frames=learner.probe_after_frames if learner.probes else None,
        safety=learner.safety,
        safety_frames=learner.safety_frames,
        probe_largest_gap_frames=max(learner.probe_largest_gap_frames, learner.probe_after_frames),
    )
