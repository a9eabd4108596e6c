"""The table of other people's networks, and the page that a trial of them writes."""

from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from lab import models_table
from lab.networks import build
from lab.networks.entries import Entry, entries
from lab.networks.trial import Outcome, attempt
from partition.graphs import example
from partition.networks import sources

LINEAR = Entry(
    id="linear",
    library="torch",
    family="perceptron",
    model='lab.networks:build({"torch.nn:Sequential": [{"torch.nn:Linear": [4, 2]}, {"torch.nn:ReLU": []}]})',
    inputs=("1x4",),
)


def test_every_entry_is_what_the_command_takes() -> None:
    for entry in entries():
        source = sources.parse(entry.model)
        assert source.kind == "callable", entry.id
        assert example.parse(entry.inputs).tensors, entry.id


def test_the_trial_is_as_wide_as_it_claims() -> None:
    assert len(entries()) >= 60
    assert len({entry.family for entry in entries()}) >= 10
    assert len({entry.library for entry in entries()}) >= 6


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "networks.toml"
    one = '[[network]]\nid = "a"\nlibrary = "b"\nfamily = "c"\nmodel = "d:e"\ninputs = []\n'
    table.write_text(one + one)
    with pytest.raises(ValueError, match="several networks called a"):
        entries(table)


def test_build_makes_the_calls_among_the_arguments_first() -> None:
    module = build(**{"torch.nn:Sequential": [{"torch.nn:Linear": {"in_features": 3, "out_features": 2}}]})
    assert isinstance(module, nn.Sequential)
    assert module(torch.ones(1, 3)).shape == (1, 2)


def test_build_hands_over_what_is_no_call() -> None:
    made = build(**{"builtins:dict": {"plain": {"a": 1}, "class": {"torch.nn:ReLU": None}, "list": [1, "b"]}})
    assert made == {"plain": {"a": 1}, "class": nn.ReLU, "list": [1, "b"]}


@pytest.mark.system
def test_a_network_is_tried_by_the_command_itself() -> None:
    outcome = attempt(LINEAR, limit_s=120.0)
    assert outcome.ending == "cut", outcome.said
    assert (outcome.traced, outcome.macs, outcome.macs_by_torch) == ("symbolic", 8, 8)
    assert outcome.exact == {"1": True, "8": True}


@pytest.mark.system
def test_a_network_that_cannot_be_built_is_refused_in_one_sentence() -> None:
    outcome = attempt(msgspec.structs.replace(LINEAR, model="torch.nn:Linear([4])"), limit_s=120.0)
    assert outcome.ending == "refused"
    assert "out_features" in outcome.said
    assert "Traceback" not in outcome.said


@pytest.mark.system
def test_a_network_that_takes_too_long_is_ended() -> None:
    assert attempt(LINEAR, limit_s=0.01).ending == "too slow"


def test_a_library_that_is_missing_is_said_so() -> None:
    outcome = attempt(msgspec.structs.replace(LINEAR, library="no-such-library-anywhere"), limit_s=1.0)
    assert outcome == Outcome(id="linear", version=None, ending="not installed")


def test_the_page_counts_what_was_tried() -> None:
    done = Outcome(
        id="linear",
        version="2.0",
        ending="cut",
        traced="symbolic",
        nodes=3,
        places=1,
        useful=1,
        most_tensors=2,
        macs=3_000_000,
        macs_by_torch=1_500_000,
        exact={"1": True},
        not_checked={"8": "it takes one only"},
        seconds=2.0,
    )
    refused = Outcome(id="other", version="1", ending="refused", said="it\nbranches")
    absent = Outcome(id="third", version=None, ending="not installed")
    never = Outcome(id="fourth", version=None, ending="not tried")
    outcomes = (done, refused, absent, never)
    rows = [(msgspec.structs.replace(LINEAR, id=each.id), each) for each in outcomes]
    page = models_table.page(rows)
    assert "of 2 networks of 1 families from 1 libraries, 1 are cut" in page
    assert "| linear | torch 2.0 | perceptron | exact | symbolic | 3 | 1 | 1 | 2 | 3.0 | 2.000 | 2 |" in page
    assert "- **linear**, batch 8: it takes one only" in page
    assert "- **other**: it branches" in page
    assert "| third | torch | perceptron | not installed |" in page


def test_the_published_page_is_of_the_table_as_it_is() -> None:
    published = models_table.PAGE.read_text(encoding="utf-8")
    missing = [entry.id for entry in entries() if f"\n| {entry.id} | " not in published]
    assert not missing, "run python -m lab.models_table"
