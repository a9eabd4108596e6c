"""What docs/ has for other programs' exporters and dashboards names topics and fields that there are."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from bus.messages import AnsweredBy, Feedback, Message, QueueNotice, State
from bus.stages import STAGES
from bus.topics import FEEDBACK, QUEUE, STATE, Role, Topic, Topics

DOCS = Path(__file__).parents[2] / "docs"
TOPICS = Topics()
EXPORTER: dict[str, Any] = yaml.safe_load((DOCS / "mqtt2prometheus.yaml").read_text())
BOARD: dict[str, Any] = json.loads((DOCS / "grafana" / "mqtt.json").read_text())
PANELS: list[dict[str, Any]] = BOARD["panels"]
MESSAGES: dict[Topic, type[Message]] = {FEEDBACK: Feedback, QUEUE: QueueNotice, STATE: State}


def test_mqtt2prometheus_listens_to_feedback_and_finds_the_device_in_its_topic() -> None:
    mqtt = EXPORTER["mqtt"]
    assert mqtt["topic_path"] == TOPICS.filter(FEEDBACK)
    assert mqtt["qos"] == FEEDBACK.qos
    found = re.fullmatch(mqtt["device_id_regex"], TOPICS.of(FEEDBACK, type="pi4", device="cam-1"))
    assert found is not None
    assert found["deviceid"] == "cam-1"
    assert not {"user", "password"} & mqtt.keys()


def test_mqtt2prometheus_reads_fields_of_feedback_once_each_and_names_them_by_unit() -> None:
    metrics = EXPORTER["metrics"]
    fields, names = [each["mqtt_name"] for each in metrics], [each["prom_name"] for each in metrics]
    assert set(fields) <= set(Feedback.__struct_fields__)
    assert {"total_ms", "capture_ms", *(f"{stage}_ms" for stage in STAGES)} <= set(fields)
    # Of two metrics of one field it shows the first alone.
    assert len(set(fields)) == len(fields)
    assert len(set(names)) == len(names)
    # A last value is not what `cans prometheus` shows under a like name.
    assert all(name.startswith("cans_last_frame_") for name in names)
    for each in metrics:
        milliseconds = each["mqtt_name"].endswith("_ms")
        assert each["prom_name"].endswith("_seconds") is milliseconds
        assert each.get("mqtt_value_scale") == (0.001 if milliseconds else None)
        assert each["help"]


def test_mqtt2prometheus_has_a_number_for_everyone_who_answers() -> None:
    (metric,) = [each for each in EXPORTER["metrics"] if each["mqtt_name"] == "answered_by"]
    numbers = metric["string_value_mapping"]["map"]
    assert set(numbers) == set(get_args(AnsweredBy))
    assert all(f"{number}: " in metric["help"] for number in numbers.values())


def test_the_live_dashboard_has_a_variable_for_whatever_a_topic_leaves_open() -> None:
    variables = {each["name"] for each in BOARD["templating"]["list"]}
    asked = {name for panel in PANELS for name in re.findall(r"\$\{(\w+)\}", json.dumps(panel))}
    assert asked == variables
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    (source,) = [each for each in BOARD["templating"]["list"] if each["type"] == "datasource"]
    assert {panel["datasource"]["type"] for panel in PANELS} == {source["query"]}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_live_panel_shows_fields_of_one_topic_that_a_watcher_may_read(panel: dict[str, Any]) -> None:
    values = {each["name"]: each.get("query", "") for each in BOARD["templating"]["list"]}
    # One topic each: the plugin does not say which topic of a filter a message came from.
    (target,) = panel["targets"]
    topic = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], target["topic"])
    address = Topics(values["prefix"]).parse(topic)
    assert address is not None, topic
    assert Role.WATCHER in address.topic.readers
    (shown,) = panel["transformations"]
    time, *fields = shown["options"]["include"]["names"]
    assert time == "Time"
    assert fields
    assert set(fields) <= set(MESSAGES[address.topic].__struct_fields__)


def test_the_live_stages_are_those_of_a_frame() -> None:
    (panel,) = [each for each in PANELS if each["title"] == "Where a frame's time went"]
    names = panel["transformations"][0]["options"]["include"]["names"]
    assert names == ["Time", *(f"{stage}_ms" for stage in STAGES)]
