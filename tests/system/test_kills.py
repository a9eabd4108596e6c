"""kill -9 of anybody in mid-run: every frame is answered or rejected, statistics are merged exactly once.

Each test starts a whole site as processes, on mosquitto, by the command lines of the README.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import need_mosquitto
from tests.support.site import Site, site

pytestmark = pytest.mark.system


def _playing(here: Site) -> None:
    """Start everybody and wait until frames are answered by the edge worker."""
    need_mosquitto()
    here.broker()
    here.aggregator()
    here.edge()
    here.watch()
    here.device()
    here.until(lambda: here.feedback("edge") >= 10, "the edge worker answers")


def _ends_well(here: Site) -> dict[str, Any]:
    """Stop the device, which hands in what it has; check its books; return them."""
    assert here.end("cam-1") == 0
    summary = here.summary()
    for name, played in summary["policies"].items():
        assert played["sent"] == sum(played["answered"].values()) + sum(played["rejected"].values()), name
    assert summary["statistics_sent"] == summary["statistics_merged"] > 0
    assert summary["statistics_refused"] == 0
    assert "Traceback" not in here.log("cam-1")
    return summary


def _rows_uploaded(here: Site) -> int:
    """Rows of all distinct uploads that went over the bus, however often each was repeated."""
    uploads = {(each["install"], each["boot"], each["seq"]): each["count"] for each in here.heard("stats/")}
    return sum(uploads.values())


def _group_rows(here: Site) -> int:
    """Rows in the group, as it was broadcast last."""
    groups = here.heard("groups/")
    return int(groups[-1]["count"]) if groups else 0


def test_the_edge_worker_is_killed_and_comes_back(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _playing(here)
        here.kill("edge")
        so_far = here.feedback()
        here.until(lambda: here.feedback("device", so_far) >= 10, "the device goes on alone")
        here.again("edge")
        so_far = here.feedback()
        here.until(lambda: here.feedback("edge", so_far) >= 10, "the edge worker answers again")
        _ends_well(here)
        here.until(lambda: _group_rows(here) == _rows_uploaded(here), "each upload is in the group once")


def test_the_aggregator_is_killed_and_comes_back(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _playing(here)
        here.until(lambda: _group_rows(here) > 0, "something is merged")
        here.kill("aggregator")
        so_far = here.feedback()
        here.until(lambda: here.feedback("edge", so_far) >= 20, "frames are answered all the same")
        here.again("aggregator")
        summary = _ends_well(here)
        assert summary["policies"]["edge_only_jpeg"]["answered"]["edge"] > 0
        here.until(lambda: _group_rows(here) == _rows_uploaded(here), "each upload is in the group once")


def test_the_device_is_killed_and_goes_on_with_what_it_had_learnt(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _playing(here)
        here.until(lambda: _group_rows(here) > 0, "something is merged")
        here.kill("cam-1")
        so_far = here.feedback()
        here.again("cam-1")
        here.until(lambda: here.feedback("edge", so_far) >= 10, "the device is back")
        _ends_well(here)
        boots = {(each["install"], each["boot"]) for each in here.heard("stats/")}
        assert len({install for install, _ in boots}) == 1
        # Its warm start was taken once in its life, not again.
        assert sum(each["phase"] == "offline" for each in _distinct(here)) == 1
        here.until(lambda: _group_rows(here) == _rows_uploaded(here), "each upload is in the group once")


def _distinct(here: Site) -> list[dict[str, Any]]:
    return list({(each["boot"], each["seq"]): each for each in here.heard("stats/")}.values())


def test_the_broker_is_killed_and_everybody_comes_back(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        _playing(here)
        here.kill_broker()
        here.again("broker")
        so_far = here.feedback()
        here.until(lambda: here.feedback("edge", so_far) >= 20, "everybody is connected again")
        summary = _ends_well(here)

        def merged() -> bool:
            said = here.heard("metrics/aggregator/")
            return bool(said) and said[-1]["merged"] == summary["statistics_merged"]

        # The aggregator lived through it, so its counter is the whole story.
        here.until(merged, "the aggregator has merged each upload once")
        for name in ("edge", "aggregator"):
            assert here.processes[name].poll() is None
            assert "Traceback" not in here.log(name)
