"""A small plan, and sessions over it, for tests of the device."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bandits.settings import Settings
from bus import messages as m
from device.events import Head
from device.limits import Limits
from device.plan import Identity, Plan, PlanArm
from device.policies import build_policy
from device.session import DeviceSession

MODEL, SCHEMA, INSTALL, ORIGIN = (
    "00112233445566aa",
    "aabbccddeeff0011",
    "1111222233334444",
    "5555666677778888",
)
PLAN = Plan(
    model=MODEL,
    schema=SCHEMA,
    arms=(PlanArm(0, "jpeg"), PlanArm(1, "int8-zstd"), PlanArm(2, "none")),
    contexts=np.array([[0.0, 1.0, 0.5, 1.0], [0.4, 0.6, 0.3, 1.0], [1.0, 0.0, 0.0, 0.0]]),
    front=(True, False, False, False),
    device_arm=2,
    link=2,
)
MEASURED_PLAN = replace(
    PLAN, columns=m.Columns(names=("front", "back", "link.bits", "offload"), input_elements=150_528)
).with_measured_link()
HEEDING = Settings(link="measured", link_checks=True)
"""A learner that wants to know how its link does; it needs `MEASURED_PLAN`."""
LOCAL_HEAD = Head(b"", "float32", (1, 10), 30.0, 0.0, top=(4, 0.5))
REMOTE_HEAD = Head(b"jpeg", "uint8", (2, 2, 3), 1.0, 2.0, kept="kept")
LIMITS = Limits(deadline_ms=1000.0, fallback_at=0.5, wait_edge_s=1.0, save_every_s=5.0)


def session(
    *names: str,
    boot: int = 1,
    limits: Limits = LIMITS,
    frames: int | None = None,
    warm_start: int = 0,
    restored: dict[str, Any] | None = None,
    plan: Plan = PLAN,
    learner: Settings | None = None,
    exit_s: Sequence[float] = (),
) -> DeviceSession:
    identity = Identity("cam-1", "pi4", INSTALL, boot)
    policies = tuple(build_policy(name, plan, learner or Settings(), boot=boot) for name in names)
    return DeviceSession(
        identity,
        plan,
        policies,
        draw=lambda: 0.0,
        limits=limits,
        frames=frames,
        warm_start=warm_start,
        restored=restored,
        exit_s=exit_s,
    )


def edge_state(
    *, boot: int = 1, state: m.NodeState = "ready", edge: str = "edge-1", models: str = MODEL
) -> m.State:
    return m.State(role="edge", id=edge, state=state, boot=boot, version="0", models=models)


def reply(request_id: str, edge: str = "edge-1") -> m.InferenceReply:
    return m.InferenceReply(
        id=request_id,
        edge=edge,
        top=7,
        confidence=0.9,
        dtype="float32",
        shape=(10,),
        payload=memoryview(bytes(40)),
        queue_ms=1.0,
        decode_ms=2.0,
        tail_ms=3.0,
        load=1.0,
    )
