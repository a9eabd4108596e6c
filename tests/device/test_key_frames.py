"""Key frames: which frames are, and that the policies that heed them are told before they choose."""

import numpy as np
import pytest

from bandits.ans import ANS
from bandits.fixed import FixedArm
from bandits.policy import Policy
from device import commands as c
from device import events as e
from device.key_frames import HeedsKeyFrames, KeyFrames
from device.plan import Identity
from device.session import DeviceSession
from partition.images import FRAMES_PER_PHOTOGRAPH, MovingCrops
from tests.support.device_parts import INSTALL, LIMITS, LOCAL_HEAD, PLAN


def test_the_first_frame_is_a_key_frame_and_one_that_shows_the_same_is_none() -> None:
    is_key_frame = KeyFrames()
    frame = MovingCrops(0).frame(0)
    noise = np.random.default_rng(0).integers(0, 3, frame.shape, dtype=np.uint8)
    assert is_key_frame(frame)
    assert not is_key_frame(frame.copy())
    assert not is_key_frame(np.minimum(frame, 252) + noise)


def test_another_photograph_is_a_key_frame_and_the_next_of_its_kind_is_none() -> None:
    is_key_frame = KeyFrames()
    film = MovingCrops(0)
    one, other = film.frame(0), film.frame(FRAMES_PER_PHOTOGRAPH)
    assert [is_key_frame(frame) for frame in (one, other, other, one)] == [True, True, False, True]


class Heeding(ANS):
    """Remembers what it was told when it had to choose."""

    def __init__(self) -> None:
        super().__init__((0.01,) * 3, (False, True, True, True))
        self.told: list[bool] = []

    def select(self, contexts: np.ndarray) -> int:
        self.told.append(self.key_frame)
        return super().select(contexts)


def begun(*policies: Policy) -> DeviceSession:
    """A session without an edge worker, running."""
    session = DeviceSession(
        Identity("cam-1", "pi4", INSTALL, 1), PLAN, policies, draw=lambda: 0.0, limits=LIMITS
    )
    session.handle(e.Started(), 0.0)
    session.handle(e.DeadlinePassed(), 2.0)
    assert session.phase == "running"
    return session


@pytest.mark.parametrize("other_first", [False, True])
def test_a_policy_that_heeds_key_frames_is_told_of_each_frame_and_no_other_policy_is(
    other_first: bool,
) -> None:
    ans, other = Heeding(), FixedArm(PLAN.device_arm, "device_only")
    assert isinstance(ans, HeedsKeyFrames)
    assert not isinstance(other, HeedsKeyFrames)
    session = begun(*((other, ans) if other_first else (ans, other)))
    turn = 0
    for key_frame in (True, False, True, False):
        commands = session.handle(e.FrameCaptured("frame", key_frame), 3.0)
        for _ in range(2):
            turn += 1
            assert isinstance(commands[-1], c.RunHead)
            commands = session.handle(e.HeadFinished(turn, LOCAL_HEAD), 3.0)
    assert ans.told == [True, False, True, False]
    assert not hasattr(other, "key_frame")


def test_a_change_that_came_with_a_dropped_frame_is_told_with_the_frame_that_took_its_place() -> None:
    ans = Heeding()
    session = begun(ans)
    session.handle(e.FrameCaptured("f0", key_frame=False), 3.0)
    session.handle(e.FrameCaptured("f1", key_frame=True), 3.1)
    dropped = session.handle(e.FrameCaptured("f2", key_frame=False), 3.2)
    assert dropped == [c.RejectFrame(1, ("ans",), "dropped")]
    session.handle(e.HeadFinished(1, LOCAL_HEAD), 3.3)
    session.handle(e.FrameCaptured("f3", key_frame=False), 3.4)
    session.handle(e.HeadFinished(2, LOCAL_HEAD), 3.5)
    assert ans.told == [False, True, False]
