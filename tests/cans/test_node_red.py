"""The Node-RED flow: topics and fields that there are, no secrets, and what its functions answer."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from bus.messages import AnsweredBy, Feedback, NodeState, State
from bus.topics import FEEDBACK, STATE, Topics
from bus.wire import encode
from tests.support.samples import SAMPLES

FLOW: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs" / "node-red" / "flow.json").read_text()
)
CODE: dict[str, str] = {each["name"]: each["func"] for each in FLOW if each["type"] == "function"}
TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
# Of @node-red/nodes itself: whoever imports the flow needs to install nothing.
CORE = {"tab", "comment", "debug", "function", "inject", "link out", "mqtt in", "mqtt-broker"}
# Runs functions as Node-RED does: a body with msg, context, env and node, and one context for each.
HARNESS = """
const { code, calls } = JSON.parse(require("fs").readFileSync(0));
const kept = {};
console.log(JSON.stringify(calls.map(([name, msg]) => {
    const store = (kept[name] ??= new Map());
    const context = { get: (key) => store.get(key), set: (key, value) => store.set(key, value) };
    const body = new Function("msg", "context", "env", "node", code[name]);
    return body(msg, context, { get: () => 3 }, { status: () => {} }) ?? null;
})));
"""


def _played(*calls: tuple[str, dict[str, Any]]) -> list[Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        [node, "-e", HARNESS],
        input=json.dumps({"code": CODE, "calls": calls}),
        capture_output=True,
        text=True,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    assert len(answers) == len(calls)
    return answers


def _frame(**changes: Any) -> dict[str, Any]:
    said = msgspec.structs.replace(SAID, device="cam-1", type="pi4", **changes)
    topic = TOPICS.of(FEEDBACK, type="pi4", device="cam-1")
    return {"topic": topic, "payload": bytes(encode(FEEDBACK, said)).decode()}


def _state(state: NodeState, boot: int, id_: str = "edge-1") -> dict[str, Any]:
    said = State(role="edge", id=id_, state=state, boot=boot, version="0.1")
    return {
        "topic": TOPICS.of(STATE, role="edge", id=id_),
        "payload": bytes(encode(STATE, said)).decode(),
    }


def test_it_listens_to_topics_of_the_table_and_writes_nothing() -> None:
    heard = {each["topic"]: int(each["qos"]) for each in FLOW if each["type"] == "mqtt in"}
    assert heard == {TOPICS.filter(FEEDBACK): FEEDBACK.qos, TOPICS.filter(STATE): STATE.qos}
    assert {each["type"] for each in FLOW} == CORE
    (broker,) = [each for each in FLOW if each["type"] == "mqtt-broker"]
    assert (broker["broker"], broker["birthTopic"], broker["willTopic"]) == ("127.0.0.1", "", "")


def test_it_holds_no_secrets() -> None:
    keys = {key for each in FLOW for key in each}
    assert "topic" in keys
    assert not {key for key in keys if re.search("credential|user$|password|token", key, re.IGNORECASE)}


def test_every_wire_leads_to_a_node_of_its_tab() -> None:
    tab = FLOW[0]["id"]
    ids = [each["id"] for each in FLOW]
    assert len(set(ids)) == len(ids)
    assert all(each["z"] == tab for each in FLOW if each["type"] not in {"tab", "mqtt-broker"})
    wires = [to for each in FLOW for port in each.get("wires", []) for to in port]
    assert len(wires) >= 10
    assert set(wires) <= set(ids)
    brokers = {each["id"] for each in FLOW if each["type"] == "mqtt-broker"}
    assert {each["broker"] for each in FLOW if each["type"] == "mqtt in"} == brokers


def test_its_functions_name_fields_that_messages_have() -> None:
    code = "\n".join(CODE.values())
    frames, states = set(re.findall(r"\bframe\.(\w+)", code)), set(re.findall(r"\bstate\.(\w+)", code))
    assert len(frames) >= 6
    assert frames <= {"kind", *Feedback.__struct_fields__}
    assert len(states) >= 4
    assert states <= {"kind", *State.__struct_fields__}
    (gone,) = re.findall(r"const GONE = (\[.*?\])", CODE["who is gone"])
    assert set(json.loads(gone)) < set(get_args(NodeState))
    assert all(f"{by}: 0" in CODE["summary of a minute"] for by in get_args(AnsweredBy))


def test_a_frame_becomes_its_latency_and_strangers_nothing() -> None:
    frame = _frame(total_ms=12.5)
    other = {**frame, "topic": TOPICS.of(FEEDBACK, type="pi4", device="cam-2")}
    read = "read a frame"
    told, *nothing = _played(
        (read, frame),
        (read, {**frame, "payload": "garbage"}),
        (read, {**frame, "payload": "{}"}),
        (read, other),
    )
    assert (told["topic"], told["payload"], told["key"]) == ("cam-1", 12.5, "pi4/cam-1")
    assert told["frame"]["policy"] == SAID.policy
    assert nothing == [None] * 3


def test_deadlines_missed_in_a_row_alert_once_and_once_when_it_is_over() -> None:
    def call(met: int) -> tuple[str, dict[str, Any]]:
        frame = {"deadline_met": bool(met), "total_ms": 900.4, "deadline_ms": 500.0}
        return "late in a row", {"topic": "cam-1", "key": "pi4/cam-1", "frame": frame}

    told = _played(*map(call, (1, 0, 0, 1, 0, 0, 0, 0, 1, 1)))
    assert [at for at, each in enumerate(told) if each] == [6, 8]
    assert told[6]["payload"] == {
        "kind": "late",
        "role": "device",
        "id": "cam-1",
        "text": "cam-1 missed 3 deadlines in a row, the last with 900 of 500 ms",
    }
    assert told[8]["payload"]["kind"] == "in time"


def test_a_node_that_goes_and_comes_back_is_told_by_its_state() -> None:
    name = "who is gone"
    forgotten = {"topic": TOPICS.of(STATE, role="edge", id="edge-1"), "payload": ""}
    told = _played(
        (name, _state("ready", 2)),
        (name, _state("lost", 1)),  # the will of an earlier start
        (name, _state("lost", 2)),
        (name, _state("lost", 2)),
        (name, _state("init", 3)),
        (name, _state("disconnected", 3)),
        (name, forgotten),
        (name, _state("disconnected", 3)),  # ended in order before anybody listened
        (name, _state("lost", 1, "edge-2")),  # lost before anybody listened
        (name, {**forgotten, "payload": "garbage"}),
    )
    kinds = [each and (each["payload"]["kind"], each["payload"]["id"]) for each in told]
    gone, back = ("offline", "edge-1"), ("online", "edge-1")
    assert kinds == [None, None, gone, None, back, gone, None, None, ("offline", "edge-2"), None]


def test_a_minute_is_summed_up_by_device_and_begins_anew() -> None:
    name = "summary of a minute"
    frames = [
        {"total_ms": 10.0, "deadline_met": True, "sent_bytes": 100, "answered_by": "edge"},
        {"total_ms": 31.0, "deadline_met": False, "sent_bytes": 0, "answered_by": "fallback"},
    ]
    said = [(name, {"key": "pi4/cam-1", "frame": frame}) for frame in frames]
    *nothing, first, second = _played(*said, (name, {}), (name, {}))
    assert nothing == [None, None]
    assert first["payload"] == [
        {
            "device": "cam-1",
            "type": "pi4",
            "frames": 2,
            "late": 1,
            "mean_ms": 20.5,
            "most_ms": 31,
            "by_device": 0,
            "by_edge": 1,
            "by_fallback": 1,
            "sent_bytes": 100,
        }
    ]
    assert second["payload"] == []
