"""What numbers mean: the same in files, requests and Python, for one image as for many; or a refusal that helps."""

import json

import numpy as np
import pytest

from mnist_mlp.data import Dataset, Split
from mnist_mlp.data.array_files import read_images, to_images
from mnist_mlp.data.pixel_values import UnknownScale, to_grey_levels
from mnist_mlp.errors import UserError


@pytest.fixture(scope="module")
def images(digits):
    return digits.test.images[:20]


def in_a_file(array, tmp_path):
    np.save(tmp_path / "images.npy", array)
    return read_images(tmp_path / "images.npy")


def in_a_request(array, tmp_path):
    """As JavaScript writes it: without a point where there are no fractions."""
    request_images = pytest.importorskip("mnist_mlp.serve.request_images", reason="the extra serve is not installed")
    from mnist_mlp.serve.limits import Limits

    values = [value if type(value) is bool or value % 1 else int(value) for value in array.ravel().tolist()]
    shaped = np.array(values, object).reshape(array.shape).tolist()
    return request_images.read(json.dumps({"instances": shaped}).encode(), Limits()).images


def in_python(array, tmp_path):
    return to_images(array, "images")


WAYS = [in_a_file, in_a_request, in_python]
SAME = {  # of images of 0 and 255 alone: how they may be written
    "grey levels": lambda binary: binary,
    "0 and 1": lambda binary: binary // 255,
    "0 and 1 as int64": lambda binary: (binary // 255).astype(np.int64),
    "0.0 and 1.0": lambda binary: (binary / 255).astype(np.float32),
    "false and true": lambda binary: binary > 0,
    "grey levels as float32": lambda binary: binary.astype(np.float32),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", SAME)
def test_black_and_white_images_are_the_same_however_they_are_written(way, case, images, tmp_path):
    binary = np.where(images > 127, 255, 0).astype(np.uint8)
    written = SAME[case](binary)
    np.testing.assert_array_equal(way(written, tmp_path), binary)
    for index in (0, 7):  # and alone as among others
        np.testing.assert_array_equal(way(written[index : index + 1], tmp_path)[0], binary[index])


@pytest.mark.parametrize("way", WAYS)
def test_ink_and_grey_levels_are_the_same(way, images, tmp_path):
    for written in (images, images / 255, images.astype(np.float64), images.astype(np.uint16)):
        np.testing.assert_array_equal(way(written, tmp_path), images)
    blank = np.zeros((2, 28, 28), np.uint8)
    assert way(blank, tmp_path).max() == way(blank.astype(float), tmp_path).max() == 0


UNKNOWN = {  # the scales that people have, and what the refusal says
    "scikit-learn's digits": (
        lambda x: x // 16 + 1,
        "whose highest number is 16; divide it by the number that means full",
    ),
    "4 bits": (lambda x: x // 17, "whose highest number is 15; divide it"),
    "16 bits": (lambda x: x.astype(np.uint16) * 257, "received [0-9].*; for 16 bits, use images / 65535"),
    "12 bits": (lambda x: x.astype(np.int32) * 16, "; for 12 bits, use images / 4095"),
    "-1 to 1": (lambda x: x / 127.5 - 1, "received -1.*; for a scale from -1 to 1, use .images . 1. / 2"),
    "standardized": (lambda x: (x / 255 - 0.1307) / 0.3081, "received -0.424.*; undo a standardization: images . std"),
    "divided by 255 twice": (lambda x: x / 255 / 255, "ink of at most 0.0039; it may have been divided by 255 twice"),
    "grey levels with fractions": (
        lambda x: x * 0.99,
        "one of the numbers is not an integer.*; divide grey levels",
    ),
    "not a number": (lambda x: np.where(x > 0, np.nan, 0), "NaN"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_cannot_be_known_is_refused_and_alike_for_one_image(case, images, tmp_path):
    images = np.where(images.max((1, 2), keepdims=True) == images, 255, images)  # each has full ink somewhere
    change, words = UNKNOWN[case]
    written = change(images)
    refusals = []
    for way in WAYS if case != "not a number" else (in_a_file, in_python):
        for part in (written, written[:1]):
            with pytest.raises(Exception, match=words) as raised:
                way(part, tmp_path)
            assert type(raised.value).__name__ in ("UserError", "Refused")
            refusals.append(str(raised.value))
    assert all("expected" in each and "\n" not in each for each in refusals)


@pytest.mark.parametrize("way", WAYS)
def test_an_image_of_0_and_1_among_grey_levels_is_refused(way, images, tmp_path):
    """Alone it would be ink, here it would be almost blank: it must not have two meanings."""
    mixed = images.copy()
    mixed[3] = mixed[3] > 127
    with pytest.raises(Exception, match=r"(image 3|instances\[3\]): .*highest number is 1; others go up to 255"):
        way(mixed, tmp_path)
    mixed[3] = images[3] // 17
    with pytest.raises(Exception, match=r"(image 3|instances\[3\]): .*highest number is 1[0-5]; others go up to 255"):
        way(mixed, tmp_path)


def test_a_data_set_shows_its_scale_as_a_whole(digits):
    def made(images, labels=digits.train.labels, **changes):
        return Dataset("mine", "here", Split(images, labels), digits.test, (), False, **changes)

    train = digits.train
    assert made(train.images).train.images is train.images
    binary = train.images > 127
    for written in (binary, binary.astype(np.int64), binary.astype(np.float32)):
        found = made(written, train.labels.astype(np.int64)).train
        np.testing.assert_array_equal(found.images, binary * np.uint8(255))
        assert found.images.dtype == found.labels.dtype == np.uint8
    np.testing.assert_array_equal(made(train.images / 255).train.images, train.images)
    faint = train.images.copy()
    faint[5] = faint[5] > 127  # a faint image among others is one
    assert made(faint).train.images[5].max() == 1
    one_hot = np.eye(10)[train.labels]
    for images, labels, words in (
        (train.images // 17, train.labels, "train split of mine: image 0: expected grey levels 0–255 or ink 0–1"),
        (train.images / 127.5 - 1, train.labels, "for a scale from -1 to 1"),
        (train.images, one_hot, "use labels.argmax"),
        (train.images[:9], train.labels, r"received \[9, 28, 28\] and \[1437\]"),
        (train.images.reshape(-1, 784), train.labels, "expected images .n, 28, 28. and labels"),
        (train.images, train.labels + np.uint8(1), "expected labels 0–9, received 10"),
        (train.images, train.labels + 0.5, "expected labels 0–9, received"),
    ):
        with pytest.raises(UserError, match=words):
            made(images, labels)


def test_shapes_that_are_images_and_a_hint_for_those_that_are_not(images):
    for shaped in (images.reshape(-1, 784), images[..., None], images[:, None]):
        np.testing.assert_array_equal(to_images(shaped, "images"), images)
    for shaped in (images[0], images[0].ravel()):
        np.testing.assert_array_equal(to_images(shaped, "images"), images[:1])
    for shape, words in (((5, 8, 8), "scikit-learn's digits, use --dataset=digits"), ((5, 28, 28, 3), "for colours")):
        with pytest.raises(UserError, match=words):
            to_images(np.zeros(shape), "images")


def test_a_type_that_is_no_number():
    with pytest.raises(UnknownScale, match="expected integers 0–255 or floats 0–1, received complex128"):
        to_grey_levels(np.zeros((1, 28, 28), complex))
