"""What the command `cans broker` does: run a broker until it is told to stop."""

import asyncio

from bus.errors import ConfigurationError
from cans.broker.process import BrokerProcess, BrokerSettings, to_stderr

__all__ = ["LOST_WITHOUT_MOSQUITTO", "BrokerProcess", "BrokerSettings", "run_broker"]

LOST_WITHOUT_MOSQUITTO = (
    "mosquitto is not installed, so this is amqtt: no MQTT 5 (no expiry, no refused publish, no "
    "back-pressure), no queue limits, no persistence, no secure configuration"
)


async def run_broker(settings: BrokerSettings) -> None:
    """Run a broker until cancelled; say where it is, and what is missing.

    Raises:
        ConfigurationError: it cannot start, or ended by itself.
    """
    async with BrokerProcess(settings) as broker:
        if broker.engine == "amqtt" and settings.engine == "auto":
            to_stderr(f"broker: {LOST_WITHOUT_MOSQUITTO}")
        if settings.config == "dev" and broker.address.host != settings.host:
            to_stderr(
                f"broker: {settings.host} lets everybody in who can reach it; on a network that is not yours "
                "alone use --mode secure"
            )
        where = f"state in {broker.state_dir}" if settings.state_dir else "state is not kept"
        to_stderr(
            f"broker: {broker.engine} ({settings.config}) at {broker.address.url}, pid {broker.pid}; {where}"
        )
        following = (
            asyncio.create_task(broker.follow(), name="broker follows") if settings.config != "dev" else None
        )
        try:
            code = await broker.wait()
        finally:
            if following is not None:
                following.cancel()
        raise ConfigurationError(f"the broker ended by itself with code {code}: see its last lines above")
