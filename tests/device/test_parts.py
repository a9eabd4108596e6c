"""The device's pure parts, each for itself."""

import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from bandits.policy import Cost
from bandits.settings import Settings
from bus.address import BrokerAddress
from bus.connection import Delivery
from bus.errors import ConfigurationError, LocalProtocolError
from bus.messages import InferenceReply, Rejection
from bus.presence import Presence
from bus.snapshot import write_snapshot
from bus.topics import ACK, FEEDBACK, GROUPS, REPLY, STATE, Role, Topic, Topics
from bus.wire import decode, encode
from device import commands as c
from device import events as e
from device.choose_edge import choose_edge
from device.compute import Frame, LocalAnswer
from device.edges import LIMIT, REST_S, Edges
from device.events import ExitRow, Head
from device.frames import VideoFrames, open_source
from device.inbound import event_of
from device.limits import Limits
from device.patience import Patience
from device.plan import Plan
from device.policies import BUILDERS, build_policy, require_names
from device.policy_names import NAMES
from device.preparation import profile_heads, run_warm_start
from device.saver import RETRY_S, Saver
from device.settings import DeviceSettings, learner_of
from device.state_bytes import decode_state, encode_state
from device.storage import open_state, state_path
from device.voice import Voice, summarise
from tests.support.broker import run
from tests.support.device_parts import LOCAL_HEAD, MODEL, PLAN, edge_state, session
from tests.support.samples import SAMPLES

T = Topics()
ADDRESSES: dict[Topic, dict[str, str]] = {
    REPLY: {"device": "cam-1"},
    ACK: {"type": "pi4", "device": "cam-1"},
    GROUPS: {"type": "pi4", "model": MODEL},
    STATE: {"role": "edge", "id": "edge-1"},
}


# ---- bytes to events ---------------------------------------------------------------------------------


def received(topic: Topic, payload: bytes, **fields: str) -> e.Event | None:
    return event_of(T, Delivery(T.of(topic, **(ADDRESSES[topic] | fields)), payload))


def test_each_message_for_a_device_becomes_its_event() -> None:
    kinds = {
        "InferenceReply": e.ReplyArrived,
        "Rejection": e.RejectionArrived,
        "UploadAck": e.AckArrived,
        "UploadRefusal": e.RefusalArrived,
        "GroupParameters": e.GroupBroadcast,
        "State": e.EdgeAnnounced,
    }
    heard = set()
    for topic, message in SAMPLES:
        if topic in ADDRESSES:
            event = received(topic, encode(topic, message))
            assert type(event) is kinds[type(message).__name__]
            heard.add(type(message).__name__)
    assert heard == set(kinds)


def test_what_concerns_nobody_is_no_event() -> None:
    state = encode(STATE, edge_state())
    aggregator = state.replace(b'"role":"edge"', b'"role":"aggregator"')
    assert aggregator != state
    assert received(STATE, aggregator, role="aggregator") is None
    assert received(STATE, b"") is None  # a retained state that was deleted
    assert event_of(T, Delivery("somebody/else", b"x")) is None
    assert event_of(T, Delivery(T.of(FEEDBACK, type="pi4", device="cam-1"), b"{}")) is None


@pytest.mark.parametrize("topic", ADDRESSES)
def test_bytes_that_are_no_message_are_counted(topic: Topic) -> None:
    event = received(topic, b"\xc1")
    assert isinstance(event, e.BadMessageArrived)
    assert event.fault == "malformed"


def test_a_state_under_another_name_is_the_wrong_sender() -> None:
    event = received(STATE, encode(STATE, edge_state(edge="edge-2")))
    assert isinstance(event, e.BadMessageArrived)
    assert event.fault == "wrong_sender"


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"top": 2}, "malformed"), ({"confidence": 1.5}, "malformed"), ({"shape": (3,)}, "tensor")],
)
def test_a_reply_that_contradicts_itself_is_counted(change: dict[str, Any], fault: str) -> None:
    (good,) = (message for _, message in SAMPLES if isinstance(message, InferenceReply))
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    event = received(REPLY, encode(REPLY, InferenceReply(**(fields | change))))
    assert isinstance(event, e.BadMessageArrived)
    assert event.fault == fault


# ---- whom to ask -------------------------------------------------------------------------------------


def test_the_less_loaded_of_two_drawn_is_asked() -> None:
    assert choose_edge({}, lambda: 0.0) is None
    assert choose_edge({"a": 9.0}, lambda: 0.0) == "a"
    assert choose_edge({"a": 2.0, "b": 1.0}, lambda: 0.0) == "b"
    assert choose_edge({"a": 1.0, "b": 1.0}, lambda: 0.99) == "b"  # equal loads: the first drawn
    draws = iter((0.5, 0.0))
    assert choose_edge({"a": 3.0, "b": 2.0, "c": 0.0}, lambda: next(draws)) == "b"


def test_over_many_draws_the_most_loaded_is_never_asked_and_each_other_is() -> None:
    draw = Random(1).random
    asked = {choose_edge({"a": 5.0, "b": 1.0, "c": 2.0}, draw) for _ in range(200)}
    assert asked == {"b", "c"}


def test_a_stale_will_says_nothing_and_another_boot_has_forgotten() -> None:
    edges = Edges(MODEL, PLAN.asks, lambda: 0.0)
    assert not edges.announced(edge_state(boot=2))
    assert not edges.announced(edge_state(boot=1, state="lost"))
    assert edges.choose(0.0) == "edge-1"
    assert edges.announced(edge_state(boot=3))
    assert edges.announced(edge_state(boot=3, state="disconnected"))
    assert not edges.announced(edge_state(boot=3, state="disconnected"))
    assert edges.choose(0.0) is None


def test_only_our_model_counts_and_one_that_cannot_serve_rests() -> None:
    edges = Edges(MODEL, PLAN.asks, lambda: 0.0)
    edges.announced(edge_state(models="ffffffffffffffff"))
    assert not edges.any_ready(0.0)
    edges.announced(edge_state(models=f"ffffffffffffffff,{MODEL}"))
    edges.rest("edge-1", 1.0)
    edges.announced(edge_state())  # the same boot: the rest goes on
    assert not edges.any_ready(1.0 + REST_S / 2)
    assert edges.any_ready(1.0 + REST_S)
    edges.rest("edge-1", 10.0)
    edges.announced(edge_state(boot=2))
    assert edges.any_ready(10.0)
    edges.rest("edge-9", 10.0)
    edges.load_seen("edge-9", 1.0)
    assert edges.choose(10.0) == "edge-1"


def test_a_flood_of_edge_workers_is_bounded_and_the_gone_make_room() -> None:
    edges = Edges(MODEL, PLAN.asks, lambda: 0.0)
    for number in range(LIMIT + 5):
        edges.announced(edge_state(edge=f"edge-{number}"))
    newest = edge_state(edge="edge-new")
    edges.announced(newest)
    for number in range(LIMIT - 1):
        edges.announced(edge_state(edge=f"edge-{number}", state="lost"))
    assert edges.choose(0.0) == f"edge-{LIMIT - 1}"
    edges.announced(newest)
    edges.announced(edge_state(edge=f"edge-{LIMIT - 1}", state="lost"))
    assert edges.choose(0.0) == "edge-new"


def test_a_flood_of_strangers_fills_neither_memory_nor_the_log() -> None:
    edges = Edges(MODEL, PLAN.asks, lambda: 0.0)
    notes = []
    for number in range(LIMIT + 5):
        edges.announced(edge_state(edge=f"edge-{number}", models=""))
        notes += edges.news(playing=False)
    assert len(notes) == LIMIT
    assert "edge-0 serves another network (none, not" in str(notes[0])
    edges.announced(edge_state())
    (found,) = edges.news(playing=False)
    assert found.event == "edge_worker_found"


# ---- limits, settings, policies ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deadline_ms": 0.0}, "deadline of 0 ms"),
        ({"deadline_ms": float("nan")}, "deadline of nan"),
        ({"fallback_at": 0.0}, "part of the deadline"),
        ({"fallback_at": 1.1}, "part of the deadline"),
        ({"patience": -1.0}, "patience of -1"),
        ({"patience": float("inf")}, "patience of inf"),
        ({"frame_period_s": -1.0}, "cannot be negative"),
        ({"wait_edge_s": -1.0}, "cannot be negative"),
        ({"flush_s": -1.0}, "cannot be negative"),
        ({"resend_s": 0.0}, "must be positive"),
        ({"resend_s": 61.0}, "must be positive"),
        ({"save_every_s": 0.0}, "must be positive"),
    ],
)
def test_times_that_cannot_work_are_told(change: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Limits(**change)  # type: ignore[arg-type]


def test_patience_is_a_multiple_of_what_is_left_to_do_here_and_follows_a_device_that_throttles() -> None:
    patience = Patience(2.0)
    assert patience.wait_s(0.01) == float("inf")
    patience.played(0.1)
    assert patience.wait_s(0.04) == pytest.approx(2.0 * 0.06)
    assert patience.wait_s(0.2) == 0.0
    for _ in range(40):
        patience.played(0.3)
    assert patience.wait_s(0.04) == pytest.approx(2.0 * 0.26, rel=0.01)
    endless = Patience(0.0)
    endless.played(0.1)
    assert endless.wait_s(0.0) == float("inf")
    for times in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="is none"):
            Patience(times)


def settings_of(**changes: Any) -> DeviceSettings:
    fields: dict[str, Any] = {"id": "cam-1", "type": "pi4", "broker": BrokerAddress(), **changes}
    return DeviceSettings(**fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "Cam 1"}, "device id"),
        ({"type": "#"}, "device type"),
        ({"policy": "best"}, "there is no policy 'best': choose from fedlinucb_dw"),
        ({"compare": ("ans", "ans")}, "twice"),
        ({"policy": "ans", "compare": ("fedlinucb_dw",)}, "must be --policy"),
        ({"frames": 0}, "--frames 0"),
        ({"fps": -1.0}, "--fps -1"),
        ({"warm_start": -1}, "--warm-start -1"),
        ({"metrics_s": 0.0}, "between metrics"),
        ({"deadline_ms": 0.0}, "deadline"),
    ],
)
def test_settings_that_cannot_work_are_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings_of(**change)


def test_frames_a_second_become_a_period() -> None:
    assert settings_of(fps=25.0).limits.frame_period_s == 0.04
    assert settings_of().limits.frame_period_s == 0.0


def test_policies_by_name_play_the_arm_they_name() -> None:
    arms = (*PLAN.arms, replace(PLAN.arms[0], codec="uint8"), replace(PLAN.arms[0], codec="float32"))
    plan = Plan(
        PLAN.model, PLAN.schema, arms, np.vstack([PLAN.contexts, PLAN.contexts[:2]]), PLAN.front, 2, 2
    )
    played = {}
    for name in require_names(NAMES[0], NAMES[1:]):
        policy = build_policy(name, plan, Settings(), front_s=(0.1,) * 5, edge_s=(0.1,) * 5)
        assert policy.name == name
        played[name] = policy.select(plan.contexts)
        policy.update(played[name], Cost(0.5, 0.1))
    assert played["device_only"] == 2
    assert (played["edge_only_jpeg"], played["edge_only_uint8"], played["edge_only_float32"]) == (0, 3, 4)


def test_every_name_has_its_own_builder_and_an_unknown_one_falls_through_to_none() -> None:
    assert tuple(BUILDERS) == NAMES
    with pytest.raises(KeyError):
        build_policy("best", PLAN, Settings())


def test_any_arm_can_be_played_by_its_label() -> None:
    for index, label in enumerate([*(arm.label for arm in PLAN.arms[:2]), "end/none"]):
        (name,) = require_names(f"fixed:{label}", ())
        policy = build_policy(name, PLAN, Settings())
        assert (policy.name, policy.select(PLAN.contexts)) == (f"fixed:{label}", index)
    with pytest.raises(ConfigurationError, match="there is no arm '9/x' to be played: choose from"):
        build_policy("fixed:9/x", PLAN, Settings())
    banned = replace(PLAN, banned={"9/x": "loses too much"})
    with pytest.raises(ConfigurationError, match="the arm 9/x is banned: loses too much"):
        build_policy("fixed:9/x", banned, Settings())


def test_a_policy_without_its_arm_or_with_bad_numbers_is_told() -> None:
    with pytest.raises(ConfigurationError, match="add it to --codecs"):
        build_policy("edge_only_uint8", PLAN, Settings())
    with pytest.raises(ConfigurationError, match="the policy linucb cannot be set so"):
        build_policy("linucb", PLAN, Settings(regularisation=0.0, beta_s=0.1))
    with pytest.raises(ConfigurationError, match="the times of both"):
        build_policy("neurosurgeon", PLAN, Settings(), front_s=(0.1,) * 3)
    with pytest.raises(ConfigurationError, match="no context column"):
        build_policy("neurosurgeon", replace(PLAN, link=None), Settings())


def test_a_plan_whose_parts_do_not_fit_is_a_bug() -> None:
    for change in ({"arms": PLAN.arms[:2]}, {"front": (True,)}, {"device_arm": 3}):
        with pytest.raises(LocalProtocolError, match="do not fit"):
            replace(PLAN, **change)


# ---- what is on the disk -----------------------------------------------------------------------------


def test_a_state_comes_back_to_the_bit() -> None:
    state = {
        "array": np.array([[0.1, -0.0], [np.pi, 5e-324]]),
        "empty": np.zeros((0, 3)),
        "nested": [1, None, True, "text", {"f8": 1}, np.asfortranarray(np.arange(6.0).reshape(2, 3))],
    }
    back = decode_state(encode_state(state))
    assert back["array"].tobytes() == state["array"].tobytes()  # type: ignore[attr-defined]
    assert back["empty"].shape == (0, 3)
    assert back["nested"][:5] == [1, None, True, "text", {"f8": 1}]
    np.testing.assert_array_equal(back["nested"][5], np.arange(6.0).reshape(2, 3))
    back["array"][0, 0] = 1.0  # one's own to change


def test_what_is_no_state_is_refused() -> None:
    for strange in (np.zeros(2, np.float32), object()):
        with pytest.raises(TypeError, match="a state holds no"):
            encode_state({"x": strange})
    whole = encode_state({"x": np.zeros(2)})
    torn = whole[:-1], encode_state({"f8": [2], "le": b"1234"}), encode_state({"f8": 1, "le": 1})
    for payload in (b"", *torn):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            decode_state(payload)
    with pytest.raises(ConfigurationError, match="is not one"):
        decode_state(encode_state([1, 2]))  # type: ignore[arg-type]


def test_an_install_keeps_its_id_and_counts_its_starts(tmp_path: Path) -> None:
    path = state_path(tmp_path / "a" / "b", "cam-1", "pi4", PLAN)
    first, nothing = open_state(path, "cam-1", "pi4")
    assert (first.boot, nothing) == (1, None)
    run(write_snapshot(path, encode_state({"install": first.install, "boot": 4})))
    second, state = open_state(path, "cam-1", "pi4", emulated=True)
    assert (second.install, second.boot, second.emulated) == (first.install, 5, True)
    assert state is not None
    assert open_state(None, "cam-1", "pi4")[0].install != first.install
    assert state_path(tmp_path, "cam-1", "pi5", PLAN) != state_path(tmp_path, "cam-1", "pi4", PLAN)


def test_a_state_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "device.state"
    run(write_snapshot(path, encode_state({"install": "x"})))
    with pytest.raises(ConfigurationError, match=r"device\.state is no state of a device"):
        open_state(path, "cam-1", "pi4")
    with pytest.raises(ConfigurationError, match="cannot make the folder"):
        open_state(path / "below" / "it", "cam-1", "pi4")


# ---- snapshots ---------------------------------------------------------------------------------------


def test_one_snapshot_at_a_time_and_what_changes_meanwhile_goes_into_the_next() -> None:
    saver = Saver(lambda: b"state", 5.0)
    assert saver.settled
    assert saver.advance(0.0) == []
    saver.changed(1.0)
    saver.changed(2.0)
    assert (saver.due_at, saver.settled) == (6.0, False)
    assert saver.advance(5.9) == []
    assert saver.advance(6.0) == [c.SaveSnapshot(1, b"state")]
    saver.needed(6.1)
    assert (saver.due_at, saver.advance(7.0)) == (None, [])
    assert saver.saved(9) == saver.failed(9, "not ours", 7.0) == []
    assert saver.saved(1) == []
    assert (saver.durable, saver.advance(7.0)) == (1, [c.SaveSnapshot(2, b"state")])
    (note,) = saver.failed(2, "disk full", 8.0)
    assert isinstance(note, c.Note)
    assert note.fields == (("reason", "disk full"),)
    saver.needed(8.1)  # a full disk is not asked at once
    assert (saver.due_at, saver.settled, saver.failing) == (8.0 + RETRY_S, True, True)
    assert saver.advance(8.0 + RETRY_S) == [c.SaveSnapshot(3, b"state")]
    assert saver.failed(3, "disk full", 14.0) == []
    assert saver.advance(14.0 + RETRY_S) == [c.SaveSnapshot(4, b"state")]
    assert saver.saved(4) == [c.Note("info", "snapshots_work_again")]
    assert saver.saved(4) == saver.failed(4, "late", 20.0) == []
    assert (saver.durable, saver.settled) == (4, True)


# ---- preparation -------------------------------------------------------------------------------------


class Counting:
    """A compute whose times tell which run they are."""

    plan, exit_count, input_size, emulated, label = PLAN, 3, (8, 8), False, "counting"

    def __init__(self) -> None:
        self.exits: list[int] = []
        self.heads: list[int] = []

    def run_head(self, frame: Frame, arm: int, until: int | None = None) -> Head:
        assert frame.shape == (8, 8, 3)
        self.heads.append(arm)
        first = self.heads.count(arm) == 1
        return replace(LOCAL_HEAD, head_ms=100.0 if first else 10.0 * (arm + 1), encode_ms=5.0)

    def finish(self, kept: object, exit_index: int | None = None) -> LocalAnswer:
        raise AssertionError(kept)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRow:
        assert frame.shape == (8, 8, 3)
        self.exits.append(exit_index)
        return ExitRow((float(exit_index),), float(len(self.exits)))


def test_warm_start_runs_each_exit_once_cold_and_then_evenly() -> None:
    compute = Counting()
    rows = run_warm_start(compute, 7, seed=1)
    assert compute.exits[:3] == [0, 1, 2]
    assert [row.latency_s for row in rows] == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    runs = [compute.exits[3:].count(exit_index) for exit_index in range(3)]
    assert max(runs) - min(runs) <= 1


def test_the_profile_is_the_lesser_of_two_runs_of_each_arm() -> None:
    assert profile_heads(Counting(), seed=1) == pytest.approx((0.015, 0.025, 0.035))


# ---- frames ------------------------------------------------------------------------------------------


def test_a_camera_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(ConfigurationError, match="no-camera"):
        open_source(f"camera:{tmp_path}/no-camera", (8, 8))


def test_a_film_without_pictures_is_named(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        for packet in (*stream.encode(sound), *stream.encode()):
            film.mux(packet)
    with pytest.raises(ConfigurationError, match="holds no video"):
        open_source(str(path), (8, 8))


def test_without_pyav_a_video_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigurationError, match="pip install av"):
        VideoFrames(str(tmp_path / "film.mp4"), (8, 8))


# ---- what it says of itself --------------------------------------------------------------------------


def test_the_voice_says_init_then_ready_then_goodbye() -> None:
    presence = Presence(T, Role.DEVICE, "cam-1", 3, "0.1.0", type="pi4")
    voice = Voice(presence, settings_of(detail="on the roof"))
    ((topic, first),) = voice.announce()
    assert topic == T.of(STATE, role="device", id="cam-1")
    voice.ready, voice.model = True, MODEL
    ((_, second),) = voice.announce()
    ((_, last),) = voice.farewell()
    states = [decode(STATE, payload) for payload in (first, second, last)]
    assert [state.state for state in states] == ["init", "ready", "disconnected"]  # type: ignore[attr-defined]
    assert [state.models for state in states] == ["", MODEL, MODEL]  # type: ignore[attr-defined]
    assert {state.detail for state in states} == {"on the roof"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("main", ["fedlinucb_dw", "device_only"])
def test_the_summary_is_what_the_session_counted(main: str) -> None:
    made = session(main, "two_arm")
    made.handle(e.Started(), 0.0)
    made.handle(e.DeadlinePassed(), 2.0)
    made.handle(e.FrameCaptured("f0"), 2.0)
    made.handle(e.HeadFinished(1, LOCAL_HEAD), 2.1)
    made.handle(e.ComputeFailed(2, "no memory"), 2.2)
    summary = summarise(made, main, "tiny seeded:0")
    assert (summary.frames_sent, summary.frames_answered) == (1, 1)
    assert summary.answered_by == {"device": 1, "edge": 0, "fallback": 0}
    assert summary.policies["two_arm"].rejected == {"compute_failed": 1}
    assert summary.policies["two_arm"].total_ms == ()
    assert summary.policies[main].total_ms == pytest.approx((100.0,))
    sent = int(main == "fedlinucb_dw")  # the first row of all makes an upload due
    assert (summary.statistics_sent, summary.statistics_merged, summary.statistics_refused) == (sent, 0, 0)
    assert ("uploads_sent" in summary.metrics) == (main == "fedlinucb_dw")
    assert summary.label == "tiny seeded:0"


def test_rejections_carry_the_reason_the_edge_gave() -> None:
    (sample,) = (message for _, message in SAMPLES if isinstance(message, Rejection))
    event = received(REPLY, encode(REPLY, sample))
    assert event == e.RejectionArrived(sample)


def test_the_learners_switches_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigurationError, match="it needs link 'learned'"):
        learner_of(alpha=0.5, beta_s=None, regularisation=0.2, view="strict", feedback="total")
    made = learner_of(
        alpha=0.5, beta_s=None, regularisation=0.2, view="strict", feedback="total", link="learned"
    )
    assert (made.alpha, made.regularisation, made.view, made.feedback) == (0.5, 0.2, "strict", "total")
    with pytest.raises(ConfigurationError, match="the learner cannot be set so: alpha"):
        learner_of(alpha=-1.0, beta_s=None, regularisation=0.1, view="fresh", feedback="split")


def test_statistics_without_the_link_have_a_schema_of_their_own() -> None:
    plan = PLAN.with_measured_link()
    assert plan.schema != PLAN.schema
    assert len(plan.schema) == len(PLAN.schema)
    assert plan.schema == PLAN.with_measured_link().schema
    assert plan.arms == PLAN.arms
    with pytest.raises(ConfigurationError, match="which column is the link's"):
        build_policy("fedlinucb_dw", replace(PLAN, link=None), Settings(link="measured"))


def test_an_empty_source_is_a_sentence() -> None:
    with pytest.raises(ConfigurationError, match="--source is empty"):
        DeviceSettings(id="cam-1", type="pi4", broker=BrokerAddress(), source="")


def test_exits_beside_a_policy_that_times_whole_heads_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave out --exits or ans"):
        settings_of(exits=tmp_path / "exits.safetensors", policy="ans")
