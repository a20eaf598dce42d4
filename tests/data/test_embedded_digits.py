"""The embedded digits: rebuilt byte for byte, and drawn like MNIST."""

import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mnist_mlp.data import embedded_digits

# Of digits.csv, 6ebb3d2f…, once its lines are sorted as text and joined by "\n".
SORTED_TABLE_SHA256 = "fc1255d0784918cf3940a07ef6f3daddcbd3d2d03a4d273dbca0ff254be2b974"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_digits.py"


@pytest.fixture(scope="module")
def make_digits():
    spec = importlib.util.spec_from_file_location("make_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    return np.load(embedded_digits.FILE)


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_the_file_is_what_the_script_builds(tmp_path):
    result = run("--output", tmp_path / "digits.npy")
    if "pip could not download" in result.stderr:
        pytest.skip("scikit-learn's wheel cannot be downloaded here")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "digits.npy").read_bytes() == embedded_digits.FILE.read_bytes()


def test_another_table_is_refused(tmp_path):
    (tmp_path / "digits.csv").write_text("0,0\n")
    result = run("--check", "--csv", tmp_path / "digits.csv")
    assert result.returncode == 1 and "expected the table with SHA-256" in result.stderr


def test_the_shipped_file_holds_the_published_table(make_digits, table):
    """Without a network: the file has the lines of the published text, and the script's split."""
    assert table.dtype == np.uint8 and table.shape == (1797, 65) and table[:, 1:].max() == 16
    assert embedded_digits.FILE.stat().st_size < 200_000
    counts = np.bincount(table[:, 0])
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    test = np.bincount(table[embedded_digits.TRAIN :, 0])
    assert test.sum() == make_digits.TEST_SIZE and (abs(test - counts * 360 / 1797) < 1).all()
    lines = sorted(",".join(map(str, [*row[1:], row[0]])) for row in table)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == SORTED_TABLE_SHA256


def test_digits_are_framed_as_mnist_is():
    arrays = embedded_digits.load()
    images = np.concatenate([arrays["x_train"], arrays["x_test"]]).astype(float)
    ink = images.sum(axis=(1, 2))
    for axis in (1, 2):
        centre = images.sum(axis=axis) @ np.arange(28) / ink
        assert (abs(centre - 14) <= 0.5).all()  # as in MNIST: 13.48 to 14.50
    extent = [np.ptp(np.flatnonzero(image.any(axis=1))) + 1 for image in images]
    assert min(extent) >= 19 and max(extent) == 20
    assert images.max() == 255 and (images[:, :4].max(), images[:, :, :2].max()) < (255, 1)


def test_enlarging_keeps_grey_levels_and_direction():
    digit = np.zeros((1, 8, 8), np.uint8)
    digit[0, :, 3] = 16
    digit[0, 7, 3:6] = 8  # a foot to the right, half as dark
    (image,) = embedded_digits.enlarge(digit)
    column = image[8].argmax()
    assert image[8, column] == 230  # 90%: a line of one pixel is smoothed
    assert image[image.any(axis=1)][-1, column + 6] > 0
    assert image[-8:, : column - 4].max() == 0  # nothing to the left of the stem
    assert np.abs(image.sum() - digit.sum() * 255 / 16 * 2.5**2) < image.sum() * 0.07


def test_loading_takes_less_than_50_ms():
    """On a quiet machine; here twice that is allowed, in CPU time."""
    embedded_digits.load()
    times = []
    for _ in range(5):
        start = time.process_time()
        embedded_digits.load()
        times.append(time.process_time() - start)
        if times[-1] < 0.1:
            break
    assert min(times) < 0.1
