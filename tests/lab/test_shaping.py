"""Links carry what they are set to, however they are made.

How fast this machine is does not enter, but a process that is held up for a while disturbs what it measures:
so what a link does is looked at up to some times, and it must do it once. One that shapes wrongly never does.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from lab.links import LinkSpec
from lab.namespaces.device_net import DeviceNet
from lab.namespaces.names import Names
from lab.namespaces.shaper import MTU_BYTES, OPEN_MBIT, parameters
from lab.shaping import (
    MOST_OFF,
    after_rest_ms,
    by_kernel,
    by_proxy,
    goodput_mbit,
    held_by_kernel,
    sunk,
    waits_ms,
)
from tests.support.namespaces import needs_namespaces

# Far below what any machine carries: what is missing is then missing in the shaping.
_SLOW_MBIT, _SECONDS = 2.0, 2.0
_LOOKS = 4
_NAMES = Names("0" * 8, 0, 509)


T = TypeVar("T")


def seen(measure: Callable[[], Coroutine[Any, Any, T]], good: Callable[[T], bool]) -> None:
    """Measure until it is good."""
    found = []
    for _ in range(_LOOKS):
        found.append(asyncio.run(measure()))
        if good(found[-1]):
            return
    raise AssertionError(found)


def as_set(mbit: float) -> bool:
    return mbit == pytest.approx(_SLOW_MBIT, rel=2 * MOST_OFF)


def test_the_proxy_carries_what_it_is_set_to() -> None:
    seen(lambda: goodput_mbit(by_proxy, _SLOW_MBIT, _SECONDS), as_set)


@needs_namespaces
def test_the_kernel_carries_what_it_is_set_to() -> None:
    seen(lambda: goodput_mbit(by_kernel, _SLOW_MBIT, _SECONDS), as_set)


@needs_namespaces
def test_a_message_waits_no_longer_than_all_that_was_sent_before_it_takes() -> None:
    whole_ms = 256 * 1024 * 8 / (_SLOW_MBIT * 1e3)
    for lay in (by_proxy, by_kernel):
        seen(lambda lay=lay: waits_ms(lay, _SLOW_MBIT), lambda ms: 10.0 <= ms <= 1.5 * whole_ms)  # type: ignore[misc] # bound now


@needs_namespaces
def test_a_small_message_after_a_rest_sees_most_of_a_poor_link() -> None:
    whole_ms = 1900 * 8 / (0.05 * 1e3)
    for lay in (by_proxy, by_kernel):
        took = partial(after_rest_ms, lay, 0.05, 1900)
        seen(took, lambda ms: 0.6 * whole_ms <= ms <= 1.3 * whole_ms)


def test_the_kernel_is_given_headers_on_top_of_the_rate() -> None:
    given = parameters(8.0)
    assert given["rate"] == round(1e6 * (MTU_BYTES + 14) / (MTU_BYTES - 52))
    assert parameters(0.01)["burst"] >= MTU_BYTES + 14  # a packet must fit, or none passes
    assert parameters(OPEN_MBIT)["rate"] < 2**32


@needs_namespaces
def test_a_faster_second_of_a_trace_is_not_waited_for_at_the_rate_of_the_slower_one() -> None:
    """At 0.01 Mbit/s a packet takes 1.2 s: the kernel would sleep through the second after it."""

    async def play() -> list[float]:
        async with sunk() as (sink, target), held_by_kernel(target, LinkSpec(4.0, 20.0, 5.0)) as (link, dial):
            writer = await dial()
            writer.write(b"!")
            await sink.until(0, 1)
            await link.play([0.01, 4.0, 4.0, 4.0], 0.0)
            began = asyncio.get_running_loop().time()
            writer.write(bytes(300_000))
            await sink.until(0, 300_001)
            writer.close()
            return [when - began for when, _ in sink.arrivals[0][1:]]

    def soon(came: list[float]) -> bool:
        # Nothing stands still any longer than the slow second does.
        return came[-1] <= 2.2 and max(later - earlier for earlier, later in pairwise(came)) <= 1.1

    seen(play, soon)


@needs_namespaces
def test_settling_carries_all_that_waits_and_gives_the_rate_back() -> None:
    async def settle() -> tuple[float, int, float]:
        async with sunk() as (sink, target), held_by_kernel(target, LinkSpec(0.5, 20.0, 5.0)) as (link, dial):
            writer = await dial()
            writer.write(bytes(200_000))  # 3 s of it
            await sink.until(0, 1)
            began = asyncio.get_running_loop().time()
            await link.settle()
            took = asyncio.get_running_loop().time() - began
            writer.close()
            return took, sum(size for _, size in sink.arrivals[0]), link.rates_mbit[0]

    seen(settle, lambda found: found[0] < 2.0 and found[1:] == (200_000, 0.5))


@needs_namespaces
def test_nothing_of_a_device_is_left_when_laying_it_fails() -> None:
    async def lay() -> None:
        async with DeviceNet(_NAMES):
            with pytest.raises(FileExistsError):
                async with DeviceNet(_NAMES):
                    pass

    asyncio.run(lay())
    asyncio.run(lay())  # the first has left nothing in the way
