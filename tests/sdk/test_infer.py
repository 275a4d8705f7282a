import numpy as np
import pytest

from cutpoint.sdk.commands.infer import top_classes


def test_logits_become_probabilities() -> None:
    best = top_classes(np.log(np.array([[0.1, 0.7, 0.2]])) + 5, ("a", "b", "c"), 2)
    assert [label for label, _ in best] == ["b", "c"]
    assert best[0][1] == pytest.approx(0.7)


def test_probabilities_stay_what_they_are() -> None:
    assert top_classes(np.array([0.25, 0.75]), ("a", "b"), 1) == [("b", 0.75)]


def test_classes_without_names_get_their_number() -> None:
    assert [label for label, _ in top_classes(np.array([3.0, 9.0, 1.0]), ("only",), 9)] == ["1", "only", "2"]
