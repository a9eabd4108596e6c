"""When an exit may answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import ConfigurationError
from partition.networks.exit_heads import NEVER
from partition.training.thresholds import images_needed, temperature_of, threshold_of


@pytest.mark.parametrize(("agreement", "images"), [(0.99, 99), (0.9, 9), (0.95, 19), (0.5, 1)])
def test_an_agreement_needs_so_many_images(agreement: float, images: int) -> None:
    assert images_needed(agreement) == images
    assert threshold_of(np.full(images, 0.7), np.ones(images, dtype=bool), agreement) == 0.7
    with pytest.raises(ConfigurationError, match=f"hold out at least {images}"):
        threshold_of(np.full(images - 1, 0.7), np.ones(images - 1, dtype=bool), agreement)


@pytest.mark.parametrize("agreement", [0.0, 1.0, -1.0, float("nan")])
def test_an_agreement_lies_between_0_and_1(agreement: float) -> None:
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        threshold_of(np.ones(200), np.ones(200, dtype=bool), agreement)


def test_an_exit_that_is_wrong_where_it_is_surest_never_answers() -> None:
    confidence = np.linspace(0.1, 1.0, 12)
    assert threshold_of(confidence, confidence < 0.9, 0.9) == NEVER


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9, 0.95]), st.booleans()), min_size=9, max_size=60)
)
@settings(max_examples=60)
def test_the_lowest_threshold_whose_losses_are_allowed_is_found(rows: list[tuple[float, bool]]) -> None:
    confidence = np.array([row[0] for row in rows])
    agrees = np.array([row[1] for row in rows])

    def allowed(threshold: float) -> bool:
        losses = int(((confidence >= threshold) & ~agrees).sum())
        return (losses + 1) / (len(rows) + 1) <= 0.1 + 1e-9

    expected = min([each for each in set(confidence.tolist()) if allowed(each)], default=NEVER)
    assert threshold_of(confidence, agrees, 0.9) == expected


def test_on_images_like_those_calibrated_on_the_promise_holds() -> None:
    """Mean risk over many calibrations stays below 1 - agreement, as the theorem says."""
    random = np.random.default_rng(0)
    risks = []
    for _ in range(400):
        confidence = random.random(50 + 2000)
        agrees = random.random(2050) < confidence
        threshold = threshold_of(confidence[:50], agrees[:50], 0.9)
        risks.append(float(((confidence[50:] >= threshold) & ~agrees[50:]).mean()))
    assert 0.05 < float(np.mean(risks)) <= 0.1


def test_the_temperature_of_overconfident_logits_cools_them() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = np.array([random.choice(5, p=row) for row in chances])
    assert temperature_of(4.0 * logits, answers) == pytest.approx(4.0, rel=0.15)
