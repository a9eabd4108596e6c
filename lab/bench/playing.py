"""What each policy costs a device for each frame, on a real network's arms; and ours with its session."""

import statistics
from collections.abc import Iterator
from itertools import islice
from time import perf_counter

import msgspec
import numpy as np

from bandits.settings import PRACTICE
from bus.messages import Columns, InferenceReply, State
from device import commands as do
from device import events as ev
from device.limits import Limits
from device.plan import Identity, Plan, PlanArm
from device.policies import build_policy
from device.policy_names import LEARNER
from device.session import DeviceSession
from lab.bench.rows import Row
from lab.network_table import load_table
from lab.simulator import spec
from lab.simulator.jobs import make_world
from lab.simulator.spec.presets import PRESETS, TUNED
from lab.simulator.teams import team_of
from lab.simulator.world import Turn

LIMIT_US = 300.0
_POLICIES = (
    "default", "linucb", "fedlinucb_dw", "neurosurgeon", "ans", "two_arm", "lin_ts", "epsilon_greedy",
    "discounted", "windowed", "detector", "device_only",
)  # fmt: skip
_WARM = 100
_MODEL = "0123456789abcdef"
_SITE = spec.Site(
    fps=2.0, types=(spec.DeviceType(name="phone", slowness=4.0, link=spec.Lte(outages_per_hour=0.0)),)
)


def run(*, quick: bool) -> Iterator[Row]:
    """Measure each policy on the same frames, and the whole of a device's part but its network and I/O."""
    frames = _WARM + (100 if quick else 2000)
    for name in _POLICIES:
        times_us = _policy_us(name, frames)
        yield Row(f"select + update, {name}: p50", statistics.median(times_us), "us")
    times_us = _session_us(frames)
    yield Row("frame of default with its session: p50", statistics.median(times_us), "us")
    yield Row("frame of default with its session: p95", float(np.percentile(times_us, 95)), "us", LIMIT_US)


def _turns(frames: int) -> Iterator[Turn]:
    site = msgspec.structs.replace(_SITE, frames=frames)
    return islice(make_world(site, 0).turns(), frames)


def _policy_us(name: str, frames: int) -> list[float]:
    """Return the microseconds that a policy took for each frame after the first."""
    world = make_world(msgspec.structs.replace(_SITE, frames=frames), 0)
    settings = {"learner": name} | TUNED.get(name, {}) | PRESETS.get(name, {})
    team = team_of(msgspec.convert(settings, spec.Learner), world, 0)
    times_us = []
    for turn in world.turns():
        before = perf_counter()
        arm = team.select(turn)
        cost = turn.cost_of(arm)
        team.update(turn, arm, cost)
        times_us.append(1e6 * (perf_counter() - before))
    return times_us[_WARM:]


def plan() -> Plan:
    """Return the plan of a real network, from its table."""
    table = load_table("mobilenet_v2")
    arms = tuple(PlanArm(*_cut_and_codec(label)) for label in table.arms)
    return Plan(
        model=_MODEL,
        schema=_MODEL,
        arms=arms,
        contexts=table.matrix(),
        front=table.front,
        device_arm=table.arms.index("end/none"),
        link=table.columns.index("link.bits"),
        columns=Columns(names=table.columns, input_elements=224 * 224 * 3),
    ).with_measured_link()


def _cut_and_codec(label: str) -> tuple[int, str]:
    cut, _, codec = label.partition("/")
    return (99 if cut == "end" else int(cut)), codec


def _session_us(frames: int) -> list[float]:
    """Return the microseconds that session and learner took for each frame after the first."""
    made = plan()
    policy = build_policy(LEARNER, made, PRACTICE, boot=1)
    identity = Identity("cam-1", "phone", _MODEL, 1)
    session = DeviceSession(identity, made, (policy,), draw=lambda: 0.0, limits=Limits())
    edge = State(role="edge", id="edge-1", state="ready", boot=1, version="1", models=_MODEL)
    for event in (ev.Started(), ev.LinkCameUp("control"), ev.LinkCameUp("data"), ev.EdgeAnnounced(edge)):
        session.handle(event, 0.0)
    return [_frame_us(session, made, turn) for turn in _turns(frames)][_WARM:]


def _frame_us(session: DeviceSession, made: Plan, turn: Turn) -> float:
    """Play one frame through a session; only what the session takes is counted."""
    spent = 0.0

    def handle(event: ev.Event, now: float) -> list[do.Command]:
        nonlocal spent
        before = perf_counter()
        commands = session.handle(event, now)
        spent += perf_counter() - before
        return commands

    now = turn.at_s
    commands = handle(ev.FrameCaptured(None), now)
    (run_head,) = (each for each in commands if isinstance(each, do.RunHead))
    cost = turn.cost_of(run_head.arm)
    head_s = cost.device_s or 0.0
    alone = run_head.arm == made.device_arm
    head = ev.Head(
        b"" if alone else b"x", "uint8", (1,), 1e3 * head_s, 0.0, None, (1, 0.5) if alone else None
    )
    commands += handle(ev.HeadFinished(run_head.turn, head), now + head_s)
    for each in commands:
        if isinstance(each, do.SendRequest):
            edge_s = max(0.0, cost.total_s - head_s - (cost.link_s or 0.0))
            reply = InferenceReply(
                id=each.request.id, edge="edge-1", top=1, confidence=0.5, dtype="float32", shape=(1, 1),
                payload=memoryview(b"0000"), queue_ms=0.0, decode_ms=0.0, tail_ms=1e3 * edge_s, load=0.0,
            )  # fmt: skip
            commands += handle(ev.ReplyArrived(reply), now + cost.total_s)
    for each in commands:
        if isinstance(each, do.SaveSnapshot):
            handle(ev.SnapshotSaved(each.number), now + cost.total_s)
        if isinstance(each, do.PublishFeedback) and each.check:
            handle(ev.LinkChecked(each.check, 0.05), now + cost.total_s + 0.05)
    return 1e6 * spent
