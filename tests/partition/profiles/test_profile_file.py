"""A profile's file: it comes back as it was, and whatever else lies there is one sentence.

`python -m tests.partition.profiles.test_profile_file` writes the schema anew, after a deliberate change.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from msgspec.structs import replace

from bus.errors import ConfigurationError
from partition.profiles.profile_file import Profile, as_json, decode_profile, load_profile, read_profile
from tests.support.profiles import MODEL, SCHEMA, profile_of

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas" / "profile.json"


def schema_text() -> str:
    """The schema as it is published."""
    made = msgspec.json.schema(Profile)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "cans profile, version 2"}
    text = json.dumps({**head, **made}, indent=1, ensure_ascii=False)
    # Python's own anchors; other languages' validators know only these.
    return text.replace("\\\\A", "^").replace("\\\\Z", "$") + "\n"


def test_the_published_schema_is_that_of_the_code() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == schema_text()


def test_profiles_hold_the_published_schema_and_what_is_none_does_not() -> None:
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    measured = json.loads(as_json(profile_of(warnings=("busy",))))
    assert list(check.iter_errors(measured)) == []
    changes: tuple[dict[str, object], ...]
    changes = ({"version": 3}, {"later": 1}, {"model": "x"}, {"arms": []}, {"repeats": 0})
    for wrong in changes:
        assert list(check.iter_errors(measured | wrong)), wrong
    del measured["whole"]
    assert list(check.iter_errors(measured))


def test_a_profile_comes_back_as_it_was_a_part_a_line(tmp_path: Path) -> None:
    path = tmp_path / "pi4.json"
    made = profile_of(warnings=("busy",))
    made.save(path)
    assert read_profile(path) == made
    assert made.trusted is False
    assert [file.name for file in tmp_path.iterdir()] == ["pi4.json"]
    lines = path.read_text().splitlines()
    assert sum('"label"' in line for line in lines) == 3
    assert max(map(len, lines)) < 1000


def test_a_file_that_cannot_be_written_leaves_the_older_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write the profile"):
        profile_of().save(tmp_path / "nowhere" / "x.json")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match="cannot write the profile"):
        profile_of().save(folder)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"version": 1},
        {"columns": ["a"]},
        {"front": [True]},
        {"later": 1},
        {"arms": []},
        {"model": "x"},
        {"warnings": "busy"},
        {"repeats": 0},
        {"whole": {"median_ms": -1.0, "low_ms": 0.0, "high_ms": 0.0, "mad_ms": 0.0}},
    ],
)
def test_what_is_no_profile_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "pi4.json"
    path.write_text(json.dumps(json.loads(as_json(profile_of())) | changes))
    with pytest.raises(ConfigurationError, match="is no profile of version 2"):
        read_profile(path)


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_bytes_that_are_none_are_refused(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "pi4.json"
    path.write_bytes(payload)
    with pytest.raises(ConfigurationError, match="is no profile of version 2"):
        read_profile(path)
    with pytest.raises(ConfigurationError, match="cannot read the profile"):
        read_profile(tmp_path / "none.json")


def test_contexts_are_finite() -> None:
    made = profile_of()
    arm = replace(made.arms[0], context=(0.0, float("nan"), 0.0, 0.0))
    with pytest.raises(ValueError, match="not finite"):
        profile_of(arms=(arm, *made.arms[1:]))
    with pytest.raises(ValueError, match="lengths"):
        decode_profile(as_json(made).replace(b"[true,true,false,false]", b"[true,true,false]"))


def test_another_model_other_codecs_and_another_machine_are_told(tmp_path: Path) -> None:
    path = tmp_path / "pi4.json"
    made = profile_of()
    made.save(path)
    assert load_profile(path, MODEL, SCHEMA, made.machine) == made
    assert load_profile(path, MODEL, SCHEMA, replace(made.machine, system="Other 1", memory_mib=1)) == made
    other = replace(made.machine, processor="Raspberry Pi 9", cores=64)
    with pytest.raises(ConfigurationError, match=r"of another machine \(processor .*, not Raspberry Pi 9\)"):
        load_profile(path, MODEL, SCHEMA, other)
    assert load_profile(path, MODEL, SCHEMA, None) == made
    with pytest.raises(ConfigurationError, match=f"is of model {MODEL} "):
        load_profile(path, "f" * 16, SCHEMA, None)
    with pytest.raises(ConfigurationError, match="of other codecs"):
        load_profile(path, MODEL, "f" * 16, None)


def test_seconds_of_each_arm() -> None:
    made = profile_of()
    assert made.front_s == pytest.approx((0.002, 0.009, 0.020))
    assert made.edge_s == pytest.approx((0.0215, 0.0125, 0.0))


def test_rows_of_the_devices_own_work_are_exits_and_heads_that_encode_nothing() -> None:
    rows = list(itertools.islice(profile_of().front_rows(), 6))
    contexts = [context for context, _ in rows]
    # The arm that encodes is left out, and the one that runs nothing here.
    assert contexts[:3] == contexts[3:] == [(0.3, 0.0, 0.0, 0.0), (1.1, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)]
    assert [seconds for _, seconds in rows[:3]] == [0.006, 0.020, 0.020]
    assert [seconds for _, seconds in rows[3:]] == pytest.approx([0.0057, 0.019, 0.020])
    plain = profile_of(columns=("front.conv_macs", "front.other", "link.bits", "offload"))
    assert len(list(itertools.islice(plain.front_rows(), 4))) == 4


if __name__ == "__main__":
    PUBLISHED.write_text(schema_text(), encoding="utf-8")
