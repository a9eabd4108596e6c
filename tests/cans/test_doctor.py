"""`cans doctor`: what works, what is missing, how to mend it."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from cans.__main__ import main
from cans.doctors.findings import Finding, can
from cans.doctors.testbed import examine


def test_what_needs_nothing_that_is_amiss_works() -> None:
    findings = [
        Finding("one", "a", ok=True, found="", mend=""),
        Finding("one", "b", ok=False, found="", mend="do this"),
        Finding("two", "a", ok=True, found="", mend=""),
        Finding("", "a note", ok=False, found="", mend=""),
    ]
    assert can(findings) == {"one": False, "two": True}


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "testbed"]])
def test_portable_works_here_and_netns_is_said(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "portable: works" in result.output
    assert "netns: " in result.output


def test_programs_get_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["doctor", "testbed", "--json"])
    found = json.loads(result.output)
    assert (result.exit_code, found["can"]) == (0, {"portable": True, "netns": False})
    (root,) = [each for each in found["findings"] if each["name"] == "root"]
    assert (root["ok"], root["found"]) == (False, "user 1000")
    assert "root" in root["mend"]


def test_without_a_broker_it_fails_and_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    (broker,) = [each for each in examine() if each.name == "a broker"]
    assert (broker.ok, broker.found) == (False, "none")
    assert CliRunner().invoke(main, ["doctor", "testbed"]).exit_code == 1
