import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ram_model.metrics import (
    assume_absent,
    average_precision,
    average_precisions,
    bootstrap_interval,
    decision_scores,
    expected_calibration_error,
    mean_average_precision,
    reference_mean_average_precision,
)


@pytest.fixture
def random_labels() -> np.ndarray:
    return (np.random.default_rng(0).random((300, 6)) < 0.2).astype(np.int8)


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_average_precision_equals_scikit_learn_with_ties(
    decimals: int, random_labels: np.ndarray
) -> None:
    scores = np.random.default_rng(1).random(random_labels.shape).round(decimals)
    expected = [
        sklearn_metrics.average_precision_score(random_labels[:, c], scores[:, c])
        for c in range(random_labels.shape[1])
    ]
    np.testing.assert_allclose(average_precisions(random_labels, scores), expected, atol=1e-12)


def test_perfect_random_and_inverted_predictors(random_labels: np.ndarray) -> None:
    labels = np.zeros(1000, np.int8)
    labels[:100] = 1
    assert average_precision(labels, labels.astype(float)) == 1.0
    assert average_precision(labels, np.zeros(1000)) == pytest.approx(0.1)  # all tied: prevalence
    # inverted: the k-th of 100 positives stands at rank 900 + k
    inverted = np.mean([k / (900 + k) for k in range(1, 101)])
    assert average_precision(labels, -np.arange(1000, 0, -1.0)) == pytest.approx(inverted)
    noise = np.random.default_rng(2).random((300, 200))
    many = np.tile(random_labels[:, :1], (1, 200))
    assert mean_average_precision(many, noise) == pytest.approx(many.mean(), abs=0.02)


def test_unverified_labels_do_not_count_but_in_the_reference_protocol() -> None:
    labels = np.array([[1, 0], [-1, 0], [0, 0], [1, -1]], dtype=np.int8)
    scores = np.array([[0.8, 0.1], [0.9, 0.2], [0.1, 0.3], [0.7, 0.4]])
    assert mean_average_precision(labels, scores) == 1.0  # the second tag has no positive
    first = (1 / 2 + 2 / 3) / 2  # the unverified image now stands first, and is wrong
    assert reference_mean_average_precision(labels, scores) == pytest.approx(first / 2)
    assert np.isnan(average_precision(labels[:, 1], scores[:, 1]))


def test_decisions_equal_scikit_learn(random_labels: np.ndarray) -> None:
    given = np.random.default_rng(3).random(random_labels.shape) < 0.3
    found = decision_scores(random_labels, given)
    for average, precision, recall in (
        ("macro", found.class_precision, found.class_recall),
        ("micro", found.overall_precision, found.overall_recall),
    ):
        expected = sklearn_metrics.precision_recall_fscore_support(
            random_labels,
            given,
            average=average,
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
        assert (precision, recall) == pytest.approx(expected[:2])
    p, r = found.class_precision, found.class_recall
    assert found.class_f1 == pytest.approx(2 * p * r / (p + r))


def test_decisions_on_unverified_labels_are_neither_right_nor_wrong() -> None:
    labels = np.array([[1, -1], [0, -1]], dtype=np.int8)
    given = np.array([[True, True], [False, True]])
    found = decision_scores(labels, given)
    assert (found.overall_precision, found.num_tags, found.tags_per_image) == (1.0, 1, 1.5)
    assert decision_scores(assume_absent(labels), given).overall_precision == pytest.approx(1 / 3)


def test_calibration_error_of_honest_and_of_boastful_scores() -> None:
    generator = np.random.default_rng(4)
    scores = generator.random((200, 200))
    labels = (generator.random((200, 200)) < scores).astype(np.int8)
    assert expected_calibration_error(labels, scores) < 0.01
    assert expected_calibration_error(labels, np.ones_like(scores)) == pytest.approx(0.5, abs=0.01)


def test_bootstrap_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        values = generator.normal(0.3, 1, 80)

        def mean(rows: np.ndarray, values: np.ndarray = values) -> float:
            return float(values[rows].mean())

        low, high = bootstrap_interval(mean, 80, num_draws=100, confidence=0.9, seed=trial)
        hits += low <= 0.3 <= high
    assert 165 <= hits <= 195  # 180 expected, standard deviation 4.2


def test_bootstrap_interval_stays_within_what_the_measure_can_be() -> None:
    values = np.array([1.0] * 9 + [0.0])

    def mean(rows: np.ndarray) -> float:
        return float(values[rows].mean())

    free_low, free_high = bootstrap_interval(mean, 10)
    assert free_high > 1
    assert bootstrap_interval(mean, 10, bounds=(0.0, 1.0)) == (free_low, 1.0)


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        average_precision(np.array([1, 0], np.int8), np.array([0.5, np.nan]))
