"""Uploads of devices whose true costs are known."""

from typing import Any

import numpy as np

from bus.messages import StatisticsUpload
from bus.statistics import pack_symmetric
from bus.tensors import buffer_of
from tests.support.samples import INSTALL, MODEL, SCHEMA


def upload(device: str, seq: int, scale: float = 1.0, **changes: Any) -> StatisticsUpload:
    """Return 20 rows of a device whose costs are `scale` times those of its type."""
    random = np.random.default_rng([sum(device.encode()), seq])
    rows = random.uniform(0.0, 1.0, (20, 2))
    y = scale * (rows @ np.array([0.1, 0.05]) + 0.002 * random.standard_normal(20))
    fields: dict[str, Any] = {
        "device": device,
        "type": "pi4",
        "model": MODEL,
        "schema": SCHEMA,
        "install": INSTALL,
        "boot": 1,
        "seq": seq,
        "phase": "online",
        "dimension": 2,
        "gram": pack_symmetric(rows.T @ rows),
        "moment": buffer_of(y @ rows),
        "count": 20,
        "sum_squares": float(y @ y),
        "common": "11",
    }
    return StatisticsUpload(**(fields | changes))
