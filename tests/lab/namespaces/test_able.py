"""What a machine lacks is said with how to mend it."""

import os

import pytest

from bus.errors import ConfigurationError
from cans.testbed.netns import require_netns
from lab.namespaces.able import first_unmet, needs


def test_without_root_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    unmet = first_unmet()
    assert unmet is not None
    assert unmet.name == "root"
    assert {need.found for need in needs() if need.name.startswith("namespaces")} == {"not tried"}
    with pytest.raises(ConfigurationError, match=r"needs root .*run it as root.*--mode portable"):
        require_netns()


def test_everything_that_is_missing_can_be_mended() -> None:
    assert all(need.name and need.found and need.mend for need in needs())
