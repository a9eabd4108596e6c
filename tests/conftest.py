"""How hypothesis draws, and in which order tests run.

The same examples in every run, so that red is red again and coverage stands still.

`CANS_EXPLORE=1` draws new ones each time; what it finds becomes an `@example`.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1000)
settings.load_profile("explore" if os.environ.get("CANS_EXPLORE") == "1" else "same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with real processes first: they take longest, and short ones fill the gaps at the end."""
    slow = {item.path for item in items if item.get_closest_marker("system") is not None}
    items.sort(key=lambda item: item.path not in slow)
