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
from partition.models.folder import resolve

_log = structlog.get_logger("device")


async def next_compute(settings: DeviceSettings, playing: Compute) -> Compute:
    """Return the model that the device's name stands for, once that is another one and it is warm.

    What keeps a model from being played is said once; the present one is played on.

    Args:
        settings: with a model folder.
        playing: with the present model.
    """
    told = ""
    tried = playing.plan.model
    while True:
        await asyncio.sleep(settings.poll_s)
        try:
            model = await asyncio.to_thread(_named, settings)
            if model in {playing.plan.model, tried}:
                tried = model
                continue
            tried = model  # one that cannot be loaded is not tried again, until the name has moved
            _log.info("model_changes", device=settings.id, model=model)
            return await asyncio.to_thread(_load, settings, playing)
        except ConfigurationError as error:
            if str(error) != told:
                told = str(error)
                _log.warning("model_not_changed", device=settings.id, reason=told)


def _named(settings: DeviceSettings) -> str:
    assert settings.models_dir is not None
    return resolve(settings.models_dir, settings.model)


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
