"""The corruptions against what their names promise, and that they are the same everywhere."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mnist_mlp.data.corruptions import published
from mnist_mlp.data.corruptions.draws import Draws
from mnist_mlp.data.corruptions.kinds import BUILDING, CHUNK, KINDS, MNIST_C, SEVERITIES, corrupt

pytestmark = pytest.mark.numerics
NO_CHANCE = {"scale", "brightness", "stripe", "canny_edges", "gaussian_blur"}
# Of twenty digits at severity 3. Rounding stays away from the limits between two grey levels: see `kinds.GUARD`.
FINGERPRINTS = json.loads(Path(__file__).with_name("corrupted_images.json").read_text())


def fingerprint(images):
    return hashlib.sha256(images.tobytes()).hexdigest()


def test_there_are_fifteen_kinds_and_ten_others():
    assert len(MNIST_C) == 15 and len(BUILDING) == 10 and len(KINDS) == 25
    assert all(kind.published in SEVERITIES for kind in MNIST_C.values())
    assert all(kind.published is None for kind in BUILDING.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_everywhere(kind, digits):
    images = digits.test.images[:20]
    found = corrupt(images, kind, 3)
    assert found.dtype == np.uint8 and found.shape == images.shape
    assert fingerprint(found) == FINGERPRINTS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_severities_and_seeds_differ(kind, digits):
    images = digits.test.images[:8]
    found = [corrupt(images, kind, severity) for severity in SEVERITIES]
    assert len({fingerprint(each) for each in (images, *found)}) == 6
    other = corrupt(images, kind, 3, seed=1)
    assert (fingerprint(other) == fingerprint(found[2])) == (kind in NO_CHANCE)


@pytest.mark.parametrize("kind", ["shot_noise", "glass_blur", "fog", "canny_edges", "zigzag", "bend"])
def test_a_part_gets_the_images_of_the_whole(kind, digits):
    images, middle = digits.train.images[: CHUNK + 20], np.arange(CHUNK - 5, CHUNK + 5)
    whole = corrupt(images, kind, 4, seed=7)
    np.testing.assert_array_equal(corrupt(images[middle], kind, 4, seed=7, indices=middle), whole[middle])
    np.testing.assert_array_equal(
        corrupt(images[middle[::-1]], kind, 4, seed=7, indices=middle[::-1]), whole[middle][::-1]
    )


def test_the_draws_are_even_and_normal():
    draws = Draws(3, "x", np.arange(5000))
    even, normal = draws.uniform(40), draws.normal(40)
    assert even.min() >= 0 and even.max() < 1
    np.testing.assert_allclose(even.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(even.var(0), 1 / 12, atol=0.005)
    np.testing.assert_allclose(normal.mean(0), 0, atol=0.07)
    np.testing.assert_allclose(normal.var(0), 1, atol=0.1)
    assert np.abs(np.corrcoef(even.T) - np.eye(40)).max() < 0.07  # of independent ones the deviation is 0.014
    assert abs(np.corrcoef(even[:-1, 0], even[1:, 0])[0, 1]) < 0.07  # from image to image


def test_a_known_draw():
    """SplitMix64 with Python's whole numbers."""
    word, most = 0x1234567, 2**64

    def mix(word):
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % most
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % most
        return word ^ (word >> 31)

    key = int.from_bytes(hashlib.sha256(b"5 name").digest()[:8], "little")
    step = 0x9E3779B97F4A7C15
    state = mix((mix((word * step + key) % most) + key) % most)
    expected = [(mix((state + place * step) % most) >> 11) / 2**53 for place in (1, 2, 3)]
    assert Draws(5, "name", np.array([word])).uniform(3)[0].tolist() == expected


GREY = np.full((400, 28, 28), 128, np.uint8)


def test_shot_noise_is_poisson():
    found = corrupt(GREY, "shot_noise", 1) / 255 * 60  # photons; 60 are full ink
    mean = 128 / 255 * 60
    assert found.mean() == pytest.approx(mean, rel=0.01)
    assert found.var() == pytest.approx(mean, rel=0.03)
    assert not corrupt(np.zeros((3, 28, 28), np.uint8), "shot_noise", 5).any()


@pytest.mark.parametrize("severity, share", [(1, 0.03), (5, 0.27)])
def test_impulse_noise_has_its_share(severity, share):
    found = corrupt(GREY, "impulse_noise", severity)
    assert (found == 0).mean() == pytest.approx(share / 2, rel=0.05)
    assert (found == 255).mean() == pytest.approx(share / 2, rel=0.05)
    assert ((found == 128) | (found == 0) | (found == 255)).all()


def test_light(digits):
    images = digits.test.images[:5].astype(int)
    np.testing.assert_allclose(
        corrupt(digits.test.images[:5], "brightness", 5), np.minimum(images + 127.5, 255), atol=0.51
    )
    striped = corrupt(digits.test.images[:5], "stripe", 3)
    np.testing.assert_array_equal(striped[:, :, :7], 255 - images[:, :, :7])
    np.testing.assert_array_equal(striped[:, :, 21:], 255 - images[:, :, 21:])
    np.testing.assert_array_equal(striped[:, :, 7:21], images[:, :, 7:21])
    fog = corrupt(digits.test.images[:50], "fog", 5).astype(int)
    assert fog[:, 0].mean() > 40 and (fog.max(axis=(1, 2)) <= images.max()).all()


def test_geometry_as_scipy_has_it(digits):
    images = digits.test.images[:12]
    moved = corrupt(images, "translate", 3)
    for image, found in zip(images, moved, strict=True):
        shifts = [(y, x) for y in (-3, 3) for x in (-3, 3)]
        assert any((ndimage.shift(image, shift, order=0) == found).all() for shift in shifts)
    for kind, matrices in {
        "rotate": [[[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]] for a in (-0.4, 0.4)],
        "shear": [[[1, 0], [a, 1]] for a in (-0.4, 0.4)],
        "scale": [[[1 / 0.8, 0], [0, 1 / 0.8]]],
    }.items():
        for image, found in zip(images, corrupt(images, kind, 2), strict=True):
            expected = [
                ndimage.affine_transform(
                    np.pad(image.astype(float), 30), m, 43.5 - np.array(m) @ [43.5, 43.5], order=1
                )[30:58, 30:58]
                for m in matrices
            ]
            assert min(np.abs(each - found).max() for each in expected) < 0.51, kind


def test_blurs_keep_the_ink_of_the_middle():
    image = np.zeros((50, 28, 28), np.uint8)
    image[:, 14, 14] = 255
    for kind in ("motion_blur", "glass_blur"):
        found = corrupt(image, kind, 3).astype(float)
        assert found.sum((1, 2)).mean() == pytest.approx(255, rel=0.15), kind  # but what rounding takes
        assert found.max() < 128, kind


def test_strokes_add_ink_and_drops_take_it(digits):
    images = digits.test.images[:40]
    for kind in ("dotted_line", "zigzag"):
        found = [corrupt(images, kind, severity) for severity in (3, 5)]
        assert (found[0] >= images).all()
        assert found[1].mean() > found[0].mean() > images.mean() + 3
    empty = corrupt(np.zeros((40, 28, 28), np.uint8), "dotted_line", 3)
    assert not empty[:, :, 0::4].any() and not empty[:, :, 1::4].any() and empty[:, :, 2::4].any()
    shares = [(corrupt(np.full((40, 28, 28), 255, np.uint8), "spatter", s) < 200).mean() for s in SEVERITIES]
    assert shares == sorted(shares) and 0.02 < shares[0] < 0.15 and 0.2 < shares[-1] < 0.5


def test_edges_of_a_square():
    square = np.zeros((3, 28, 28), np.uint8)
    square[1, 8:20, 8:20] = 255
    found = corrupt(square, "canny_edges", 3)
    assert not found[0].any() and not found[2].any()  # a neighbouring image adds nothing
    pieces, count = ndimage.label(found[1], np.ones((3, 3)))
    assert count == 1 and set(np.unique(found[1])) == {0, 255}
    assert not found[1, 11:17, 11:17].any() and 36 <= (found[1] > 0).sum() <= 60
    holes, count = ndimage.label(found[1] == 0)
    assert count == 2  # the outside and the inside: the outline is closed


def test_where_tfds_keeps_mnist_c(tmp_path):
    for kind, version in (("fog", "1.0.0"), ("shear", "1.0.0"), ("shear", "1.1.0")):
        directory = tmp_path / "home" / "mnist_corrupted" / kind / version
        directory.mkdir(parents=True)
        (directory / "dataset_info.json").write_text("{}")
    root = tmp_path / "home" / "mnist_corrupted"
    expected = {"fog": root / "fog" / "1.0.0", "shear": root / "shear" / "1.1.0"}
    for directory in (tmp_path / "home", root):
        assert published.find([tmp_path / "nowhere", directory], ["fog", "shear", "stripe"]) == expected
    assert published.find([tmp_path], ["fog"]) == {}
