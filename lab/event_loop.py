"""Which event loop a process runs: uvloop where there is one, its timers and writes cost less."""

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop, as `asyncio.Runner(loop_factory=...)` takes it."""
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
