"""What `cans partition` finds, for programs: docs/schemas/partition.json describes it. Pure."""

import json
import math
from typing import Any

import msgspec

from bus.payload_limit import payload_limit_bytes
from cans.partition_rows import ArmRow, rows_of, seeded
from cans.partition_view import Found, PartitionSettings
from partition.graphs.graph import TensorSpec
from partition.measured import Measured

VERSION = 2
"""Version 1 had no `measured`."""


def as_json(settings: PartitionSettings, found: Found) -> str:
    """Return one JSON object."""
    seen = found.survey
    said = {
        "version": VERSION,
        "model": settings.model,
        "weights": found.weights_label,
        "traced": seen.how,
        "nodes": seen.nodes,
        "parameters": seen.parameters,
        "inputs": [_spec(tensor) for tensor in seen.inputs],
        "outputs": [_spec(tensor) for tensor in seen.outputs],
        "macs": seen.macs,
        "macs_by_torch": seen.macs_by_torch,
        "exact": seen.exact,
        "refused": {str(batch): reason for batch, reason in seen.refused.items()},
        "operators": [{"name": row.name, "calls": row.calls, "macs": row.macs} for row in seen.operators],
        "cuts": [
            {
                "cut": cut.index,
                "after": cut.after,
                "tensors": [_spec(tensor) for tensor in cut.tensors],
                "bytes": cut.nbytes,
                "macs_before": cut.macs,
                "useful": cut.useful,
                "exact": {str(batch): same for batch, same in cut.exact.items()},
            }
            for cut in seen.cuts
        ],
    }
    if found.measured is not None:
        said["measured"] = _measured(found.measured)
    return json.dumps(said, indent=2, allow_nan=False)


def _measured(measured: Measured) -> dict[str, Any]:
    profile, wanted, ranges, gain = measured.profile, measured.wanted, measured.pruned.ranges, measured.gain
    return {
        "model": measured.model,
        "seeded": seeded(profile.weights),
        "machine": msgspec.to_builtins(profile.machine),
        "torch": profile.conditions.torch,
        "warnings": list(profile.warnings),
        "frames": measured.frames,
        "images": None if wanted.images is None else str(wanted.images),
        "min_agreement": wanted.min_agreement,
        "payload_limit_bytes": payload_limit_bytes(wanted.packet_limit_bytes),
        "slowness": wanted.slowness,
        "tolerance": measured.pruned.tolerance,
        "mbit": [rate / 1e6 for rate in ranges.rate],
        "speedup": list(ranges.speedup),
        "wait_ms": [wait_s * 1e3 for wait_s in ranges.wait_s],
        "map_wait_ms": measured.map.wait_s * 1e3,
        "cuts": list(measured.cuts),
        "segments": [
            {
                "start": each.start,
                "stop": each.stop,
                "after": each.name,
                "median_ms": each.time.median_ms,
                "low_ms": each.time.low_ms,
                "high_ms": each.time.high_ms,
            }
            for each in profile.segments
        ],
        "arms": [_arm(row) for row in rows_of(measured)],
        "best": [
            {
                "speedup": speedup,
                "arm": measured.costs.labels[span.arm],
                "mbit": [span.low / 1e6, span.high / 1e6],
            }
            for speedup, spans in measured.spans
            for span in spans
        ],
        "middle": None
        if gain is None
        else {
            "share": gain.share,
            "largest": gain.largest,
            "arm": measured.costs.labels[gain.arm],
            "mbit": gain.rate / 1e6,
            "speedup": gain.speedup,
            "ms": gain.middle_s * 1e3,
            "end_ms": gain.end_s * 1e3,
        },
    }


def _arm(row: ArmRow) -> dict[str, Any]:
    return {
        "arm": row.arm.label,
        "cut": row.arm.cut,
        "after": row.after,
        "codec": row.arm.codec,
        "bytes": row.payload_bytes,
        "top1": row.top1,
        "cosine": row.cosine,
        # JSON has no infinity: null where the arm gave no answer to some frame.
        "max_error": row.max_error if math.isfinite(row.max_error) else None,
        "device_ms": row.device_ms,
        "edge_ms": row.edge_ms,
        "verdict": row.verdict,
        "why": row.why,
        "share": row.share,
        "dominated_by": list(row.rivals),
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"shape": list(spec.shape), "dtype": spec.dtype, "bytes": spec.nbytes}
