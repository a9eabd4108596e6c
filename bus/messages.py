"""Every message, one frozen struct each.

Wire form: a msgpack map with short, stable keys (or flat JSON, see the topic table). Rules of evolution:
fields are only ever added, with a default; a field is never renamed or given another meaning; unknown
fields are skipped; an unknown kind is refused; what cannot be said that way raises `SCHEMA_VERSION`.

Durations are relative (`budget_ms`) or measured on one clock (`head_ms` on the device, `tail_ms` on the
edge worker): no message compares the clocks of two machines. The limits here hold before any use.
"""

import math
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bus.names import NAME_PATTERN

SCHEMA_VERSION = 1

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Label = Annotated[str, Meta(max_length=64)]
Sentence = Annotated[str, Meta(max_length=256)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Ratio = Annotated[float, Meta(ge=0.0)]
Milliseconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Shape = Annotated[tuple[Annotated[int, Meta(ge=1, le=2**31)], ...], Meta(max_length=6)]
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]

Reject = Literal["unknown_model", "overloaded", "expired", "malformed", "too_large", "shutting_down"]
Refusal = Literal[
    "malformed",
    "implausible",
    "not_finite",
    "wrong_sender",
    "unknown_type",
    "foreign",
    "too_large",
    "overloaded",
]
Phase = Literal["offline", "online"]
AnsweredBy = Literal["device", "edge", "fallback"]
NodeState = Literal["init", "ready", "disconnected", "sleeping", "lost"]
LinkKind = Literal["learned", "measured"]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=False):
    """What all messages share.

    Attributes:
        v: schema version of the sender.
    """

    v: Annotated[int, Meta(ge=1, le=65535)] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse NaN and infinity, which every decoder lets pass."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is float and not math.isfinite(value):
                raise ValueError(f"{name} is not a finite number")


class ActivationRequest(Message, frozen=True, kw_only=True, tag="infer"):
    """Device -> edge worker: run the tail on this.

    Attributes:
        id: request id, unique per device and boot; echoed in the answer.
        device, type: who asks, and its declared device type.
        model: hash over weights and graph; both sides must hold the same.
        cut: index of the cut. codec: how the payload is written.
        dtype, shape: the tensor after decoding.
        seq: frame number. budget_ms: time left when this was written, relative.
        payload: the encoded activation; a view of the received bytes after decoding.
        traceparent: W3C trace context, or empty.
    """

    id: Label
    device: Name
    type: Name
    model: Hash
    cut: Annotated[int, Meta(ge=0, le=4096)]
    codec: Label
    dtype: Label
    shape: Shape
    seq: Count
    budget_ms: Milliseconds
    payload: memoryview
    traceparent: Label = ""


class InferenceReply(Message, frozen=True, kw_only=True, tag="result"):
    """Edge worker -> device: the answer.

    Attributes:
        top: index of the best class; confidence: its softmax value, 0 to 1.
        dtype, shape, payload: the network's output.
        queue_ms, decode_ms, tail_ms: time in this worker, on its clock.
        load: jobs waiting or running when the answer was written.
        reply_ms: what else passed here between the request's arrival and the answer, as in `bus/stages.py`; 0
            from older workers, whose devices count it as link.
        batch: frames that shared this run of the tail, this one included; `decode_ms` and `tail_ms` are the
            batch's, since each frame has waited for all of it.
    """

    id: Label
    edge: Name
    top: Count
    confidence: Ratio
    dtype: Label
    shape: Shape
    payload: memoryview
    queue_ms: Milliseconds
    decode_ms: Milliseconds
    tail_ms: Milliseconds
    load: Ratio
    reply_ms: Milliseconds = 0.0
    batch: Count = 1


class Rejection(Message, frozen=True, kw_only=True, tag="rejection"):
    """Edge worker -> device: no answer will come, and why.

    Attributes:
        id: the request's id, empty if it could not be read.
    """

    id: Label
    edge: Name
    reason: Reject
    detail: Sentence = ""
    load: Ratio = 0.0


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of statistics mean, for people; whether sums may be added is the schema's to say.

    Attributes:
        names: of the columns, as in `partition.contexts`.
        input_elements: values of one frame; the link's unit is 8 bits of each.
        fixed: those that are 1 in every arm that sends, as the offload column is: work that no cut takes from
            the edge worker, which no experience can tell from waiting.
        link: learned by the group, or measured by each device and not in the statistics.
    """

    names: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=64)]
    input_elements: Annotated[int, Meta(ge=1, le=2**53)]
    fixed: Annotated[tuple[Label, ...], Meta(max_length=64)] = ()
    link: LinkKind = "learned"


class StatisticsUpload(Message, frozen=True, kw_only=True, tag="stats"):
    """Device -> aggregator: sufficient statistics learnt since the last upload.

    (device, install, boot, seq) names it for ever: it is merged exactly once, however often it comes.

    Attributes:
        install: random id made with the device's state folder; a wiped device is a new install.
        boot: starts of that install so far. seq: uploads of that boot so far, from 1.
        schema: hash of the context schema; columns mean the same on both sides.
        phase: offline (early-exit warm start) or online.
        dimension: d. gram: packed upper triangle, moment: d values, both float64 little endian.
        count: rows. sum_squares: of costs, seconds squared.
        columns: what they mean; left out by older devices, and once the aggregator was told.
        common: a 0 or 1 a column, 1 where it means the same for every device of the type: the device's own
            work, and all of them when its link is measured; empty from a device that does not say.
    """

    device: Name
    type: Name
    model: Hash
    schema: Hash
    install: Hash
    boot: Count
    seq: Count
    phase: Phase
    dimension: Annotated[int, Meta(ge=1, le=64)]
    gram: memoryview
    moment: memoryview
    count: Count
    sum_squares: Ratio
    columns: Columns | UnsetType = UNSET
    common: Annotated[str, Meta(pattern=r"\A[01]{0,64}\Z")] = ""


class UploadAck(Message, frozen=True, kw_only=True, tag="merged"):
    """Aggregator -> device: the upload is in the group, durably.

    Attributes:
        origin: random id made with the aggregator's state; another origin has never seen the upload.
        version: the first group version that contains it.
        parked: the group keeps this device's rows apart, because they differ from the others': learn alone,
            adopt nothing, until an acknowledgement says otherwise.
    """

    device: Name
    install: Hash
    boot: Count
    seq: Count
    model: Hash
    origin: Hash
    version: Count
    parked: bool = False


class UploadRefusal(Message, frozen=True, kw_only=True, tag="refused"):
    """Aggregator -> device: the upload will never be merged, and why."""

    device: Name
    install: Hash
    boot: Count
    seq: Count
    reason: Refusal
    detail: Sentence = ""


class GroupParameters(Message, frozen=True, kw_only=True, tag="group"):
    """Aggregator -> group, retained: what the group knows.

    Attributes:
        group: name of the group; one or more device types belong to it.
        origin, version: which aggregator state, and how far; versions of one origin only grow.
        gram: packed upper triangle of lambda I + all merged, moment, count, sum_squares: as in uploads.
        members: devices whose uploads are in it.
    """

    group: Name
    model: Hash
    schema: Hash
    origin: Hash
    version: Count
    dimension: Annotated[int, Meta(ge=1, le=64)]
    gram: memoryview
    moment: memoryview
    count: Count
    sum_squares: Ratio
    members: Count


class GroupWords(Message, frozen=True, kw_only=True, tag="words"):
    """Aggregator -> people, flat JSON, retained: what the group knows, without a matrix.

    Each quantity is an estimate and a 95 % interval; null is "not known". A link so fast that its interval
    reaches to no time at all has no highest rate, and perhaps no estimate.

    Attributes:
        group, model, schema, origin, version, members: as in the group's parameters.
        count: rows; a frame that was sent makes two, its device's part and the rest.
        sent: rows of frames that were sent.
        changed: since when this version, ISO 8601, by the aggregator's clock; for people, never compared.
        link: learned by the group, measured by each device (then it is not known here), or not said.
        device_ms: the whole network on a device. encode_ms: writing as many values as a frame has, by a codec
            of relative cost 1. edge_ms: on the edge worker, all work that some cut leaves to the device.
        link_mbit_per_s: of what a device sends.
        wait_ms: what any sending costs besides: waiting at the edge worker, its work that no cut takes from
            it and, if the link is learned, the round trip.
        away_ms: edge_ms and wait_ms together, often known where neither is: they are met together.
        text: the same in words.
    """

    group: Name
    model: Hash
    schema: Hash
    origin: Hash
    version: Count
    members: Count
    count: Count
    sent: Count
    changed: Label = ""
    link: Literal["learned", "measured", ""] = ""
    device_ms: Milliseconds | None = None
    device_low_ms: Milliseconds | None = None
    device_high_ms: Milliseconds | None = None
    encode_ms: Milliseconds | None = None
    encode_low_ms: Milliseconds | None = None
    encode_high_ms: Milliseconds | None = None
    edge_ms: Milliseconds | None = None
    edge_low_ms: Milliseconds | None = None
    edge_high_ms: Milliseconds | None = None
    link_mbit_per_s: Ratio | None = None
    link_low_mbit_per_s: Ratio | None = None
    link_high_mbit_per_s: Ratio | None = None
    wait_ms: Milliseconds | None = None
    wait_low_ms: Milliseconds | None = None
    wait_high_ms: Milliseconds | None = None
    away_ms: Milliseconds | None = None
    away_low_ms: Milliseconds | None = None
    away_high_ms: Milliseconds | None = None
    text: Annotated[str, Meta(max_length=1024)] = ""


class Feedback(Message, frozen=True, kw_only=True, tag="feedback"):
    """Device -> all, flat JSON, one a frame: what was chosen and how long each stage took.

    Attributes:
        policy: which policy chose. seq: frame number.
        arm: index; cut, codec: what it stands for.
        answered_by: device (its own choice), edge, or fallback (finished locally after all).
        reason: why a fallback was needed, or which early exit answered ("exit 0", sure; "deadline exit 0",
            because time was short); else empty.
        sent_bytes: payload on the wire, 0 if nothing was sent.
        head_ms, encode_ms, link_ms, queue_ms, decode_ms, tail_ms, fallback_ms: stages; link is what is
            left of the round trip after the edge worker's own stages.
        total_ms: capture to answer, and the sum of its stages: see `bus/stages.py`.
        emulated: some stage was stretched or shaped by an emulator.
        capture_ms: taking the frame from its source, before `total_ms` begins; 0 for later turns of a frame.
        wait_ms, reply_ms, vain_ms: the other stages; 0 from older devices, which did not say.
        expected_ms, unsure_ms: what the policy expected of this arm, and how far off it held that to be; 0
            from one that does not say.
        version: of the group's parameters that it had adopted; 0 for none.
        propensity: how likely this arm was to be played (`device/exploration.py`); 0 where nobody can tell.
    """

    device: Name
    type: Name
    model: Hash
    policy: Label
    seq: Count
    arm: Count
    cut: Count
    codec: Label
    answered_by: AnsweredBy
    reason: Label
    sent_bytes: Count
    head_ms: Milliseconds
    encode_ms: Milliseconds
    link_ms: Milliseconds
    queue_ms: Milliseconds
    decode_ms: Milliseconds
    tail_ms: Milliseconds
    fallback_ms: Milliseconds
    total_ms: Milliseconds
    deadline_ms: Milliseconds
    deadline_met: bool
    top: Count
    confidence: Ratio
    emulated: bool = False
    capture_ms: Milliseconds = 0.0
    wait_ms: Milliseconds = 0.0
    reply_ms: Milliseconds = 0.0
    vain_ms: Milliseconds = 0.0
    expected_ms: Milliseconds = 0.0
    unsure_ms: Milliseconds = 0.0
    version: Count = 0
    propensity: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0


class State(Message, frozen=True, kw_only=True, tag="state"):
    """Each node -> all, flat JSON, retained, with a will: is it there, and what does it serve.

    Attributes:
        boot: makes a stale will harmless: a will of boot n says nothing about boot n + 1.
        models: hashes served, comma separated. load: jobs waiting or running. speed: tails a second.
        detail: one sentence for people (versions, emulation, model name).
        arms: what each of `models` can be asked for, as `bus.arms` says it, in their order; empty from an
            edge worker that does not say.
    """

    role: Label
    id: Name
    state: NodeState
    boot: Count
    version: Label
    type: Label = ""
    models: Sentence = ""
    load: Ratio = 0.0
    speed: Ratio = 0.0
    detail: Sentence = ""
    arms: Sentence = ""


class QueueNotice(Message, frozen=True, kw_only=True, tag="queue"):
    """Edge worker -> all, flat JSON: for how long a request would wait that arrived now.

    From then on every listener counts down by itself; the next one comes when that has become wrong.

    Attributes:
        free_ms: until a worker is free for it. jobs: waiting or running.
    """

    edge: Name
    free_ms: Milliseconds
    jobs: Count


Decision = InferenceReply | Rejection
AckMessage = UploadAck | UploadRefusal
