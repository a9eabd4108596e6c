"""A device and its coordinators, over a broker in memory: who is obeyed, who is refused, and when it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bus.address import BrokerAddress
from bus.connection import Endpoint
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from bus.topics import Topics
from device.compute import Compute, load_compute
from device.settings import DeviceSettings
from lab.simulator.experiment import load
from lab.testbed.coordinator import (
    Coordinator,
    DeviceBusy,
    TestbedError,
    Unanswered,
    endpoint_of,
    listening,
)
from lab.testbed.lab_device import LabDevice
from lab.testbed.orders import ORDER, new_mark
from lab.testbed.plan import Plan
from tests.lab.testbed.test_plan import TWO_TYPES
from tests.support.profiles import profile_of

_TOPICS = Topics("cans/testbed")
_ONE = 'world.types=[{name="phone",link={kind="constant",mbit_s=1.0}}]'
_PLAN = Plan(load(TWO_TYPES, overrides=[_ONE]), {"phone": ["hall"]})
_SOON_S = 20.0


class _Links:
    async def settle(self, devices: object) -> None:
        """Nothing to empty."""

    async def play(self, device: str, mbit_s: object, at_s: float) -> None:
        """Nothing to shape."""

    async def hold(self, device: str, *, on: bool) -> None:
        """Nothing to hold."""


@pytest.fixture(scope="module")
def compute() -> Compute:
    return load_compute(_settings())


def _settings(profile: Path | None = None) -> DeviceSettings:
    return DeviceSettings(
        id="hall",
        type="phone",
        broker=BrokerAddress(),
        prefix=_TOPICS.prefix,
        model="tests.support.tiny_network:make",
        codecs=("uint8",),
        profile=profile,
        version="1.2.3",
    )


def _endpoint() -> Endpoint:
    return Endpoint("lab-hall", subscriptions=((_TOPICS.of(ORDER, device="hall"), ORDER.qos),))


@contextlib.asynccontextmanager
async def _device(broker: MemoryBroker, settings: DeviceSettings, compute: Compute) -> AsyncIterator[object]:
    async with broker.connect(_endpoint()) as connection:
        serving = asyncio.create_task(LabDevice(settings, compute, connection).serve(), name="device")
        try:
            yield serving
        finally:
            serving.cancel()
            await asyncio.wait({serving})


@contextlib.asynccontextmanager
async def _coordinator(broker: MemoryBroker) -> AsyncIterator[Coordinator]:
    mark = new_mark()
    async with broker.connect(endpoint_of(_TOPICS, mark)) as connection:
        coordinator = Coordinator(_PLAN, connection, _TOPICS, _Links(), lambda *_: None, mark)
        async with listening(coordinator):
            yield coordinator


def test_a_device_serves_one_coordinator_after_the_other_and_two_at_once_never(compute: Compute) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with (
            _device(broker, _settings(), compute) as serving,
            _coordinator(broker) as first,
            _coordinator(broker) as second,
        ):
            found = await first.enlist("hall", _SOON_S)
            assert found.arms == tuple(compute.plan.label(arm) for arm in range(len(compute.plan.arms)))
            assert (found.model, found.versions, found.emulated) == (
                compute.plan.model,
                {"cans": "1.2.3"},
                False,
            )
            assert (found.mark, found.profile) == (first.mark, "")
            with pytest.raises(DeviceBusy, match="hall plays for another coordinator, heard 0 s ago"):
                await second.enlist("hall", _SOON_S)
            await first.leave(stay=True)
            assert (await second.enlist("hall", _SOON_S)).mark == second.mark
            with pytest.raises(Unanswered, match="cans device --lab --id hall"):
                await first.enlist("hall", 0.2)  # it was left, for good
            await second.leave()
            assert isinstance(serving, asyncio.Task)
            await asyncio.wait_for(serving, _SOON_S)

    asyncio.run(main())


def test_a_profile_goes_with_it_and_one_that_does_not_fit_is_said(compute: Compute, tmp_path: Path) -> None:
    async def main(**changes: str) -> str:
        broker = MemoryBroker()
        path = tmp_path / "profile.json"
        profile_of(**changes).save(path)
        async with _device(broker, _settings(path), compute), _coordinator(broker) as coordinator:
            return (await coordinator.enlist("hall", _SOON_S)).profile

    with pytest.raises(TestbedError, match=r"the device hall cannot: the profile .* is of model 001122"):
        asyncio.run(main())


def test_nonsense_ends_no_device(compute: Compute) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with _device(broker, _settings(), compute), _coordinator(broker) as coordinator:
            topic = _TOPICS.of(ORDER, device="hall")
            for payload in (b"", b"\xff", msgspec.json.encode({"kind": "dance", "number": 1})):
                await coordinator.connection.publish(topic, payload, qos=1)
            assert (await coordinator.enlist("hall", _SOON_S)).versions == {"cans": "1.2.3"}

    asyncio.run(main())


def test_the_second_device_of_one_id_ends_with_a_sentence(compute: Compute) -> None:
    async def main() -> None:
        broker = MemoryBroker()
        async with _device(broker, _settings(), compute) as serving, broker.connect(_endpoint()):
            assert isinstance(serving, asyncio.Task)
            with pytest.raises(ConfigurationError, match="another device of a testbed is called 'hall'"):
                await asyncio.wait_for(serving, _SOON_S)

    asyncio.run(main())
