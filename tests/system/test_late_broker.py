"""Everybody is up before the broker, as after a power cut: they wait, and then work."""

from pathlib import Path

import pytest

from tests.support.broker import need_mosquitto
from tests.support.site import Site, site

pytestmark = pytest.mark.system


def _waits(here: Site, name: str) -> bool:
    return "nobody listens at" in here.log(name)


def test_roles_told_to_wait_for_the_broker_start_before_it(tmp_path: Path) -> None:
    need_mosquitto()
    with site(tmp_path) as here:
        bus = ("--broker", here.url, "--wait-for-broker")
        here.start("aggregator", "aggregator", "--state-dir", "aggregator-state", *bus)
        here.start("edge", "edge", *bus)
        here.device("cam-1", "--wait-for-broker")
        here.until(lambda: all(_waits(here, name) for name in here.processes), "all have tried in vain")
        here.broker()
        here.watch()
        here.until(lambda: here.feedback("edge") >= 5, "the edge worker answers")
        assert here.end("cam-1") == 0
        summary = here.summary()
        assert summary["statistics_sent"] == summary["statistics_merged"] > 0
