"""One sample of every message, and the topic it travels on. New kinds are added here first."""

import numpy as np

from bus import messages as m
from bus.statistics import pack_symmetric
from bus.tensors import buffer_of
from bus.topics import ACK, FEEDBACK, GROUPS, INFER, QUEUE, REPLY, STATE, STATS, WORDS, Topic

MODEL, SCHEMA, INSTALL, ORIGIN = (
    "00112233445566aa",
    "aabbccddeeff0011",
    "1111222233334444",
    "5555666677778888",
)
_GRAM = np.array([[2.0, 0.5], [0.5, 1.0]])
_MOMENT = np.array([0.25, 0.125])

SAMPLES: tuple[tuple[Topic, m.Message], ...] = (
    (
        INFER,
        m.ActivationRequest(
            id="1-7",
            device="cam-1",
            type="pi4",
            model=MODEL,
            cut=3,
            codec="int8-zstd",
            dtype="int8",
            shape=(1, 2, 2),
            seq=7,
            budget_ms=250.0,
            payload=memoryview(b"\x01\x02\x03\x04"),
        ),
    ),
    (
        REPLY,
        m.InferenceReply(
            id="1-7",
            edge="edge-1",
            top=1,
            confidence=0.75,
            dtype="float32",
            shape=(2,),
            payload=memoryview(np.array([0.0, 1.0], "<f4").tobytes()),
            queue_ms=0.5,
            decode_ms=1.0,
            tail_ms=8.0,
            load=2.0,
            reply_ms=0.5,
            batch=3,
        ),
    ),
    (REPLY, m.Rejection(id="1-7", edge="edge-1", reason="overloaded", detail="16 jobs wait", load=16.0)),
    (
        STATS,
        m.StatisticsUpload(
            device="cam-1",
            type="pi4",
            model=MODEL,
            schema=SCHEMA,
            install=INSTALL,
            boot=3,
            seq=2,
            phase="online",
            dimension=2,
            gram=pack_symmetric(_GRAM),
            moment=buffer_of(_MOMENT),
            count=3,
            sum_squares=0.5,
            columns=m.Columns(names=("front.conv_macs", "offload"), input_elements=150_528),
        ),
    ),
    (
        ACK,
        m.UploadAck(device="cam-1", install=INSTALL, boot=3, seq=2, model=MODEL, origin=ORIGIN, version=9),
    ),
    (
        ACK,
        m.UploadRefusal(
            device="cam-1", install=INSTALL, boot=3, seq=2, reason="implausible", detail="not PSD"
        ),
    ),
    (
        GROUPS,
        m.GroupParameters(
            group="pi4",
            model=MODEL,
            schema=SCHEMA,
            origin=ORIGIN,
            version=9,
            dimension=2,
            gram=pack_symmetric(_GRAM),
            moment=buffer_of(_MOMENT),
            count=3,
            sum_squares=0.5,
            members=2,
        ),
    ),
    (
        WORDS,
        m.GroupWords(
            group="pi4",
            model=MODEL,
            schema=SCHEMA,
            origin=ORIGIN,
            version=9,
            members=2,
            count=3,
            sent=1,
            changed="2026-01-02T03:04:05+00:00",
            link="learned",
            device_ms=240.5,
            device_low_ms=233.0,
            device_high_ms=248.0,
            text="device, whole network: 240 ms (233 to 248)",
        ),
    ),
    (
        FEEDBACK,
        m.Feedback(
            device="cam-1",
            type="pi4",
            model=MODEL,
            policy="fedlinucb_dw",
            seq=7,
            arm=12,
            cut=3,
            codec="int8-zstd",
            answered_by="edge",
            reason="",
            sent_bytes=4,
            head_ms=10.0,
            encode_ms=1.0,
            link_ms=20.0,
            queue_ms=0.5,
            decode_ms=1.0,
            tail_ms=8.0,
            fallback_ms=0.0,
            total_ms=41.25,
            deadline_ms=500.0,
            deadline_met=True,
            top=1,
            confidence=0.75,
            emulated=True,
            capture_ms=3.0,
            wait_ms=0.25,
            reply_ms=0.5,
        ),
    ),
    (
        STATE,
        m.State(
            role="edge",
            id="edge-1",
            state="ready",
            boot=3,
            version="0.1.0",
            models=MODEL,
            load=2.0,
            speed=30.0,
            arms=SCHEMA,
        ),
    ),
    (QUEUE, m.QueueNotice(edge="edge-1", free_ms=62.5, jobs=3)),
)
