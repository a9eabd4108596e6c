"""The family over a channel: nothing changes where it is instant, nothing counts twice where it is not."""

import itertools

import msgspec
import numpy as np
import pytest

from bandits.federation import Group
from bandits.fedlinucb import FedLinUCBDW
from bandits.policy import Cost
from bus.errors import ConfigurationError
from lab.simulator import spec
from lab.simulator.channel import Channel
from lab.simulator.engine import play
from lab.simulator.federated_team import FederatedTeam, settings_of
from lab.simulator.jobs import make_world
from lab.simulator.runs import Run
from lab.simulator.sharing import groups_of
from lab.simulator.teams import team_of
from lab.simulator.traffic import Traffic
from lab.simulator.world import Turn, World, stream

PHONE = spec.DeviceType(name="phone", devices=3, slowness=8.0, link=spec.Constant(mbit_s=12.0))
BOARD = spec.DeviceType(name="board", devices=2, slowness=2.5, link=spec.Constant(mbit_s=4.0, delay_ms=10.0))
SITE = spec.Site(frames=50, types=(PHONE, BOARD))
ROUGH = spec.Channel(upload_loss=0.4, ack_loss=0.4, broadcast_loss=0.4, delay_s=3.0, duplicated=0.4)
STRICT = spec.Family(
    share="all", view="strict", download="uploader", feedback="total", offsets=False, probes=False
)


class Direct:
    """What a team is without a channel: each upload is merged, answered and heard of before anything else."""

    def __init__(self, learner: spec.Family, world: World) -> None:
        self.traffic = Traffic()
        self._keys = groups_of(learner.share, world)
        d = world.device_columns.shape[0]
        self._groups = {
            key: Group(d, f"origin-{key}", regularisation=learner.regularisation) for key in self._keys
        }
        self._to_all = learner.download == "members"
        self._policies = [
            FedLinUCBDW(world.device_columns, settings_of(learner), link_column=world.link_column, boot=1)
            for _ in self._keys
        ]
        for device, policy in enumerate(self._policies):
            policy.member.join(world.experience(device, learner.warm_start))
        for device in range(len(self._keys)):
            self._exchange(device)

    def select(self, turn: Turn) -> int:
        return self._policies[turn.device].select(turn.contexts)

    def update(self, turn: Turn, arm: int, cost: Cost) -> None:
        self._policies[turn.device].update(arm, cost)
        self._exchange(turn.device)

    def _exchange(self, device: int) -> None:
        member, group = self._policies[device].member, self._groups[self._keys[device]]
        while member.upload_due():
            upload = member.take_upload()
            version = group.merge(str(device), "i", upload.boot, upload.seq, upload.statistics).version
            member.acknowledged(upload.boot, upload.seq, group.origin, version)
            for other, policy in enumerate(self._policies):
                if other == device or (self._to_all and self._keys[other] == self._keys[device]):
                    policy.member.adopt(group.origin, group.version, group.statistics)
                    self.traffic.download(member.dimension)
            self.traffic.upload(member.dimension)


def team_in(world: World, learner: spec.Family, seed: int = 3) -> FederatedTeam:
    return FederatedTeam(learner, world, seed)


def run_of(learner: spec.Family, settings: spec.World = SITE, seed: int = 3) -> Run:
    world = make_world(settings, seed)
    return play(world, team_in(world, learner, seed))


def over(channel: spec.Channel, **more: object) -> spec.Site:
    return msgspec.structs.replace(SITE, channel=channel, **more)


@pytest.mark.parametrize(
    "learner",
    [
        spec.Family(warm_start=8),
        spec.Family(share="all", alpha=0.0),
        spec.Family(link="measured", warm_start=8, view="strict"),
        STRICT,
    ],
    ids=["type", "all", "measured", "published"],
)
@pytest.mark.parametrize(
    "settings", [SITE, spec.Synthetic(devices=4, rounds=300, dimension=5, arms=7)], ids=["site", "synthetic"]
)
def test_an_instant_channel_is_no_channel(learner: spec.Family, settings: spec.World) -> None:
    if learner.link == "measured" and isinstance(settings, spec.Synthetic):
        learner = msgspec.structs.replace(learner, link="learned")
    world = make_world(settings, 3)
    direct, channelled = play(world, Direct(learner, world)), run_of(learner, settings)
    for name in ("device", "arm", "cost", "regret"):
        assert np.array_equal(getattr(direct, name), getattr(channelled, name))
    assert (direct.messages, direct.bytes) == (channelled.messages, channelled.bytes)
    assert direct.messages > 10


@pytest.mark.parametrize("seed", range(4))
def test_every_row_is_in_the_group_once_whatever_happens_to_messages(seed: int) -> None:
    world = make_world(over(ROUGH), seed)
    team = team_in(world, spec.Family(share="all", feedback="total", warm_start=8), seed)
    play(world, team)
    team._channel.play(1e6)  # until every upload is answered
    members = [policy.member for policy in team.policies]
    assert all(member.in_flight is None for member in members)
    group = team._posts[0]._group.group
    rows = world.rounds + 8 * len(members)
    assert group.statistics.count + sum(member.local.count for member in members) == rows
    assert group.version > 15


def test_channels_change_what_is_learnt_but_no_frame() -> None:
    rough, instant = run_of(spec.Family(), over(ROUGH)), run_of(spec.Family())
    assert not np.array_equal(rough.arm, instant.arm)
    assert np.array_equal(rough.at_s, instant.at_s)
    same = rough.arm == instant.arm
    assert same.any()
    assert np.array_equal(rough.cost[same], instant.cost[same])
    for field in ("arm", "cost"):
        assert np.array_equal(getattr(rough, field), getattr(run_of(spec.Family(), over(ROUGH)), field))
    alone = spec.Family(share="device")
    assert np.array_equal(run_of(alone, over(ROUGH)).arm, run_of(alone).arm)


@pytest.mark.parametrize("learner", [spec.Async(), spec.Central(), spec.DisLinUCB()])
def test_who_has_no_rule_for_lost_messages_does_not_play_where_they_are(learner: spec.Learner) -> None:
    world = make_world(over(ROUGH), 3)
    with pytest.raises(ConfigurationError, match="has no rule for messages that are late or lost"):
        team_of(learner, world, 3)
    team_of(learner, make_world(over(spec.Channel(reply_loss=0.5)), 3), 3)


def test_what_comes_twice_changes_nothing() -> None:
    twice, once = run_of(spec.Family(), over(spec.Channel(duplicated=1.0))), run_of(spec.Family())
    assert np.array_equal(twice.arm, once.arm)
    assert twice.messages == once.messages
    assert twice.bytes > once.bytes  # a repetition is acknowledged again


def test_a_group_that_nobody_reaches_is_devices_alone_that_repeat_as_devices_do() -> None:
    lost = over(spec.Channel(upload_loss=1.0), frames=100, types=(msgspec.structs.replace(PHONE, devices=1),))
    cut_off, alone = (
        run_of(spec.Family(warm_start=8, share=share), lost) for share in ("type", "device")
    )  # fmt: skip
    assert np.array_equal(cut_off.arm, alone.arm)
    # At 0 s, then after 1, 2, 4 ... s: 1, 3, 7, 15, 31, 63; the next after 60 s at most, at 123.
    assert cut_off.messages == 7
    unheard = run_of(spec.Family(warm_start=8), over(spec.Channel(broadcast_loss=1.0)))
    assert np.array_equal(unheard.arm, run_of(spec.Family(warm_start=8, share="device")).arm)


def test_broadcasts_are_as_rare_as_they_should_be_and_the_newest_wins() -> None:
    rare, often = run_of(spec.Family(), over(spec.Channel(broadcast_every_s=10.0))), run_of(spec.Family())
    # A version a group every 10 s at most, to three and two members; the rest are uploads.
    assert rare.messages < 6 * (3 + 2) + often.messages / 2 < often.messages
    assert rare.regret.sum() < run_of(spec.Family(share="device")).regret.sum()


def test_a_channel_keeps_order_at_one_moment_and_loses_delays_and_doubles_as_told() -> None:
    arrived: list[tuple[str, float]] = []

    def note(name: str) -> "list[tuple[str, float]]":
        instant.send(lambda at_s: arrived.append((name, at_s)), 1.0, 0.0)
        return arrived

    instant = Channel(spec.Channel(), stream(1))
    for name in "cab":
        note(name)
    instant.at(0.5, lambda at_s: arrived.append(("alarm", at_s)))
    instant.play(0.9)
    assert arrived == [("alarm", 0.5)]
    instant.play(1.0)
    assert arrived == [("alarm", 0.5), ("c", 1.0), ("a", 1.0), ("b", 1.0)]
    times: list[float] = []
    rough = Channel(spec.Channel(delay_s=2.0, delay_most_s=5.0, duplicated=0.5), stream(2))
    for _ in range(4000):
        rough.send(times.append, 0.0, 0.25)
    rough.play(5.0)
    assert len(times) == pytest.approx(4000 * 1.5 * 0.75, rel=0.05)
    assert all(earlier <= later for earlier, later in itertools.pairwise(times))
    # E min(T, 5) of an exponential T with mean 2.
    assert np.mean(times) == pytest.approx(2.0 * (1.0 - np.exp(-2.5)), rel=0.05)
    assert max(times) == 5.0


def test_a_late_joiner_knows_what_the_group_knows_and_a_leaver_hands_in_all() -> None:
    late = spec.DeviceType(
        name="late", declared="phone", join_after_frames=20, slowness=8.0, link=spec.Constant(mbit_s=12.0)
    )
    early = msgspec.structs.replace(PHONE, leave_after_frames=10)
    stay = msgspec.structs.replace(PHONE, name="stay", declared="phone", devices=1)
    world = make_world(spec.Site(frames=40, types=(early, late, stay)), 3)
    team = team_in(world, spec.Family(feedback="total", warm_start=8))
    group = team._posts[0]._group.group
    member = team.policies[3].member
    first = True
    for turn in world.turns():
        if turn.device == 3 and first:
            assert not member.joined
            before = group.version
        arm = team.select(turn)
        if turn.device == 3 and first:
            assert member.joined
            assert member.version == group.version == before + 1  # with its own early-exit rows
            first = False
        team.update(turn, arm, turn.cost_of(arm))
        left = turn.at_s > 10.0
        assert not left or all(team.policies[gone].member.local.count == 0 for gone in range(3))
    assert not first
    assert len(team._posts[0]._group._members) == 2
    here = team.policies[3].member.local.count + team.policies[4].member.local.count
    assert group.statistics.count + here == world.rounds + 5 * 8


def test_a_leaver_whose_answers_are_lost_goes_all_the_same() -> None:
    deaf = spec.Channel(ack_loss=1.0)
    early = msgspec.structs.replace(PHONE, leave_after_frames=10)
    world = make_world(spec.Site(frames=40, types=(early, BOARD), channel=deaf), 3)
    team = team_in(world, spec.Family(warm_start=8))
    play(world, team)
    post = team._posts[0]
    assert post._group._members == {}
    assert team.policies[0].member.in_flight is not None
    sent = team.traffic.messages
    waiting = team.policies[0].member.in_flight
    post._send(waiting, waiting, 0, 30.0)
    assert team.traffic.messages == sent
