"""How many threads torch takes: chosen by measurement, never more than pay, and kept in every thread."""

import threading

import numpy as np
import pytest
import torch

from partition.backends.threads import ThreadChoice, asked, choose_threads, offered
from partition.networks.zoo import load_model
from partition.partitioned import PartitionedModel, build

TINY = "tests.support.tiny_network:make"


@pytest.mark.parametrize(
    ("seconds", "threads", "words"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.25}, 4, "4 threads, 4.00x of 1"),
        ({1: 1.0, 2: 0.5, 4: 0.49}, 2, "2 threads, 2.00x of 1"),
        ({1: 1.0, 2: 0.98}, 1, "1 thread (2 threads 1.02x)"),
        ({1: 1.0, 2: 2.0}, 1, "1 thread (2 threads 0.50x)"),
        ({1: 1.0}, 1, "1 thread"),
    ],
)
def test_the_fewest_threads_with_which_nothing_is_lost(
    seconds: dict[int, float], threads: int, words: str
) -> None:
    choice = ThreadChoice(seconds)
    assert (choice.threads, choice.words) == (threads, words)


def test_what_is_offered_is_shared_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, workers, counts in (
        (1, 1, (1,)),
        (4, 1, (1, 2, 4)),
        (6, 1, (1, 2, 4, 6)),
        (6, 2, (1, 2, 3)),
        (2, 4, (1,)),
    ):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert offered(workers) == counts
        assert asked(None, "auto", workers) == counts
    assert asked(None, "eager") == 1
    assert asked(3, "auto") == 3


def test_every_number_runs_with_that_number() -> None:
    seen: list[int] = []
    before = torch.get_num_threads()
    try:
        choice = choose_threads(lambda: seen.append(torch.get_num_threads()), (2, 1), limit_s=0.0)
    finally:
        torch.set_num_threads(before)
    assert list(choice.seconds) == [1, 2]
    assert set(seen) == {1, 2}
    assert seen[::2] == seen[1::2]  # each is run once to wake its threads, then timed


def threads_of(model: PartitionedModel) -> int:
    model.run_head(np.zeros((224, 224, 3), np.uint8), model.device_only)
    return torch.get_num_threads()


def test_a_model_keeps_what_was_chosen_in_every_thread_and_beside_other_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Which is faster here and now is the machine's matter: the measured times are given.
    monkeypatch.setattr(ThreadChoice, "threads", 2)
    model, other = build(load_model(TINY), threads=(1, 2), backend="auto"), build(load_model(TINY))
    assert threads_of(model) == 1  # until it is chosen
    model.choose_backends()
    assert "thread" in model.backend_words.split("; ")[-1]
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(threads_of(each) for each in (model, other, model)))
    thread.start()
    thread.join()
    assert found == [2, 1, 2]
    assert [threads_of(each) for each in (other, model, other)] == [1, 2, 1]


def test_a_number_that_was_given_is_not_measured() -> None:
    model = build(load_model(TINY), threads=1, backend="auto")
    model.choose_backends()
    assert "thread" not in model.backend_words
