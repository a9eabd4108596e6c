"""`cans schema`: what it says of the bus, against the table and real messages."""

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from bus.messages import Message
from bus.topics import METRICS, TABLE, Form, Role, Topic, Topics
from bus.wire import encode, kinds_of
from cans.__main__ import main as command_line
from cans.api_document import asyncapi, json_schemas
from tests.support.samples import SAMPLES

DOCS = Path(__file__).parents[2] / "docs"


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command_line, ["schema", *map(str, arguments)])
    return done.exit_code, done.output


def test_the_documents_are_what_the_command_writes(tmp_path: Path) -> None:
    code, said = _run()
    assert code == 0
    assert json.loads(said) == json.loads((DOCS / "asyncapi.json").read_text())
    assert _run("--json-schemas", tmp_path)[0] == 0
    kept = {path.name: path.read_text() for path in (DOCS / "schemas" / "bus").iterdir()}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == kept


def test_every_row_has_its_channel_and_whoever_may_do_what_there() -> None:
    document = asyncapi("site/a")
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {template for _, template in Topics("site/a").rows()}
    operations = document["operations"].values()
    assert len(operations) == sum(len(topic.writers) + len(topic.readers) for topic in TABLE)
    sent = document["operations"]["deviceSendsStats"]
    assert (sent["action"], sent["bindings"]["mqtt"]["qos"]) == ("send", 1)
    assert "own id" in sent["summary"]
    assert document["operations"]["aggregatorSendsGroups"]["bindings"]["mqtt"]["retain"] is True
    assert not any(name.startswith(Role.WATCHER.value + "Sends") for name in document["operations"])


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi("cans/v1")
    references: list[str] = []

    def collect(part: object) -> None:
        if isinstance(part, dict):
            references.extend([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
            for each in part.values():
                collect(each)
        elif isinstance(part, list):
            for each in part:
                collect(each)

    collect(document)
    assert len(references) > 50
    for reference in references:
        place: object = document
        for step in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            place = place[step]


@pytest.mark.parametrize(
    ("topic", "sample"),
    [pair for pair in SAMPLES if pair[0].form is Form.JSON],
    ids=lambda each: type(each).__name__,
)
def test_real_messages_are_as_the_schema_says(topic: Topic, sample: Message) -> None:
    schema = json_schemas()[f"{topic.name}{topic.leaf.capitalize()}"]
    jsonschema.Draft202012Validator.check_schema(schema)
    said = json.loads(encode(topic, sample))
    jsonschema.validate(said, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said | {"kind": "nothing"}, schema)


def test_metrics_are_numbers() -> None:
    schema = json_schemas()["metrics"]
    jsonschema.validate({"tail_ms": 1.5}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tail_ms": "fast"}, schema)
    assert kinds_of(METRICS) == ()


def test_what_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, sentence in (
        (("--prefix", "a//b"), "give another --prefix"),
        (("--json-schemas", tmp_path / "file" / "x"), "cannot write into"),
    ):
        code, said = _run(*arguments)
        assert (code, sentence in said) == (2, True), said
