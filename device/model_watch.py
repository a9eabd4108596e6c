"""Looks into the model folder for the model that a device should play next.

Everything here blocks, and is called in a worker thread that is not the one of heads: the next model is
loaded and warmed while frames are played with the present one.
"""

import asyncio

import structlog

from bus.errors import ConfigurationError
from device.ban_reasons import reasons
from device.compute import Compute, load_compute
from device.settings import DeviceSettings
from partition.models.folder import read, resolve

_log = structlog.get_logger("device")


async def next_compute(settings: DeviceSettings, playing: Compute) -> Compute:
    """Return the model that the device's name stands for, once that is another one and it is warm.

    The same model with other bottlenecks or exits is another one too.

    What keeps a model from being played is said once; the present one is played on.

    Args:
        settings: with a model folder.
        playing: with the present model.
    """
    told = ""
    present = (playing.plan.model, playing.plan.trained)
    tried = present
    while True:
        await asyncio.sleep(settings.poll_s)
        try:
            found = await asyncio.to_thread(_named, settings)
            if found in {present, tried}:
                tried = found
                continue
            tried = found  # one that cannot be loaded is not tried again, until the name has moved
            _log.info("model_changes", device=settings.id, model=found[0], trained=len(found[1]))
            return await asyncio.to_thread(_load, settings, playing)
        except ConfigurationError as error:
            if str(error) != told:
                told = str(error)
                _log.warning("model_not_changed", device=settings.id, reason=told)


def _named(settings: DeviceSettings) -> tuple[str, tuple[str, ...]]:
    """Return the model's hash, and the SHA-256 of what was trained for it."""
    assert settings.models_dir is not None
    model = resolve(settings.models_dir, settings.model)
    return model, read(settings.models_dir, model).trained_sha256


def _load(settings: DeviceSettings, playing: Compute) -> Compute:
    """Load and warm what the name stands for.

    Raises:
        ConfigurationError: it cannot be loaded, takes frames of another size, or lacks an arm of --ban.
    """
    try:
        compute = load_compute(settings)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - a person's module raises anything; the present one is played on
        raise ConfigurationError(
            f"the model {settings.model} does not run here: {type(error).__name__}: {error}"
        ) from None
    # A label that the new model lacks is told while there is an old one.
    reasons(compute.plan, labels=settings.ban)
    if compute.input_size != playing.input_size:
        raise ConfigurationError(
            f"{compute.label} takes frames of {compute.input_size}, not {playing.input_size}: "
            "restart the device"
        )
    return compute
