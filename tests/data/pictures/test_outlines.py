"""Several outlines of one sheet, found in several ways: which one is taken."""

import numpy as np
import pytest

from mnist_mlp.data.pictures import sheets

LEVELS = np.full((160, 160), 128, np.float32)


def square(start, bite=0):
    """Return a piece of 80×80 pixels; a bite out of one side, as of a shadow, leaves its corners as they are."""
    piece = np.zeros(LEVELS.shape, bool)
    piece[start : start + 80, start : start + 80] = True
    piece[start + 30 : start + 50, start : start + bite] = False
    return piece


@pytest.fixture
def found(monkeypatch):
    def corners_among(*pieces):
        monkeypatch.setattr(sheets, "pieces_in", lambda levels: iter(pieces))
        return [each.corners.min() * 160 for each in sheets.sheets_in(LEVELS)]

    return corners_among


def test_the_outline_that_fits_much_better_is_taken(found):
    whole, bitten = square(40), square(42, bite=20)
    assert found(bitten, whole) == found(whole, bitten) == [40.5]
    assert found(bitten) == [42.5]


def test_of_two_that_fit_about_as_well_the_first_stays(found):
    assert found(square(42, bite=5), square(40)) == [42.5]


def test_outlines_of_two_sheets_are_two(found):
    assert found(square(20), square(60)) == [20.5, 60.5]


def test_outlines_in_the_colours_displace_none(monkeypatch):
    """However many and large they are: in the light of a lamp, colours change by and by."""
    grey = [square(start) for start in range(0, 60, 10)]
    coloured = [square(start) | square(start + 4) for start in range(4, 64, 10)] + [square(20)]
    monkeypatch.setattr(sheets, "pieces_in", lambda levels: iter(coloured if levels[0, 0] == 90 else grey))
    alone = [each.corners.tolist() for each in sheets.sheets_in(LEVELS)]
    both = [each.corners.tolist() for each in sheets.sheets_in(LEVELS, np.full_like(LEVELS, 90))]
    assert len(alone) == 6 and both[:6] == alone and len(both) == 8
