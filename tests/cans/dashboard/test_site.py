"""What a dashboard knows, and what its tables and figures show of that: any message, any number of nodes."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.messages import Feedback, GroupWords, Message, NodeState, QueueNotice, State
from bus.topics import FEEDBACK, METRICS, QUEUE, STATE, WORDS, Topic, Topics
from bus.wire import encode
from cans.alarms import MOST_NODES
from cans.dashboard import charts, rows
from cans.dashboard.site import Site
from tests.support.samples import MODEL, SAMPLES

TOPICS = Topics()
SAID = next(each for _, each in SAMPLES if isinstance(each, Feedback))
WORDS_SAID = next(each for _, each in SAMPLES if isinstance(each, GroupWords))


def say(site: Site, row: Topic, said: Message | bytes, at_s: float = 0.0, **fields: str) -> None:
    payload = said if isinstance(said, bytes) else bytes(encode(row, said))
    site.take(TOPICS.of(row, **fields), payload, at_s)


def frame(site: Site, device: str, seq: int, at_s: float, **more: Any) -> None:
    said = msgspec.structs.replace(SAID, device=device, seq=seq, **more)
    say(site, FEEDBACK, said, at_s, type=said.type, device=device)


def state(role: str, id_: str, what: NodeState = "ready", **more: Any) -> State:
    return State(role=role, id=id_, state=what, boot=1, version="0.1", **more)


def small_site() -> Site:
    site = Site()
    say(site, STATE, state("device", "cam-1", type="pi4"), role="device", id="cam-1")
    say(site, STATE, state("device", "cam-2", "lost", type="pi4"), role="device", id="cam-2")
    say(site, STATE, state("edge", "edge-1", models=MODEL, load=2.0), role="edge", id="edge-1")
    say(site, STATE, state("aggregator", "agg", detail="1 group"), role="aggregator", id="agg")
    for seq in range(40):
        frame(
            site, "cam-1", seq, 0.5 * seq, total_ms=20.0 + seq, deadline_met=seq % 4 != 0, answered_by="edge"
        )
    say(
        site,
        METRICS,
        b'{"answered": 40, "batch_mean": 1.5, "rejected_overloaded": 3, "tail_ms_p50": 8}',
        20.0,
        role="edge",
        id="edge-1",
    )
    say(site, QUEUE, QueueNotice(edge="edge-1", free_ms=80.0, jobs=2), 19.99, edge="edge-1")
    say(site, WORDS, WORDS_SAID, type="pi4", model=MODEL)
    site.take("$SYS/broker/clients/connected", b"5", 1.0)
    return site


def test_tables_show_what_was_said() -> None:
    site = small_site()
    (kind,) = rows.types(site)
    assert (kind["type"], kind["devices"], kind["there"], kind["late"]) == ("pi4", 2, 1, "25.0 %")
    page = rows.devices(site, rows.Query(), 20.0)
    assert [row["id"] for row in page.rows] == ["cam-1", "cam-2"]
    assert page.rows[0]["latest"] == "59 ms"
    assert page.rows[1]["state"] == "lost"
    (edge,) = rows.edges(site, 20.0)
    assert (edge["wait"], edge["batch"], edge["answered"], edge["tail"]) == ("70 ms", "1.50", "40", "8.0 ms")
    assert rows.edges(site, 99.0)[0]["wait"] == "0.0 ms"
    ((refusal),) = rows.refusals(site)
    assert (refusal["who"], refusal["why"], refusal["count"]) == ("edge edge-1", "rejected overloaded", 3)
    assert rows.aggregators(site)[0]["detail"] == "1 group"
    assert rows.broker(site) == [{"name": "broker/clients/connected", "value": "5"}]
    assert rows.totals(site, 20.0)["answered by an edge worker"] == "100.0 %"
    assert rows.totals(site, 500.0)["median latency"] == "-"  # the last minute is empty by then


def test_what_a_group_knows_is_shown_with_its_intervals_and_what_it_does_not_is_left_out() -> None:
    shown = rows.learned(WORDS_SAID)
    assert {row["what"] for row in shown} == {
        name for name, field, unit in rows._QUANTITIES if getattr(WORDS_SAID, f"{field}_{unit}") is not None
    }
    nothing = {field: None for field in GroupWords.__struct_fields__ if field.endswith(("_ms", "_per_s"))}
    assert rows.learned(msgspec.structs.replace(WORDS_SAID, **nothing)) == []
    half = msgspec.structs.replace(WORDS_SAID, **nothing | {"wait_low_ms": 3.0, "wait_ms": 4.25})
    assert rows.learned(half) == [{"what": "waiting there", "value": "4.25 ms", "between": "3.00 to ? ms"}]


def test_alternatives_are_the_arms_that_were_played_and_the_fastest_comes_first() -> None:
    site = Site()
    for seq in range(6):
        frame(site, "cam-1", seq, seq, cut=3, codec="uint8", total_ms=50.0, answered_by="fallback")
        frame(
            site,
            "cam-1",
            seq,
            seq,
            cut=20,
            codec="none",
            total_ms=30.0 + seq,
            answered_by="device",
            expected_ms=0.0,
        )
    turns = list(site.devices["cam-1"].turns)
    first, second = rows.arms(turns)
    assert (first["arm"], first["median"], first["expected"]) == ("stays on the device", "32 ms", "-")
    assert (second["arm"], second["frames"], second["fallbacks"]) == ("cut 3, uint8", 6, 6)
    assert "nothing is known of the link" in rows.link(turns)
    frame(site, "cam-1", 9, 9.0, answered_by="edge", sent_bytes=125_000, link_ms=100.0)
    assert "10.00 Mbit/s" in rows.link(list(site.devices["cam-1"].turns))


def test_a_waterfall_has_all_of_a_frame() -> None:
    stages = rows.stages(SAID)
    assert sum(row["took"] for row in stages) == pytest.approx(SAID.total_ms, abs=0.5)
    assert [row["began"] for row in stages] == sorted(row["began"] for row in stages)
    drawn = charts.waterfall(stages, dark=False)
    assert [each["value"] for each in drawn["series"][1]["data"]] == [row["took"] for row in stages]


def test_devices_are_found_by_name_and_type_in_any_order_page_by_page() -> None:
    site = Site()
    for number in range(60):
        frame(
            site, f"cam-{number:02}", 1, float(number), total_ms=10.0 + number % 7, deadline_met=number != 5
        )
    page = rows.devices(site, rows.Query(page=3), 60.0)
    assert (page.pages, page.devices, len(page.rows)) == (3, 60, 10)
    assert page.in_words == "60 devices, 3 pages"
    assert rows.Page([], 1, 1).in_words == "1 device"
    assert rows.devices(site, rows.Query(page=99), 60.0).rows == page.rows  # there is no further one
    assert rows.devices(site, rows.Query(text="CAM-07"), 60.0).devices == 1
    assert rows.devices(site, rows.Query(text=SAID.type), 60.0).devices == 60
    assert rows.devices(site, rows.Query(text="nobody"), 60.0) == rows.Page([], 1, 0)
    assert rows.devices(site, rows.Query(order="slowest"), 60.0).rows[0]["mean"] == "16 ms"
    assert rows.devices(site, rows.Query(order="most late"), 60.0).rows[0]["id"] == "cam-05"
    assert rows.devices(site, rows.Query(order="silent longest"), 60.0).rows[0]["id"] == "cam-00"


def test_figures_say_who_answered_and_fit_any_site() -> None:
    site = small_site()
    turns = list(site.devices["cam-1"].turns)
    drawn = charts.latency(turns, 20.0, dark=True)
    by = {each["name"]: len(each["data"]) for each in drawn["series"]}
    assert by["answered by edge"] == 40
    assert by["answered by device"] == 0
    assert by["deadline"] in {0, 40}
    assert "40 frames" in charts.words_of_latency(turns)
    assert charts.words_of_latency(()) == "Latency over time: no frame yet."
    assert len(charts.stage_times(turns, dark=False)["xAxis"]["data"]) == 40
    assert charts.queues(site, 20.0, dark=False)["series"][0]["data"] == [[-0.01, 80.0]]
    (graph,) = charts.site_map(site, rows.types(site), dark=False)["series"]
    assert [each["name"].split("\n")[:2] for each in graph["data"]] == [
        ["broker"],
        ["pi4", "1 of 2 there"],
        ["edge", "edge-1"],
        ["aggregator", "agg"],
    ]
    sides = {each["value"][0] > 0.0: each["label"]["position"] for each in graph["data"][1:]}
    assert sides == {False: "left", True: "right"}
    assert len(graph["links"]) == 3
    empty = Site()
    assert charts.latency((), 0.0, dark=False)["series"]
    assert charts.site_map(empty, rows.types(empty), dark=False)["series"][0]["links"] == []


def test_alarms_are_kept_with_their_moments() -> None:
    site = small_site()
    say(site, STATE, state("edge", "edge-1", "lost"), 21.0, role="edge", id="edge-1")
    (alarm,) = rows.alarms(site, 30.0)
    assert (alarm["who"], alarm["kind"], alarm["when"]) == ("edge edge-1", "offline", "9 s ago")


def test_a_node_whose_state_is_removed_is_gone_and_a_false_name_is_not_believed() -> None:
    site = small_site()
    say(site, STATE, b"", role="device", id="cam-2")
    assert ("device", "cam-2") not in site.nodes
    say(site, STATE, state("edge", "edge-9"), role="edge", id="edge-1")
    assert site.nodes["edge", "edge-1"].state == state("edge", "edge-1", models=MODEL, load=2.0)
    assert site.unreadable == 1
    say(site, WORDS, b"", type="pi4", model=MODEL)
    assert site.words == {}


def test_what_finds_no_room_is_counted_and_nothing_grows_without_end() -> None:
    site = Site()
    for number in range(MOST_NODES + 5):
        frame(site, f"d{number}", 1, 0.0)
        say(site, STATE, state("edge", f"e{number}"), role="edge", id=f"e{number}")
        say(site, QUEUE, QueueNotice(edge=f"e{number}", free_ms=1.0, jobs=1), edge=f"e{number}")
        say(site, WORDS, WORDS_SAID, type=f"t{number}", model=MODEL)
        site.take(f"$SYS/broker/x{number}", b"y" * 9999, 0.0)
    assert site.left_out == 20
    assert len(site.devices) == len(site.nodes) == len(site.notices) == len(site.words) == MOST_NODES
    assert sum(map(len, site.broker.values())) <= 200 * 200
    for seq in range(100):
        frame(site, "d1", seq, 0.0)
    assert len(site.devices["d1"].turns) == 30  # of a crowd each keeps less
    one = Site()
    for seq in range(1000):
        frame(one, "d1", seq, 0.0)
    assert len(one.devices["d1"].turns) == 300


@given(
    st.sampled_from(
        ["state/device/a", "metrics/edge/b", "queue/c", "groups/t/m/words", "feedback/t/d", "no/such"]
    ),
    st.binary(max_size=60),
)
def test_no_payload_harms(topic: str, payload: bytes) -> None:
    site = Site()
    site.take(f"cans/v1/{topic}", payload, 0.0)
    site.take("other/program", payload, 0.0)
    site.take("$SYS/broker/name", payload, 0.0)
    rows.totals(site, 1.0)
    rows.devices(site, rows.Query(), 1.0)
    rows.edges(site, 1.0)
    rows.refusals(site)


@pytest.mark.parametrize(
    "payload", [b'{"rejected_x": 1e999}', b'{"rejected_x": -3}', b'{"a": "text"}', b"[]"]
)
def test_numbers_that_are_none_are_not_shown(payload: bytes) -> None:
    site = Site()
    say(site, METRICS, payload, role="edge", id="e")
    assert rows.refusals(site) == []


def test_times_and_shares_are_for_people() -> None:
    assert [rows.ms(value) for value in (None, math.nan, 3.14, 1234.5)] == ["-", "-", "3.1 ms", "1,234 ms"]
    assert [rows.ago(0.0, now) for now in (-5.0, 59.0, 600.0, 7300.0)] == [
        "0 s ago",
        "59 s ago",
        "10 min ago",
        "2 h ago",
    ]
    assert rows.share(1, 0) == "-"


def test_what_is_said_in_anothers_name_is_not_believed() -> None:
    """The broker's ACL binds topics alone."""
    site = Site()
    say(site, FEEDBACK, msgspec.structs.replace(SAID, device="victim"), type=SAID.type, device="evil")
    say(site, FEEDBACK, msgspec.structs.replace(SAID, type="other"), type=SAID.type, device=SAID.device)
    say(site, QUEUE, QueueNotice(edge="victim", free_ms=9.0, jobs=1), edge="evil")
    say(site, METRICS, b'{"a": 1, "b": "' + b"x" * METRICS.limit_bytes + b'"}', role="edge", id="e")
    assert (site.devices, site.notices, site.nodes, site.unreadable) == ({}, {}, {}, 4)


def test_a_copy_knows_the_same_and_goes_its_own_way() -> None:
    site = small_site()
    other = site.copy()
    for made in (site, other):
        assert rows.devices(made, rows.Query(), 20.0) == rows.devices(site, rows.Query(), 20.0)
        assert rows.edges(made, 20.0) == rows.edges(site, 20.0)
    frame(other, "cam-1", 99, 21.0)
    say(other, STATE, state("edge", "edge-1", "lost"), 21.0, role="edge", id="edge-1")
    assert (site.devices["cam-1"].frames, other.devices["cam-1"].frames) == (40, 41)
    assert (len(site.alarms), len(other.alarms)) == (0, 1)
    say(site, STATE, state("edge", "edge-1", "lost"), 22.0, role="edge", id="edge-1")
    assert len(site.alarms) == 1  # what it has noticed is its own, too
