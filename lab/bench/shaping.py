"""Emulated links against their setting, the shaping proxy and the kernel's token bucket side by side."""

import asyncio
import sys
from collections.abc import Iterator

from lab.bench.rows import Row
from lab.namespaces.able import first_unmet
from lab.shaping import MOST_OFF, Lay, after_rest_ms, by_kernel, by_proxy, goodput_mbit, waits_ms

RATES_MBIT = (1.0, 5.0, 20.0)
# A link check over a link that is as good as gone.
_POOR_MBIT, _CHECK_BYTES = 0.05, 1900


def run(*, quick: bool) -> Iterator[Row]:
    """Measure every rate on every kind of link that can be had."""
    seconds = 2.0 if quick else 6.0
    ways: dict[str, Lay] = {"proxy": by_proxy}
    unmet = first_unmet()
    if unmet is None:
        ways["tbf"] = by_kernel
    else:
        print(f"bench: no rows of tbf: that needs {unmet.name} ({unmet.found})", file=sys.stderr)
    for rate in RATES_MBIT:
        for name, lay in ways.items():
            got = asyncio.run(goodput_mbit(lay, rate, seconds))
            off = 100.0 * abs(got / rate - 1.0)
            yield Row(f"{name} at {rate:g} Mbit/s: goodput off its setting", off, "%", 100.0 * MOST_OFF)
        for name, lay in ways.items():
            waited = asyncio.run(waits_ms(lay, rate))
            yield Row(f"{name} at {rate:g} Mbit/s: 64 B behind 256 KiB of another connection", waited, "ms")
    for name, lay in ways.items():
        took = asyncio.run(after_rest_ms(lay, _POOR_MBIT, _CHECK_BYTES))
        yield Row(f"{name} at {_POOR_MBIT:g} Mbit/s: {_CHECK_BYTES} B after a rest", took, "ms")
