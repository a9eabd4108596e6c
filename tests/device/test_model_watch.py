"""What a device makes of a model's name that moves: it goes over to what it can play."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch

from bus.address import BrokerAddress
from bus.errors import ConfigurationError
from device.compute import Compute, load_compute
from device.model_watch import next_compute
from device.plan import Plan
from device.settings import DeviceSettings
from partition.bottleneck import load as load_bottleneck
from partition.models.entries import add
from partition.models.folder import use
from tests.support.small_training import trained_for

TINY = "tests.support.tiny_network:make"


def settings_of(models: Path) -> DeviceSettings:
    return DeviceSettings(
        id="cam-1", type="pi4", broker=BrokerAddress(), models_dir=models, model="current", poll_s=0.01
    )


def told(models: Path, change: Callable[[], Any], *, polls: float = 0.5) -> list[str]:
    """Return the reasons that a device gives while its name stands for what `change` made of it."""
    first = add(models, TINY).hash
    use(models, "current", first)
    given = settings_of(models)
    playing = load_compute(given)

    async def main() -> list[str]:
        with structlog.testing.capture_logs() as said:
            watching = asyncio.create_task(next_compute(given, playing))
            await asyncio.sleep(0.1)
            change()
            async with asyncio.timeout(60.0):
                while not any(one["event"] == "model_not_changed" for one in said):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await asyncio.sleep(polls)
            assert not watching.done()
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        return [str(one["reason"]) for one in said if one["event"] == "model_not_changed"]

    return asyncio.run(main())


def test_a_model_for_other_frames_is_not_gone_over_to(tmp_path: Path) -> None:
    other = add(tmp_path, f"{TINY}@96x96").hash
    (reason,) = told(tmp_path, lambda: use(tmp_path, "current", other))
    assert "takes frames of (96, 96), not (224, 224): restart the device" in reason


def test_a_name_that_is_gone_is_said_once(tmp_path: Path) -> None:
    (reason,) = told(tmp_path, (tmp_path / "names" / "current").unlink)
    assert "current" in reason


def test_a_damaged_model_is_not_gone_over_to(tmp_path: Path) -> None:
    other = add(tmp_path, TINY, seed=1).hash
    (tmp_path / other / "weights.safetensors").write_bytes(b"x")
    (reason,) = told(tmp_path, lambda: use(tmp_path, "current", other))
    assert "weights.safetensors" in reason


def test_whatever_torch_raises_of_the_new_model_the_present_one_is_played_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = add(tmp_path, TINY, seed=1).hash

    def change() -> None:
        use(tmp_path, "current", other)
        monkeypatch.setattr(torch, "set_num_threads", _fails)

    (reason,) = told(tmp_path, change)
    assert reason == "the model current does not run here: RuntimeError: out of memory"


def _fails(_threads: int) -> None:
    raise RuntimeError("out of memory")


def test_what_is_trained_for_the_model_meanwhile_is_gone_over_to(tmp_path: Path) -> None:
    bottleneck, exits = trained_for(TINY, tmp_path / "trained")
    models = tmp_path / "models"
    hash_ = add(models, TINY).hash
    use(models, "current", hash_)
    given = settings_of(models)
    playing = load_compute(given)
    name = load_bottleneck(bottleneck).name

    async def main() -> list[Plan]:
        found = []
        present: Compute = playing
        for change in ({"bottlenecks": (bottleneck,)}, {"exits": exits}):
            watching = asyncio.create_task(next_compute(given, present))
            await asyncio.sleep(0.1)
            assert not watching.done()
            await asyncio.to_thread(add, models, TINY, **change)
            async with asyncio.timeout(60.0):
                present = await watching
            found.append(present.plan)
        return found

    first, second = asyncio.run(main())
    assert {first.model, second.model} == {hash_}
    assert [(arm.cut, arm.codec) for arm in first.arms if arm.codec == name] == [(1, name)]
    assert first.schema != playing.plan.schema
    assert (len(first.exits), len(second.exits)) == (0, 1)
    assert second.schema == first.schema


def test_exits_of_the_folder_do_not_go_with_a_policy_that_times_whole_heads(tmp_path: Path) -> None:
    _, exits = trained_for(TINY, tmp_path / "trained")
    models = tmp_path / "models"
    use(models, "current", add(models, TINY, exits=exits).hash)
    with pytest.raises(ConfigurationError, match="leave ans out"):
        load_compute(replace(settings_of(models), policy="ans"))


def test_weights_beside_a_model_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has its own weights"):
        DeviceSettings(
            id="cam-1", type="pi4", broker=BrokerAddress(), models_dir=tmp_path, weights=tmp_path / "w.pt"
        )
