"""What running a piece of a network gives. Times are milliseconds of this process's monotonic clock."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bus.errors import RemoteProtocolError
from bus.tensors import Payload

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answer:
    """The network's answer to one frame.

    Attributes:
        top1: index of the likeliest class.
        confidence: its softmax probability.
        logits: float32 (classes,).
        tail_ms: time to get here from the kept activation; 0 if there was nothing left to run.
    """

    top1: int
    confidence: float
    logits: Logits
    tail_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What crosses a cut, kept so that the device can finish by itself. Opaque to its holder.

    Attributes:
        cut: index of the cut.
        crossing: what crosses there.
        passed: number and answer of the deepest exit on the way that was asked and not sure.
    """

    cut: int
    crossing: tuple[Tensor, ...]
    passed: tuple[int, Answer] | None = None


@dataclass(frozen=True, slots=True)
class HeadResult:
    """The device side of one frame.

    Attributes:
        payload: what to send; None for the device-only arm. It may look into the frame or the activation.
        dtype: of the payload.
        shape: of the payload.
        head_ms: preprocessing and head.
        encode_ms: encoding.
        kept: for `PartitionedModel.finish`; None where nothing is left to do.
        answer: for the device-only arm, and where an exit was sure; else None.
        exit_index: of the exit that answered; None where none did.
        forced: it answered because it was told to, without being sure.
    """

    payload: Payload | None
    dtype: str
    shape: tuple[int, ...]
    head_ms: float
    encode_ms: float
    kept: Kept | npt.NDArray[np.uint8] | None
    answer: Answer | None
    exit_index: int | None = None
    forced: bool = False

    @property
    def logits(self) -> Logits | None:
        """The logits of `answer`, float32 (classes,)."""
        return None if self.answer is None else self.answer.logits

    @property
    def payload_bytes(self) -> int:
        """The size of the payload; 0 if there is none."""
        return 0 if self.payload is None else memoryview(self.payload).nbytes


@dataclass(frozen=True, slots=True)
class TailResult:
    """The edge side of one frame.

    Attributes:
        logits: float32 (classes,).
        decode_ms: decoding.
        tail_ms: preprocessing, where the frame itself came, and tail.
    """

    logits: Logits
    decode_ms: float
    tail_ms: float


@dataclass(frozen=True, slots=True)
class ExitRun:
    """One early-exit inference on the device alone: a row of offline experience.

    Attributes:
        exit_index: the exit that answered.
        context: float64 (d,), with front columns only: the trunk up to the exit, and every head on the way.
        latency_ms: from frame to answer.
        answer: the exit's answer.
    """

    exit_index: int
    context: npt.NDArray[np.float64]
    latency_ms: float
    answer: Answer


def finite(logits: Logits) -> Logits:
    """Return what came of a peer's activation, if it can be an answer.

    Raises:
        RemoteProtocolError: `not_finite`.
    """
    if not np.isfinite(logits).all():
        raise RemoteProtocolError("not_finite", "the activation leads to logits that are not finite")
    return logits


def answer_of(logits: Logits, tail_ms: float = 0.0) -> Answer:
    """Return the answer that logits (classes,) give."""
    top1 = int(np.argmax(logits))
    # Shifted by the largest, so that nothing overflows; in float64, so that a thousand terms add up.
    weights = np.exp(logits.astype(np.float64) - float(logits[top1]))
    return Answer(top1, float(1.0 / weights.sum()), logits, tail_ms)
