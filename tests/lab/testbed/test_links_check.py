"""Every report says what its links really did."""

import asyncio
from pathlib import Path

import msgspec

from lab.shaping import by_proxy
from lab.simulator.experiment import load
from lab.testbed.links_check import LinkChecked, check_links, links_told, rates_of
from lab.testbed.plan import Plan

_TWO_TYPES = Path(__file__).with_name("two_types.toml")


def test_the_rates_are_those_of_the_traces() -> None:
    plan = Plan(load(_TWO_TYPES))
    rates = rates_of(plan)
    played = [rate for trace in plan.traces(plan.seeds[0]) for rate in trace]
    assert rates == sorted(set(rates))
    assert {rates[0], rates[-1]} == {min(played), max(played)}


def test_a_proxy_carries_what_it_is_set_to_and_queues() -> None:
    quick, slow = asyncio.run(check_links(by_proxy, [4.0, 0.2]))
    assert quick.as_set, quick
    assert slow.as_set, slow
    assert quick.waits_ms is not None
    assert slow.waits_ms is None


def test_what_a_summary_holds_of_links_is_read_back() -> None:
    told = LinkChecked(rate_mbit=5.0, goodput_mbit=5.5, waits_ms=None)
    assert links_told({"links": msgspec.to_builtins([told])}) == [told]
    assert not told.as_set
    assert links_told({}) == []
