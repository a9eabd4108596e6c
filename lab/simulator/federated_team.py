"""Devices of the family and their groups: `bandits.federation` as devices and aggregator run it.

Messages travel by the world's channel. A frame's own latency is not counted there: what it taught leaves at
the moment of its capture.
"""

from functools import partial

from bandits.federation import Group, GuardSettings
from bandits.fedlinucb import FedLinUCBDW
from bandits.link_estimate import LinkSettings
from bandits.policy import Cost
from bandits.settings import Settings
from bandits.slowness_estimate import SlownessSettings
from lab.simulator import spec
from lab.simulator.channel import Channel
from lab.simulator.lies import lies_of
from lab.simulator.post import DevicePost, GroupPost
from lab.simulator.sharing import groups_of
from lab.simulator.traffic import Traffic
from lab.simulator.world import Turn, World, stream, tell_of_link, tell_of_queue

_MESSAGES = 9  # stream; those of worlds and of other teams are smaller


class FederatedTeam:
    """Implements `Team`.

    Args:
        learner: switches.
        world: its devices join, with their early-exit experience, when they appear.
        seed: of what happens to messages.
    """

    def __init__(self, learner: spec.Family, world: World, seed: int) -> None:
        self.traffic = Traffic()
        # A group of one is the device itself, where nothing travels.
        alone = learner.share == "device"
        self._channel = Channel(spec.Channel() if alone else world.channel, stream(seed, 0, _MESSAGES))
        dimension = world.device_columns.shape[0]
        keys = groups_of(learner.share, world)
        # What devices of a type have in common: all, once their links are measured.
        measured = learner.link == "measured"
        self._groups = {
            key: GroupPost(
                Group(
                    dimension,
                    f"origin-{key}",
                    regularisation=learner.regularisation,
                    guard=GuardSettings() if learner.guard else None,
                ),
                self._channel,
                Traffic() if alone else self.traffic,
                to_all=learner.download == "members",
                common=tuple(bool(measured or own) for own in world.device_columns),
            )
            for key in keys
        }
        self._keys = keys
        lies = lies_of(world)
        settings = settings_of(learner)
        self.policies = [
            FedLinUCBDW(world.device_columns, settings, link_column=world.link_column, boot=1) for _ in keys
        ]
        self._posts = [
            DevicePost(str(device), policy.member, self._groups[keys[device]], lies.get(device))
            for device, policy in enumerate(self.policies)
        ]
        self._plan_stays(world, learner.warm_start)

    def _plan_stays(self, world: World, warm_start: int) -> None:
        """Let devices join and leave when the world says; those there from the beginning join first."""
        early = [device for device, joins_s in enumerate(world.joins_s) if joins_s == 0.0]
        for device in early:
            self._posts[device].join(world.experience(device, warm_start), 0.0)
        for device in early:
            self._posts[device].send_due(0.0)
            self._channel.play(0.0)
        for device, (joins_s, leaves_s) in enumerate(zip(world.joins_s, world.leaves_s, strict=True)):
            if joins_s > 0.0:
                self._channel.at(joins_s, partial(self._join, device, world, warm_start))
            if leaves_s < float("inf"):
                self._channel.at(leaves_s, self._posts[device].leave)

    def _join(self, device: int, world: World, warm_start: int, now_s: float) -> None:
        self._posts[device].join(world.experience(device, warm_start), now_s)
        self._posts[device].send_due(now_s)

    def select(self, turn: Turn) -> int:
        """As `Team.select`."""
        self._channel.play(turn.at_s)
        self._posts[turn.device].catch_up()
        tell_of_queue(self.policies[turn.device], turn)
        return self.policies[turn.device].select(turn.contexts)

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        """As `Team.update`."""
        self.policies[turn.device].update(arm, cost)
        if self.policies[turn.device].heeds_link_checks:
            tell_of_link(self.policies[turn.device], turn, cost)
        self._posts[turn.device].send_due(turn.at_s)
        self._channel.play(turn.at_s)

    def group_of(self, device: int) -> Group:
        """Return the group of a device, for looking at."""
        return self._groups[self._keys[device]].group


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
        link_checks=learner.link_checks,
        slowness=learner.slowness,
        slowness_settings=SlownessSettings(
            drift=learner.slowness_drift,
            noise=learner.slowness_noise,
            memory_frames=learner.slowness_memory_frames,
        ),
        offset_pseudo_rows=learner.offset_pseudo_rows if learner.offsets else None,
        offset_forgetting=learner.offset_forgetting,
        probe_after_frames=learner.probe_after_frames if learner.probes else None,
        look_within=learner.look_within,
        toll=learner.toll,
        safety=learner.safety,
        safety_frames=learner.safety_frames,
        probe_largest_gap_frames=max(learner.probe_largest_gap_frames, learner.probe_after_frames),
    )
