import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bandits.fixed import FixedArm
from bandits.policy import Cost
from bandits.settings import Settings
from bus import messages as m
from bus.stages import unexplained_ms
from device import commands as c
from device import events as e
from device.session import DeviceSession
from tests.support.device_parts import (
    HEEDING,
    LIMITS,
    LOCAL_HEAD,
    MEASURED_PLAN,
    MODEL,
    PLAN,
    REMOTE_HEAD,
    edge_state,
    reply,
    session,
)

FOUND = c.Note("info", "edge_worker_found", (("edge", "edge-1"), ("model", MODEL)))
BACK = c.Note("info", "edge_worker_back", (("edge", "edge-1"), ("model", MODEL)))
NOBODY = c.Note(
    "warning",
    "no_edge_worker",
    (("reason", f"no edge worker serves model {MODEL}: frames are answered on the device"),),
)


def begun(*names: str, **settings: Any) -> DeviceSession:
    """A session that has an edge worker and is about to capture its first frame, at time 0."""
    made = session(*names, **settings)
    (save,) = made.handle(e.Started(), 0.0)
    assert isinstance(save, c.SaveSnapshot)
    made.handle(e.SnapshotSaved(1), 0.0)
    made.handle(e.LinkCameUp("control"), 0.0)
    made.handle(e.LinkCameUp("data"), 0.0)
    assert made.handle(e.EdgeAnnounced(edge_state()), 0.0) == [c.CaptureNext(0.0), FOUND]
    return made


def waiting(*names: str) -> tuple[DeviceSession, c.SendRequest]:
    made = begun(*names)
    assert made.handle(e.FrameCaptured("f0"), 1.0) == [c.RunHead(1, "f0", 0)]
    (send,) = made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.003)
    assert isinstance(send, c.SendRequest)
    return made, send


def test_a_frame_played_on_the_device_is_answered_at_once() -> None:
    made = begun("device_only")
    assert made.handle(e.FrameCaptured("f0"), 1.0) == [c.RunHead(1, "f0", 2)]
    answer, feedback, capture = made.handle(e.HeadFinished(1, LOCAL_HEAD), 1.03125)
    assert answer == c.Answer(0, "device_only", 4, 0.5, "device", 31.25)
    assert isinstance(feedback, c.PublishFeedback)
    assert feedback.feedback.answered_by == "device"
    assert feedback.feedback.sent_bytes == 0
    assert capture == c.CaptureNext(1.03125)
    made.check()


def test_a_request_names_its_frame_and_the_time_left() -> None:
    _, send = waiting("edge_only_jpeg")
    assert send.edge == "edge-1"
    assert (send.request.cut, send.request.codec, send.request.shape) == (0, "jpeg", (2, 2, 3))
    assert send.request.budget_ms == (1.0 + 0.5 - 1.003) * 1000.0
    assert bytes(send.request.payload) == b"jpeg"


def test_a_reply_is_the_answer_and_the_link_is_what_the_edge_did_not_need() -> None:
    made, send = waiting("edge_only_jpeg")
    made.handle(e.RequestSent(1), 1.004)
    answer, feedback, capture = made.handle(e.ReplyArrived(reply(send.request.id)), 1.103)
    assert isinstance(answer, c.Answer)
    assert (answer.answered_by, answer.top) == ("edge", 7)
    assert isinstance(feedback, c.PublishFeedback)
    assert round(feedback.feedback.link_ms, 6) == 94.0
    assert unexplained_ms(feedback.feedback) == pytest.approx(0.0, abs=1e-9)
    assert feedback.feedback.sent_bytes == 4
    assert capture == c.CaptureNext(1.103)
    # Doubled, it changes nothing but the count.
    assert made.handle(e.ReplyArrived(reply(send.request.id)), 1.104) == []
    assert made.turns.late_replies == 1
    assert made.metrics()["payload_bytes"] == 4
    made.check()


def test_a_measured_link_is_learnt_apart_from_what_the_group_is_told() -> None:
    """Two devices alike, one on a link that takes 90 ms more: what they upload is the same."""
    told, believed = [], []
    for more_s in (0.0, 0.09):
        plan = PLAN.with_measured_link()
        # The second frame is a probe, whatever is believed.
        learner = Settings(link="measured", alpha=1e6, probe_after_frames=1, probe_largest_gap_frames=1)
        made = begun("fedlinucb_dw", plan=plan, learner=learner)
        for frame in range(2):
            captured = 1.0 + frame
            run = made.handle(e.FrameCaptured(f"f{frame}"), captured)[-1]
            assert isinstance(run, c.RunHead)
            if run.arm == plan.device_arm:
                made.handle(e.HeadFinished(run.turn, LOCAL_HEAD), captured + 0.03)
                continue
            (send,) = made.handle(e.HeadFinished(run.turn, REMOTE_HEAD), captured + 0.003)
            assert isinstance(send, c.SendRequest)
            made.handle(e.ReplyArrived(reply(send.request.id)), captured + 0.003 + 0.02 + more_s)
        state = made.dump()["policies"]["fedlinucb_dw"]
        told.append(state["member"]["local"])
        believed.append(float(state["conditions"]["between"]["link"]["mean"] @ [1.0, 0.5]))
    assert told[0]["count"] == told[1]["count"] == 3  # device; device and edge
    assert np.allclose(told[0]["moment"], told[1]["moment"])
    assert believed[1] > believed[0] + 0.03


def heeding(*more: str, look_within: float | None = 1e9) -> DeviceSession:
    """A session whose learner wants to know how the link does; its first frame is played on the device."""
    return begun("fedlinucb_dw", *more, plan=MEASURED_PLAN, learner=replace(HEEDING, look_within=look_within))


def link_of(made: DeviceSession) -> str:
    return str(made.dump()["policies"]["fedlinucb_dw"]["conditions"]["between"])


def play_alone(made: DeviceSession, at: float) -> int:
    """Play a frame that finds no edge worker; return the number of its link check."""
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), at) if isinstance(each, c.RunHead))
    said = made.handle(e.HeadFinished(run.turn, LOCAL_HEAD), at + 0.03)
    (feedback,) = (each for each in said if isinstance(each, c.PublishFeedback))
    made.check()
    assert not feedback.padded
    return feedback.check


def test_a_frame_without_an_edge_worker_checks_the_link_by_its_feedback() -> None:
    made = heeding()
    assert play_alone(made, 1.0) == 1
    before = link_of(made)
    made.handle(e.LinkChecked(2, 0.04), 1.05)  # nobody asked
    assert link_of(made) == before
    made.handle(e.LinkChecked(1, 0.04), 1.07)
    assert link_of(made) != before
    before = link_of(made)
    made.handle(e.LinkChecked(1, 0.5), 1.08)  # doubled
    assert link_of(made) == before
    assert (made.metrics()["link_checks"], made.metrics()["link_check_ms"]) == (1.0, 40.0)


def test_a_check_that_is_still_on_its_way_is_told_as_a_bound_and_one_is_on_its_way_at_a_time() -> None:
    made, other = heeding(), heeding()
    for each in (made, other):
        each.handle(e.LinkWentDown("data"), 0.5)
        assert play_alone(each, 1.0) == 1
    other.handle(e.LinkCheckFailed(1), 1.1)
    other.handle(e.LinkCheckFailed(1), 1.1)  # doubled
    assert play_alone(made, 9.0) == 0
    assert play_alone(other, 9.0) == 2
    assert link_of(made) != link_of(other)  # eight seconds without an acknowledgement
    assert made.metrics()["link_checks"] == 0.0


def test_a_check_is_long_after_an_answer_that_did_not_come() -> None:
    made = heeding(look_within=None)
    play_alone(made, 1.0)
    made.handle(e.LinkChecked(1, 0.001), 1.1)
    (run,) = (each for each in made.handle(e.FrameCaptured("f"), 2.0) if isinstance(each, c.RunHead))
    assert run.arm != PLAN.device_arm
    made.handle(e.HeadFinished(run.turn, REMOTE_HEAD), 2.01)
    (finish,) = (each for each in made.handle(e.DeadlinePassed(), 2.9) if isinstance(each, c.RunFallback))
    said = made.handle(e.FallbackFinished(finish.turn, 3, 0.25, 40.0), 2.95)
    (feedback,) = (each for each in said if isinstance(each, c.PublishFeedback))
    assert (feedback.check, feedback.padded) == (2, True)


def test_who_heeds_no_checks_publishes_none() -> None:
    made = begun("device_only")
    assert play_alone(made, 1.0) == 0
    answered, send = waiting("edge_only_jpeg")
    _, feedback, _ = answered.handle(e.ReplyArrived(reply(send.request.id)), 1.103)
    assert isinstance(feedback, c.PublishFeedback)
    assert feedback.check == 0


def test_every_way_of_not_being_answered_ends_in_a_fallback_with_its_reason() -> None:
    def fallback(event: e.Event, now: float = 1.1) -> str:
        made, _ = waiting("edge_only_jpeg")
        commands = made.handle(event, now)
        assert [command for command in commands if command != NOBODY] == [c.RunFallback(1, "kept")]
        made.check()
        answer, feedback, *_rest = made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), now + 0.05)
        assert isinstance(answer, c.Answer)
        assert answer.answered_by == "fallback"
        assert isinstance(feedback, c.PublishFeedback)
        said = feedback.feedback
        assert said.vain_ms == pytest.approx((now - 1.003) * 1000.0)
        assert said.fallback_ms == 40.0
        assert said.wait_ms == pytest.approx(10.0)  # handing over to the worker thread and back
        assert unexplained_ms(said) == pytest.approx(0.0, abs=1e-9)
        made.check()
        return said.reason

    _, send = waiting("edge_only_jpeg")
    rejection = m.Rejection(id=send.request.id, edge="edge-1", reason="overloaded")
    assert fallback(e.RejectionArrived(rejection)) == "overloaded"
    assert fallback(e.SendFailed(1, "too_large")) == "too_large"
    assert fallback(e.LinkWentDown("data")) == "link_lost"
    assert fallback(e.EdgeAnnounced(edge_state(state="lost"))) == "edge_lost"
    assert fallback(e.EdgeAnnounced(edge_state(boot=2))) == "edge_lost"
    assert fallback(e.DeadlinePassed(), 1.5) == "deadline"


def test_what_an_answer_cost_is_told_in_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Cost] = []
    monkeypatch.setattr(FixedArm, "update", lambda _self, _arm, cost: told.append(cost))

    made, send = waiting("edge_only_jpeg")
    made.handle(e.ReplyArrived(reply(send.request.id)), 1.103)
    made, send = waiting("edge_only_jpeg")
    made.handle(e.DeadlinePassed(), 1.5)
    made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), 1.54)
    made, send = waiting("edge_only_jpeg")
    rejection = m.Rejection(id=send.request.id, edge="edge-1", reason="overloaded")
    made.handle(e.RejectionArrived(rejection), 1.01)
    made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), 1.05)

    answered, late, refused = told
    # A wait for a free worker lies between device and edge, as the link does; decoding and the tail do not.
    assert answered.link_s == pytest.approx(0.100 - 0.006 + 0.001)
    assert not answered.censored
    assert late.link_s == pytest.approx(0.5 - 0.003)  # what was finished here was not waited for
    assert late.censored
    assert not late.refused
    assert refused.censored
    assert refused.refused
    assert refused.total_s == pytest.approx(0.05)


def test_an_edge_worker_that_does_not_hold_the_model_is_left_alone_for_a_while() -> None:
    made, send = waiting("edge_only_jpeg")
    rejection = m.Rejection(id=send.request.id, edge="edge-1", reason="unknown_model")
    assert made.handle(e.RejectionArrived(rejection), 1.1) == [c.RunFallback(1, "kept")]
    made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), 1.15)
    # The policy asks for the edge; the device arm is played, since nobody else is there.
    assert made.handle(e.FrameCaptured("f1"), 1.2) == [c.RunHead(2, "f1", 2)]
    made.check()


def test_a_fallback_that_nobody_waits_for_changes_nothing() -> None:
    made, _ = waiting("edge_only_jpeg")
    assert made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), 1.05) == []
    made.check()


def test_word_that_a_request_left_counts_for_its_own_turn_only() -> None:
    made, _ = waiting("edge_only_jpeg")
    assert made.handle(e.RequestSent(7), 1.01) == []
    assert made.metrics()["payload_bytes"] == 0


def test_the_wait_ends_at_the_part_of_the_deadline_that_leaves_time_to_finish() -> None:
    made, _ = waiting("edge_only_jpeg")
    assert made.next_deadline() == 1.5
    assert made.handle(e.DeadlinePassed(), 1.4) == []


def test_a_patient_device_waits_for_a_multiple_of_what_finishing_takes_it() -> None:
    made = begun("edge_only_jpeg", limits=dataclasses.replace(LIMITS, patience=2.0))
    made.handle(e.FrameCaptured("f0"), 1.0)
    (send,) = made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.003)
    # Nobody knows yet what finishing takes: the deadline alone ends the wait.
    assert made.next_deadline() == 1.5
    made.handle(e.DeadlinePassed(), 1.5)
    made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), 1.54)
    made.handle(e.FrameCaptured("f1"), 2.0)
    (send,) = made.handle(e.HeadFinished(2, REMOTE_HEAD), 2.003)
    assert isinstance(send, c.SendRequest)
    assert made.next_deadline() == pytest.approx(2.003 + 2 * 0.04)
    assert send.request.budget_ms == pytest.approx(80.0)
    assert made.handle(e.DeadlinePassed(), 2.084) == [c.RunFallback(2, "kept")]
    made.check()


def test_the_deepest_early_exit_says_what_finishing_takes() -> None:
    made = session("fedlinucb_dw", warm_start=2, limits=dataclasses.replace(LIMITS, patience=2.0))
    made.handle(e.Started(), 0.0)
    rows = (e.ExitRow((0.5, 0.0, 0.0, 0.0), 0.1), e.ExitRow((1.1, 0.0, 0.0, 0.0), 0.2))
    made.handle(e.WarmStartFinished(rows), 0.1)
    assert made.turns.wait_s(0.05) == pytest.approx(2.0 * 0.15)


def test_a_frame_whose_way_out_closed_while_its_head_ran_is_finished_locally() -> None:
    for event, reason in (
        (e.LinkWentDown("data"), "link_lost"),
        (e.EdgeAnnounced(edge_state(state="lost")), "no_edge"),
    ):
        made = begun("edge_only_jpeg")
        made.handle(e.FrameCaptured("f0"), 1.0)
        made.handle(event, 1.001)
        assert made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.003) == [c.RunFallback(1, "kept")]
        _, feedback, *_rest = made.handle(e.FallbackFinished(1, 3, 0.25, 40.0), 1.05)
        assert isinstance(feedback, c.PublishFeedback)
        assert feedback.feedback.reason == reason


def test_a_head_that_took_all_the_time_is_not_sent() -> None:
    made = begun("edge_only_jpeg")
    made.handle(e.FrameCaptured("f0"), 1.0)
    assert made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.6) == [c.RunFallback(1, "kept")]


def test_without_an_edge_worker_the_device_arm_is_played() -> None:
    made = session("edge_only_jpeg")
    made.handle(e.Started(), 0.0)
    assert c.CaptureNext(1.0) in made.handle(e.DeadlinePassed(), 1.0)
    assert made.handle(e.FrameCaptured("f0"), 1.1) == [c.RunHead(1, "f0", 2)]
    made.handle(e.HeadFinished(1, LOCAL_HEAD), 1.2)
    assert made.metrics()["turns_masked"] == 1


def test_contestants_play_the_same_frame_in_an_order_that_rotates() -> None:
    made = begun("device_only", "two_arm", "linucb")
    order: list[str] = []
    turn = 0
    for frame in range(3):
        commands = made.handle(e.FrameCaptured(f"f{frame}"), float(frame))
        while isinstance(head := commands[-1], c.RunHead):
            assert head.frame == f"f{frame}"
            turn = head.turn
            local = e.HeadFinished(turn, LOCAL_HEAD)
            commands = made.handle(local, float(frame) + 0.01)
            made.check()
            order += [command.policy for command in commands if isinstance(command, c.Answer)]
    assert order[0::3] == ["device_only", "two_arm", "linucb"]
    assert sorted(order[:3]) == sorted(order[3:6]) == ["device_only", "linucb", "two_arm"]


def test_the_newest_frame_waits_and_the_older_is_rejected_with_a_reason() -> None:
    made = begun("device_only")
    made.handle(e.FrameCaptured("f0"), 1.0)
    assert made.handle(e.FrameCaptured("f1"), 1.1) == []
    assert made.handle(e.FrameCaptured("f2"), 1.2) == [c.RejectFrame(1, ("device_only",), "dropped")]
    assert made.handle(e.HeadFinished(1, LOCAL_HEAD), 1.3)[2] == c.RunHead(2, "f2", 2)
    made.check()


def test_a_head_that_raises_rejects_its_frame() -> None:
    made = begun("device_only")
    made.handle(e.FrameCaptured("f0"), 1.0)
    assert made.handle(e.ComputeFailed(1, "no memory"), 1.1) == [
        c.RejectFrame(0, ("device_only",), "no memory"),
        c.CaptureNext(1.1),
    ]


def test_the_last_frame_ends_the_run() -> None:
    made = begun("device_only", frames=1)
    made.handle(e.FrameCaptured("f0"), 1.0)
    commands = made.handle(e.HeadFinished(1, LOCAL_HEAD), 1.1)
    assert isinstance(commands[-1], c.SaveSnapshot)
    made.check()
    assert made.handle(e.SnapshotSaved(2), 1.2) == [c.Stop()]
    assert made.next_deadline() is None
    assert made.handle(e.DeadlinePassed(), 9.0) == []


def test_two_devices_with_one_id_stop_with_a_sentence() -> None:
    made = begun("device_only")
    (stop,) = made.handle(e.LinkWentDown("control", taken_over=True), 2.0)
    assert isinstance(stop, c.Stop)
    assert "--id" in stop.error


def test_a_link_that_is_lost_because_of_another_client_later_on_is_made_again() -> None:
    made = begun("device_only")
    assert made.handle(e.LinkWentDown("control", "another client has the id"), 2.0) == []
    assert made.metrics()["reconnects"] == 1


def test_a_bad_message_is_counted_and_told_once_a_second() -> None:
    made = begun("device_only")
    bad = e.BadMessageArrived("malformed", "no map")
    (note,) = made.handle(bad, 1.0)
    assert isinstance(note, c.Note)
    assert made.handle(bad, 1.5) == []
    assert made.metrics()["fault_malformed"] == 2


def test_the_log_tells_when_edge_workers_are_found_lost_and_back() -> None:
    made = begun("device_only")
    assert made.handle(e.EdgeAnnounced(edge_state(edge="edge-2")), 1.0) == []
    assert made.handle(e.EdgeAnnounced(edge_state(edge="edge-2", state="lost")), 1.1) == []
    assert made.handle(e.EdgeAnnounced(edge_state(state="lost")), 1.2) == [NOBODY]
    assert made.handle(e.EdgeAnnounced(edge_state(state="lost")), 1.3) == []
    assert made.handle(e.EdgeAnnounced(edge_state(boot=2)), 1.4) == [BACK]
    assert made.handle(e.EdgeAnnounced(edge_state(boot=2)), 1.5) == []


def test_the_log_tells_that_nobody_came_once_the_first_frame_is_taken_without() -> None:
    made = session("device_only")
    made.handle(e.Started(), 0.0)
    made.handle(e.SnapshotSaved(1), 0.0)
    assert made.handle(e.LinkCameUp("data"), 0.5) == []
    assert made.handle(e.DeadlinePassed(), 1.0) == [c.CaptureNext(1.0), NOBODY]
    assert made.handle(e.DeadlinePassed(), 1.1) == []
    # Not "back": it has never been there.
    assert made.handle(e.EdgeAnnounced(edge_state()), 1.2) == [FOUND]


def test_a_device_that_stops_before_its_first_frame_misses_nobody() -> None:
    made = session("device_only")
    made.handle(e.Started(), 0.0)
    commands = made.handle(e.StopRequested("asked"), 0.5)
    commands += made.handle(e.SnapshotSaved(1), 0.6)
    assert NOBODY not in commands


def test_an_edge_worker_with_another_network_is_told_of_once_with_both_hashes() -> None:
    made = begun("device_only")
    strange = edge_state(edge="edge-2", models="ffffffffffffffff,\x1b[2J,eeeeeeeeeeeeeeee")
    reason = (
        f"edge-2 serves another network (ffffffffffffffff, eeeeeeeeeeeeeeee, not {MODEL}): "
        "same --model, --weights and --weights-seed on both sides?"
    )
    told = c.Note("warning", "edge_worker_serves_another_network", (("reason", reason),))
    assert made.handle(e.EdgeAnnounced(strange), 1.0) == [told]
    assert made.handle(e.EdgeAnnounced(strange), 1.1) == []
    assert made.handle(e.EdgeAnnounced(edge_state(edge="edge-3", models="f", state="lost")), 1.2) == []


def test_an_edge_worker_with_other_codecs_is_not_asked_and_told_of_once() -> None:
    made = session("device_only")
    made.handle(e.Started(), 0.0)
    made.handle(e.LinkCameUp("data"), 0.0)
    other = m.State(
        role="edge", id="edge-1", state="ready", boot=1, version="0", models=MODEL, arms="00000000000000ff"
    )
    reason = (
        f"edge-1 serves model {MODEL} with other cuts or codecs: "
        "same --codecs and same version of CANS on both sides?"
    )
    told = c.Note("warning", "edge_worker_has_other_codecs", (("reason", reason),))
    assert made.handle(e.EdgeAnnounced(other), 0.1) == [told]
    assert not made.edges.any_ready(0.1)
    agreed = m.State(
        role="edge",
        id="edge-1",
        state="ready",
        boot=1,
        version="0",
        models=f"ffffffffffffffff,{MODEL}",
        arms=f"00000000000000ff,{PLAN.asks}",
    )
    assert FOUND in made.handle(e.EdgeAnnounced(agreed), 0.2)
    assert made.edges.any_ready(0.2)


def test_an_edge_worker_that_lets_our_model_go_still_answers_what_it_was_asked() -> None:
    made = begun("two_arm")
    made.handle(e.FrameCaptured("f0"), 1.0)
    commands = made.handle(e.HeadFinished(1, REMOTE_HEAD), 1.1)
    (request,) = [command.request for command in commands if isinstance(command, c.SendRequest)]
    made.handle(e.EdgeAnnounced(edge_state(models="ffffffffffffffff")), 1.2)
    assert not made.edges.any_ready(1.2)
    answers = [x for x in made.handle(e.ReplyArrived(reply(request.id)), 1.3) if isinstance(x, c.Answer)]
    assert [answer.answered_by for answer in answers] == ["edge"]
    made.check()


def test_a_handover_plays_what_was_captured_and_captures_no_more() -> None:
    made = begun("device_only", limits=replace(LIMITS, frame_period_s=0.1))
    made.handle(e.FrameCaptured("f0"), 1.0)  # and asks for the next one
    assert made.handle(e.HandoverRequested(), 1.05) == []
    assert made.handle(e.FrameCaptured("f1"), 1.1) == []  # it waits, and nothing more is asked for
    (_, _, head) = made.handle(e.HeadFinished(1, LOCAL_HEAD), 1.2)
    assert head == c.RunHead(2, "f1", 2)
    commands = made.handle(e.HeadFinished(2, LOCAL_HEAD), 1.3)
    (save,) = [command for command in commands if isinstance(command, c.SaveSnapshot)]
    assert not [command for command in commands if isinstance(command, c.CaptureNext)]
    made.check()
    assert made.handle(e.SnapshotSaved(save.number), 1.4) == [c.Stop()]
    assert made.handed_over
    assert made.turns.tallies["device_only"].answers == made.turns.captured == 2


def test_a_handover_before_the_first_frame_waits_for_nobody() -> None:
    made = session("device_only")
    made.handle(e.HandoverRequested(), 0.0)
    made.handle(e.Started(), 0.0)
    assert made.phase == "flushing"
    assert c.Stop() in made.handle(e.SnapshotSaved(1), 0.1) + made.handle(e.SnapshotSaved(2), 0.2)
    assert made.handed_over


@pytest.mark.parametrize("how", ["frames", "stop", "twice"])
def test_what_ends_for_another_reason_hands_nothing_over(how: str) -> None:
    made = begun("device_only", frames=1 if how == "frames" else None)
    made.handle(e.FrameCaptured("f0"), 1.0)
    made.handle(e.HandoverRequested(), 1.1)
    if how != "frames":
        made.handle(e.StopRequested("asked"), 1.2)
    if how == "twice":
        assert c.Stop() in made.handle(e.StopRequested("asked"), 1.2)
    else:
        made.handle(e.HeadFinished(1, LOCAL_HEAD), 1.3)
        made.handle(e.DeadlinePassed(), 99.0)
    assert made.phase == "stopped"
    assert not made.handed_over


def test_a_full_disk_is_said_once_and_again_when_it_is_over() -> None:
    made = session("device_only")
    made.handle(e.Started(), 0.0)
    (note,) = made.handle(e.SnapshotFailed(1, "disk full"), 0.0)
    assert isinstance(note, c.Note)
    made.handle(e.DeadlinePassed(), 5.0)
    assert not [x for x in made.handle(e.SnapshotFailed(2, "disk full"), 5.0) if isinstance(x, c.Note)]
    made.handle(e.DeadlinePassed(), 10.0)
    assert made.handle(e.SnapshotSaved(3), 10.0) == [c.Note("info", "snapshots_work_again")]
