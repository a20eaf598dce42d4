"""Two readings of a picture as different digits: which of them stand, by where they are and what agrees with them."""

import numpy as np
import pytest

from mnist_mlp.data.pictures import reading
from mnist_mlp.data.pictures.ink import EVEN, InkMap

WHOLE = reading.Paper(reading.WHOLE, np.zeros((100, 200), np.float32))
QUARTER = np.array([(0.5, 0.5), (0.5, 1), (1, 1), (1, 0.5)])  # the lower right one, of a picture


def candidate(top, bottom, left, right, paper=WHOLE, pen="dark"):
    ink = np.zeros(paper.levels.shape, np.float32)
    ink[top:bottom, left:right] = 1
    return reading.Candidate(reading.Hypothesis(paper, InkMap(ink, pen, EVEN, 200.0, 0.0), {}), [0])


def as_digit(digit, cost, of):
    return reading.Reading(of, 1.0, digit, {"likeness": cost})


@pytest.fixture(scope="module")
def sheet():
    return reading.Paper("a light sheet in the picture", np.zeros((50, 50), np.float32), 0.25, QUARTER)


def test_the_place_of_a_digit_on_a_sheet(sheet):
    np.testing.assert_allclose(candidate(20, 60, 50, 150).place, [0.2, 0.6, 0.25, 0.75])
    np.testing.assert_allclose(candidate(0, 25, 10, 40, sheet).place, [0.5, 0.75, 0.6, 0.9])
    leaning = reading.Paper("it", sheet.levels, 0.0, np.array([(0.4, 0.0), (0.0, 0.6), (0.6, 1.0), (1.0, 0.4)]))
    np.testing.assert_allclose(candidate(0, 50, 0, 25, leaning).place, [0.0, 0.8, 0.0, 0.7])


def test_what_several_readings_agree_on_is_taken(sheet):
    """An 8 on a sheet; a light pen may have drawn a 5 between its strokes."""
    on_the_sheet, whole = candidate(5, 45, 10, 40, sheet), candidate(55, 95, 120, 180)
    eights = [as_digit(8, 0.2, whole), as_digit(8, 0.22, on_the_sheet), as_digit(8, 0.25, on_the_sheet)]
    between = as_digit(5, 0.28, candidate(60, 90, 130, 170, pen="light"))
    assert reading.rival_of(eights[0], [*eights, between]) is None
    assert reading.rival_of(eights[0], [eights[0], between]) is between
    fives = [between, as_digit(5, 0.28, candidate(10, 40, 15, 35, sheet, "light"))]
    assert reading.rival_of(eights[0], [eights[0], eights[1], *fives]) is between  # two agree on that, too


def test_a_digit_elsewhere_is_another_one(sheet):
    """However many readings agree on the first."""
    eights = [as_digit(8, 0.2 + index / 1000, candidate(5, 45, 10, 40, sheet)) for index in range(9)]
    five = as_digit(5, 0.28, candidate(10, 50, 10, 50))
    assert reading.rival_of(eights[0], [*eights, five]) is five
    dear = as_digit(5, 0.31, candidate(10, 50, 10, 50))
    assert reading.rival_of(eights[0], [*eights, dear]) is None
