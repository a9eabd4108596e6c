"""All three roles' sessions together, in simulated time, while everything that can fail does.

A failing seed is the bug report: `SimulatedSite(seed).run()` fails again in the same way.
"""

import os
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits

from tests.support.simulated_site import SimulatedSite

# What a seed must have met, or it has proved little.
MET = (
    *("device killed", "edge killed", "aggregator killed"),
    *("device asked to stop", "edge asked to stop", "aggregator asked to stop"),
    *("broker restarted", "link cut", "disk fails", "disk works", "upload repeated"),
    *("answered by device", "answered by edge", "answered by fallback"),
    *("rejected: dropped", "rejected: no memory", "rejected: stopping"),
)

# Of these each meets all that can happen (2 rejects no frame for a newer one). Each takes a second under
# coverage; `CANS_EXPLORE=1` plays many more, as it does for hypothesis.
SEEDS = range(3, 400 if os.environ.get("CANS_EXPLORE") else 19)


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    """As in a role's process (`cans/running.py`): a second one only spins here."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.mark.parametrize("seed", SEEDS)
def test_each_frame_ends_once_and_each_upload_counts_once_whatever_fails(seed: int) -> None:
    site = SimulatedSite(seed)
    try:
        site.run()
    except Exception as error:
        raise AssertionError(f"seed {seed}, {site.world.now:.6f} s: {error!r}") from error
    missing = [what for what in MET if not site.world.met[what]]
    assert not missing, f"seed {seed} never met {missing}"
