"""A link's rate that follows a trace: one rate a second, which the kernel is told as each second begins."""

import asyncio
from collections.abc import Sequence

from lab.namespaces.shaper import Shaper


class Playing:
    """Lets one shaper follow one trace at a time."""

    def __init__(self, shaper: Shaper) -> None:
        self._shaper = shaper
        self._task: asyncio.Task[None] | None = None

    async def play(self, mbit_s: Sequence[float], at_s: float) -> None:
        """Follow a trace from a moment of it on; it begins again at its end, and an empty one ends it."""
        await self.stop()
        if mbit_s:
            began = asyncio.get_running_loop().time() - at_s
            await self._shaper.change(mbit_s[int(at_s) % len(mbit_s)])
            self._task = asyncio.create_task(self._follow(list(mbit_s), began, int(at_s)), name="trace")

    async def stop(self) -> None:
        """Stay at the rate that there is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            task, self._task = self._task, None
            if not task.cancelled():
                task.result()  # it has failed before

    async def _follow(self, mbit_s: list[float], began: float, second: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            second += 1
            await asyncio.sleep(began + second - loop.time())
            await self._shaper.change(mbit_s[second % len(mbit_s)])
