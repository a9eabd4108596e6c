"""How many recorded frames a second can be asked what another policy would have cost."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np

from bandits.settings import Settings
from lab.bench.rows import Row
from lab.whatif.coverage import logged
from lab.whatif.estimate import what_if
from lab.whatif.logged import Log
from lab.whatif.model import predictions
from lab.whatif.targets import chosen_by

_FRAMES, _ASKED = 2_000, 100_000
_LEAST = 50_000.0
_POLICIES = ("device_only", "fixed:0/jpeg95", "fixed:7/float32")


def run(*, quick: bool) -> Iterator[Row]:
    """Ask for three policies that play one arm each, of frames that are in memory."""
    log, _ = logged("LTE with outages", _FRAMES, 0.2, 1)
    log = _repeated(log, (_ASKED // 10 if quick else _ASKED) // _FRAMES)
    began = perf_counter()
    predicted = predictions(log)
    for policy in _POLICIES:
        what_if(log, chosen_by(policy, log, predicted, None, Settings()), predicted)
    took_s = perf_counter() - began
    name = f"evaluate: frames of {len(log.labels)} arms under {len(_POLICIES)} policies"
    yield Row(name, len(log) * len(_POLICIES) / took_s, "1/s", _LEAST, "least")


def _repeated(log: Log, times: int) -> Log:
    """Return a longer log, for what it takes alone."""
    whole: dict[str, Any] = {
        name: np.tile(getattr(log, name), times)
        if isinstance(getattr(log, name), np.ndarray)
        else getattr(log, name)
        for name in Log.__slots__
    }
    return Log(**(whole | {"cuts": log.cuts}))
