"""From a file to devices, players and blocks."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from bus.errors import ConfigurationError
from bus.names import is_name
from lab.simulator.experiment import load
from lab.simulator.site import SiteWorld
from lab.testbed.plan import Plan

TWO_TYPES = Path(__file__).with_name("two_types.toml")


def plan(*overrides: str) -> Plan:
    return Plan(load(TWO_TYPES, overrides=overrides))


def test_the_sweep_plays_and_what_is_estimated_does_not() -> None:
    found = plan('testbed.sweep=["0/jpeg", "13/int8-zstd"]')
    assert {"arm.0.jpeg", "arm.13.int8-zstd", "default", "ans"} <= set(found.policies)
    assert not {"oracle", "best_fixed"} & set(found.policies)


def test_every_policy_has_each_block_once_and_follows_each_other_one_equally_often() -> None:
    found = plan("world.frames=160", "testbed.block_frames=10")
    count = len(found.policies)
    assert count % 2 == 0
    assert found.rounds == 16
    blocks = list(found.blocks(1000))
    assert Counter(block.policy for block in blocks) == dict.fromkeys(found.policies, 16)
    orders = [[block.policy for block in blocks if block.round == number] for number in range(count)]
    follows = Counter(pair for order in orders for pair in pairwise(order))
    assert set(follows.values()) == {1}
    assert len(follows) == count * (count - 1)


def test_a_round_is_the_same_frames_over_the_same_moment_of_the_links_for_all() -> None:
    found = plan("world.frames=30", "testbed.block_frames=10", "world.fps=4.0")
    moments = {(block.round, block.first, block.at_s) for block in found.blocks(1003)}
    assert moments == {(0, 0, 0.0), (1, 10, 2.5), (2, 20, 5.0)}
    assert next(found.blocks(1003)).policy != next(found.blocks(1004)).policy


def test_players_of_one_policy_learn_with_whom_their_sharing_says() -> None:
    found = plan()
    joins = [found.join_of(1000, device, 1) for device in range(len(found.devices))]
    groups = {
        name: {player.type for join in joins for player in join.players if player.policy == name}
        for name in found.policies
    }
    assert len(groups["default"]) == 2  # two types
    assert len(groups["fedlinucb"]) == 1
    assert len(groups["linucb"]) == 2  # each device alone
    ids = [player.id for join in joins for player in join.players]
    assert len(set(ids)) == len(ids)
    assert all(
        is_name(word) for join in joins for player in join.players for word in (player.id, player.type)
    )
    of_another_seed = {player.type for player in found.join_of(1001, 0, 1).players}
    assert not of_another_seed & {player.type for player in joins[0].players}


def test_frames_differ_between_devices_and_repetitions() -> None:
    found = plan()
    assert len({found.join_of(seed, device, 1).seed for seed in (1000, 1001) for device in (0, 1)}) == 4


def test_links_are_those_of_the_simulation() -> None:
    found = plan()
    traces = found.traces(1000)
    links = SiteWorld(found.world, 1000).links
    assert [list(link.mbit_s) for link in links] == traces
    assert traces != found.traces(1001)


def test_a_device_that_joins_late_has_no_part_in_earlier_rounds() -> None:
    experiment = load(TWO_TYPES)
    early = msgspec.to_builtins(experiment.world)
    types = [*early["types"], {**early["types"][0], "name": "late", "join_after_frames": 20}]
    late = msgspec.convert({**early, "types": types}, type(experiment.world), strict=False)
    worlds = dict.fromkeys(experiment.worlds, late)
    found = Plan(msgspec.structs.replace(experiment, world=late, worlds=worlds))
    assert [device.joins_round for device in found.devices] == [0, 0, 2]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["world.frames=25"], "makes no whole blocks of testbed.block_frames = 10"),
        (["policies.dis_linucb.threshold=1.0"], "policies.dis_linucb: a device cannot be that"),
        (["policies.ans.world.frames=100"], "policies.ans: on a testbed all policies share one world"),
    ],
)
def test_what_cannot_be_played_is_a_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        plan(*overrides)


def test_only_sites_are_played() -> None:
    with pytest.raises(ConfigurationError, match="a testbed plays sites"):
        Plan(load(Path("lab/experiments/reference.toml")))


def test_devices_are_called_as_somebody_else_calls_them() -> None:
    ids = {"board": ["kitchen"], "phone": ["hall"]}
    found = Plan(load(TWO_TYPES), ids)
    assert [(each.name, each.kind.name) for each in found.devices] == [
        ("hall", "phone"),
        ("kitchen", "board"),
    ]
    assert all(player.id.startswith("hall-p") for player in found.join_of(1000, 0, 1).players)


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        ({"phone": ["a"], "bord": ["b"]}, "b is said to be of type 'bord'.*did you mean 'board'"),
        ({"phone": ["a"]}, "type board: the experiment has 1, the inventory names 0; name more"),
        ({"phone": ["a", "c"], "board": ["b"]}, "type phone: the experiment has 1, .* 2; leave some out"),
    ],
)
def test_names_that_do_not_fit_the_experiment_are_said(ids: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Plan(load(TWO_TYPES), ids)
