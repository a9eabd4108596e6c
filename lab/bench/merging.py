"""How many uploads a second one core of an aggregator merges: from bytes, validated."""

from collections.abc import Iterator
from time import perf_counter

import numpy as np

from aggregator.events import UploadArrived
from aggregator.keys import GroupKey
from aggregator.ledger import Ledger, Limits
from aggregator.receiving import receive
from bandits.federation import GuardSettings, Merged
from bus.messages import StatisticsUpload
from bus.statistics import pack_symmetric
from bus.tensors import buffer_of
from bus.topics import STATS
from bus.wire import encode
from lab.bench.rows import Row

LIMIT_PER_S = 5000.0
_DIMENSION = 15
_DEVICES = 100
_HASH = "0123456789abcdef"


def run(*, quick: bool) -> Iterator[Row]:
    """Measure, with every upload new: none is a duplicate that costs less."""
    uploads = _uploads(2000 if quick else 20_000)
    name = f"statistics merged, d = {_DIMENSION}, decoded and validated"
    yield Row(name, len(uploads) / _merge_s(uploads, None), "1/s", LIMIT_PER_S, "least")
    # A group of a hundred, whoever uploads and one other judged each time.
    yield Row(f"{name}, guarded", len(uploads) / _merge_s(uploads, GuardSettings()), "1/s")
    pending = _uploads(1000)
    for label, guard in (("", None), (", guarded", GuardSettings())):
        yield Row(f"1000 pending uploads merged{label}", 1e3 * _merge_s(pending, guard), "ms")


def _merge_s(uploads: list[tuple[str, bytes]], guard: GuardSettings | None) -> float:
    """Return the seconds in which a new aggregator has taken all of them in."""
    ledger = Ledger(_HASH, Limits(guard=guard))
    key = GroupKey("phone", _HASH, _HASH, _DIMENSION)
    start = perf_counter()
    for device, payload in uploads:
        event = receive(device, "phone", payload)
        assert isinstance(event, UploadArrived)
        assert isinstance(ledger.merge(key, event.upload), Merged)
    return perf_counter() - start


def _uploads(count: int) -> list[tuple[str, bytes]]:
    """As many distinct uploads of ten honest rows each, from a hundred devices."""
    generator = np.random.default_rng(3)
    made: list[tuple[str, bytes]] = []
    for number in range(count):
        rows = generator.uniform(0.0, 1.0, (10, _DIMENSION))
        costs = generator.uniform(0.01, 0.3, 10)
        device = f"dev-{number % _DEVICES}"
        upload = StatisticsUpload(
            device=device,
            type="phone",
            model=_HASH,
            schema=_HASH,
            install=_HASH,
            boot=1,
            seq=number // _DEVICES + 1,
            phase="online",
            dimension=_DIMENSION,
            common="1" * _DIMENSION,
            gram=pack_symmetric(rows.T @ rows),
            moment=buffer_of(rows.T @ costs),
            count=10,
            sum_squares=float(costs @ costs),
        )
        made.append((device, encode(STATS, upload)))
    return made
