"""A device with bans, running: what it never sends, what it says, and that it goes on when all is banned."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from bus.address import BrokerAddress
from bus.connection import Connection, Delivery, Endpoint
from bus.errors import ConfigurationError
from bus.memory import MemoryBroker
from bus.messages import ActivationRequest, State
from bus.mqtt import open_connection
from bus.topics import INFER, STATE, Topics
from bus.wire import decode
from device.compute import Compute, load_compute
from device.model_watch import next_compute
from device.runtime import run_device
from device.settings import DeviceSettings, DeviceSummary
from edge.runtime import run_edge
from edge.settings import EdgeSettings, ModelChoice
from lab.emulation import StretchedCompute, load_profile
from partition.models.entries import add
from partition.models.folder import use
from partition.networks.zoo import load_model
from partition.partitioned import build
from partition.profiles.calibration import calibrate
from tests.support.broker import mosquitto

TINY = "tests.support.tiny_network:make"
NOWHERE = BrokerAddress("localhost", 1)
# One tells a hundredth of an activation, which changes what the tiny network says; the other tells enough.
HARSH, MILD = "topk1-float16", "int8-zstd"
CODECS = ("uint8", "jpeg", MILD, HARSH)
HARSH_ARMS = {f"1/{HARSH}", f"2/{HARSH}"}
Connect = Callable[[Endpoint], contextlib.AbstractAsyncContextManager[Connection]]


def settings(folder: Path | None = None, **fields: Any) -> DeviceSettings:
    given: dict[str, Any] = {
        "id": "cam-1",
        "type": "pi4",
        "broker": NOWHERE,
        "model": TINY,
        "codecs": CODECS,
        "state_dir": folder,
        "frames": 40,
        "warm_start": 0,
        "deadline_ms": 20_000.0,
        "wait_edge_s": 30.0,
        "flush_s": 0.0,
        **fields,
    }
    return DeviceSettings(**given)


@contextlib.asynccontextmanager
async def edge_worker(folder: Path, connect: Connect) -> AsyncIterator[None]:
    edge = EdgeSettings(
        id="edge-1", broker=NOWHERE, models=(ModelChoice(TINY),), codecs=CODECS, state_dir=folder, workers=1
    )
    task = asyncio.create_task(run_edge(edge, connect=connect), name="edge")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def overheard(connect: Connect) -> AsyncIterator[tuple[list[str], list[State]]]:
    """Labels of arms in requests, and the device's states, for as long as the block runs."""
    topics = Topics()
    sent: list[str] = []
    states: list[State] = []
    wanted = ((topics.filter(INFER), 0), (topics.filter(STATE, role="device"), 1))

    async def hear(connection: Connection) -> None:
        async for event in connection.events():
            if isinstance(event, Delivery) and event.topic.startswith(topics.prefix + "/infer/"):
                request = decode(INFER, event.payload, ActivationRequest)
                sent.append(f"{request.cut}/{request.codec}")
            elif isinstance(event, Delivery):
                states.append(decode(STATE, event.payload, State))
                event.ack()

    async with connect(Endpoint("watcher", subscriptions=wanted)) as connection:
        hearing = asyncio.create_task(hear(connection), name="watcher")
        try:
            yield sent, states
        finally:
            hearing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hearing


async def played(
    folder: Path, given: DeviceSettings, connect: Connect, compute: Compute | None = None
) -> tuple[DeviceSummary, list[str], list[State]]:
    """Run a device beside an edge worker to its end."""
    async with edge_worker(folder / "edge", connect), overheard(connect) as (sent, states):
        summary = await run_device(given, connect=connect, compute=compute)
        async with asyncio.timeout(10.0):
            while not (states and states[-1].state == "disconnected"):  # noqa: ASYNC110 - heard by another task
                await asyncio.sleep(0.01)
        return summary, sent, states


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


# Every policy that explores; ans is forced to offload now and then.
EAGER = {"policy": "linucb", "compare": ("ans",), "min_agreement": 1.0}


def require_harsh_banned(summary: DeviceSummary, sent: list[str]) -> None:
    assert set(summary.banned) >= HARSH_ARMS
    assert "0/uint8" not in summary.banned
    assert all(reason.startswith("agreement 0.") for reason in summary.banned.values())
    assert all(
        policy.answered.keys() and sum(policy.answered.values()) == 40 for policy in summary.policies.values()
    )
    assert sent
    assert not set(sent) & set(summary.banned)


def test_a_device_never_sends_with_a_codec_below_its_least_agreement(tmp_path: Path) -> None:
    given = settings(tmp_path / "device", **EAGER)
    summary, sent, states = run(played(tmp_path, given, MemoryBroker().connect))
    require_harsh_banned(summary, sent)
    ready = next(state for state in states if state.state == "ready")
    assert "banned 1/topk1-float16" in ready.detail
    assert "is below 1" in ready.detail


@pytest.mark.mosquitto
def test_the_same_over_mosquitto(tmp_path: Path) -> None:
    async def main() -> tuple[DeviceSummary, list[str], list[State]]:
        async with mosquitto(tmp_path / "broker") as broker:

            def connect(endpoint: Endpoint) -> contextlib.AbstractAsyncContextManager[Connection]:
                return open_connection(broker.address, endpoint)

            return await played(tmp_path, settings(tmp_path / "device", **EAGER), connect)

    summary, sent, _ = run(main())
    require_harsh_banned(summary, sent)


def test_what_an_emulated_device_bans_leaves_its_profile_whole(tmp_path: Path) -> None:
    """The profile counts all arms of the model, hence the bans go around the emulation."""
    profile = calibrate(build(load_model(TINY, seed=0), codecs=CODECS), repeats=3)
    profile.save(tmp_path / "tiny.json")
    given = settings(tmp_path / "device", **EAGER)
    slow = StretchedCompute(load_compute(given), load_profile(tmp_path / "tiny.json"), 1.5)
    summary, sent, _ = run(played(tmp_path, given, MemoryBroker().connect, slow))
    require_harsh_banned(summary, sent)
    assert "emulated 1.5x slower; banned" in summary.label


def test_arms_that_do_not_pass_the_broker_are_banned_and_never_fail(tmp_path: Path) -> None:
    broker = MemoryBroker()

    def connect(endpoint: Endpoint) -> contextlib.AbstractAsyncContextManager[Connection]:
        return broker.connect(endpoint, max_payload_bytes=100_000)

    given = settings(tmp_path / "device", policy="two_arm", compare=("linucb",))
    summary, sent, _ = run(played(tmp_path, given, connect))
    assert summary.banned == {"0/uint8": "150528 bytes are above the 93856 that a request carries"}
    assert "0/jpeg" in sent
    assert not any(policy.rejected for policy in summary.policies.values())
    assert all(policy.answered["fallback"] == 0 for policy in summary.policies.values())


def test_a_device_whose_sending_arms_are_all_banned_works_alone_and_says_so(tmp_path: Path) -> None:
    broker = MemoryBroker()

    def connect(endpoint: Endpoint) -> contextlib.AbstractAsyncContextManager[Connection]:
        return broker.connect(
            endpoint, max_payload_bytes=100_000 if "device" in endpoint.client_id else 8 << 20
        )

    compute = load_compute(settings())
    everything = tuple(compute.plan.label(arm) for arm in range(len(compute.plan.arms) - 1))
    given = settings(policy="linucb", ban=everything, wait_edge_s=3600.0, frames=5)
    summary, sent, states = run(played(tmp_path, given, connect, compute))
    assert sent == []
    assert summary.answered_by == {"device": 5, "edge": 0, "fallback": 0}
    assert set(summary.banned) == set(everything)
    assert "every arm that sends is banned, so it works alone" in states[-1].detail


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"policy": "edge_only_jpeg", "ban": ("0/jpeg",)},
            r"edge_only_jpeg .* banned \(0/jpeg: named by --ban\)",
        ),
        ({"policy": "two_arm", "ban": ("0/jpeg", "0/uint8")}, r"two_arm .* banned \(0/jpeg: .*; 0/uint8: "),
        ({"ban": ("0/png",)}, "no arm '0/png' to ban: the arms are 0/uint8, 0/jpeg, 1/int8-zstd, "),
        ({"ban": ("end/none",)}, "the arm end/none runs all on the device"),
    ],
)
def test_a_ban_that_cannot_be_is_one_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        run(run_device(settings(**fields), connect=MemoryBroker().connect))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"min_agreement": 1.5}, "--min-agreement 1.5 will not do: give a share from 0 to 1"),
        ({"min_agreement": float("nan")}, "--min-agreement nan will not do"),
        ({"agreement_images": Path("photos")}, "--agreement-images is for --min-agreement"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings(**fields)


def test_bans_hold_for_the_model_that_the_device_goes_over_to(tmp_path: Path) -> None:
    models = tmp_path / "models"
    old, new = (add(models, TINY, seed=seed).hash for seed in (0, 1))
    use(models, "current", old)

    async def main() -> tuple[DeviceSummary, list[State]]:
        broker = MemoryBroker()
        summaries: list[DeviceSummary] = []
        given = settings(
            models_dir=models, model="current", poll_s=0.05, frames=None, wait_edge_s=0.0, ban=("0/jpeg",)
        )
        async with overheard(broker.connect) as (_, states):

            async def until_ready(model: str) -> None:
                async with asyncio.timeout(60.0):
                    while not any((s.state, s.models) == ("ready", model) for s in states):  # noqa: ASYNC110
                        await asyncio.sleep(0.02)

            device = asyncio.create_task(
                run_device(given, connect=broker.connect, on_end=summaries.append), name="device"
            )
            await until_ready(old)
            use(models, "current", new)
            await until_ready(new)
            device.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await device
        return summaries[0], [state for state in states if state.state == "ready"]

    summary, states = run(main())
    assert summary.banned == {"0/jpeg": "named by --ban"}
    assert {state.models for state in states} == {old, new}
    assert all(state.detail.endswith("banned 0/jpeg: named by --ban") for state in states)


def test_a_model_without_an_arm_that_is_to_be_banned_is_not_gone_over_to(tmp_path: Path) -> None:
    """The device plays the present one on, and says why."""
    models = tmp_path / "models"
    old, new = (add(models, TINY, seed=seed).hash for seed in (0, 1))
    use(models, "current", old)
    given = settings(models_dir=models, model="current", poll_s=0.01)
    playing = load_compute(given)
    use(models, "current", new)

    async def main() -> str:
        with structlog.testing.capture_logs() as said:
            watching = asyncio.create_task(next_compute(replace(given, ban=(f"7/{MILD}",)), playing))
            async with asyncio.timeout(60.0):
                while not (told := [one for one in said if one["event"] == "model_not_changed"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert not watching.done()
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        return str(told[0]["reason"])

    assert "there is no arm '7/int8-zstd' to ban" in run(main())
