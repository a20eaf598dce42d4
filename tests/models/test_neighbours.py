"""The nearest training images, against distances in float64, one by one."""

import dataclasses

import numpy as np
import pytest
from helpers.plain_networks import NETWORKS, convolutions, network

from mnist_mlp.data.batches import split_validation
from mnist_mlp.models import neighbours, numpy_forward
from mnist_mlp.models.neighbours import Neighbourhood, at_intervals, training_images


def known(digits, count=300):
    return training_images(digits, 0.0, 0, count)


def last_hidden(layers, images):
    """What the last layer sees, float64 [n, units]."""
    x = images.astype(np.float64)
    for layer in layers[:-1]:
        x = numpy_forward.apply(layer, x)
    return x.reshape(len(x), -1)


@pytest.mark.numerics
@pytest.mark.parametrize("name", ["relu", "none", "convolutions"])
def test_they_are_the_nearest_in_the_last_hidden_layer(name, digits):
    layers, images = NETWORKS[name](), digits.test.images[:5]
    found = Neighbourhood(layers, known(digits))
    assert found.name == {"relu": "hidden_2", "none": "pixels", "convolutions": "conv_2"}[name]
    nearest = found.nearest(images, 7)
    points = last_hidden(layers, found.known.images)
    for row, point in enumerate(last_hidden(layers, images)):
        distances = np.linalg.norm(points - point, axis=1)
        np.testing.assert_allclose(nearest.distances[row], np.sort(distances)[:7], rtol=1e-4)
        np.testing.assert_allclose(distances[nearest.indices[row]], nearest.distances[row], rtol=1e-4)
        np.testing.assert_allclose(nearest.medians[row], np.sort(distances)[150], rtol=1e-3)


def test_small_distances_are_not_what_is_left_of_two_large_squares(digits):
    """As pixels: the squares of ink sum to about 100, where float32 has steps of half the square of a grey level."""
    some = known(digits)
    images = some.images.copy()
    images[200] = images[100]
    images[200, 14, 14] ^= 1  # one grey level
    nearest = Neighbourhood(NETWORKS["none"](), dataclasses.replace(some, images=images)).nearest(images[[100, 7]], 2)
    assert nearest.indices[0].tolist() == [100, 200] and nearest.indices[1, 0] == 7
    assert nearest.distances[:, 0].tolist() == [0, 0] and nearest.distances[0, 1] == pytest.approx(1 / 255, rel=1e-3)


def test_there_may_be_fewer_than_wanted(digits):
    nearest = Neighbourhood(network("relu"), known(digits, 3)).nearest(digits.test.images[:2], 8)
    assert nearest.indices.shape == nearest.distances.shape == (2, 3)


def test_wide_layers_are_compared_with_fewer_images(digits, monkeypatch):
    monkeypatch.setattr(neighbours, "VALUES", 1250)
    found = Neighbourhood(convolutions(), known(digits))  # 125 units
    assert len(found.known) == len(found.points) == 10 and found.known.total == len(digits.train)
    assert (found.known.images == digits.train.images[found.known.indices]).all()


def test_some_at_equal_intervals():
    assert at_intervals(10, 4).tolist() == [0, 2, 5, 7] and at_intervals(3, 4).tolist() == [0, 1, 2]
    steps = np.diff(at_intervals(240_000, 60_000))
    assert (steps == 4).all()


def test_only_what_was_trained_on(digits):
    """Not the validation images; indices are those of the data set."""
    trained_on, _ = split_validation(digits.train, 0.3, 5)
    found = training_images(digits, 0.3, 5, 10_000)
    assert found.total == len(found) == len(trained_on) and (found.images == trained_on.images).all()
    assert (digits.train.images[found.indices] == found.images).all()
    assert (digits.train.labels[found.indices] == found.labels).all()
    few = training_images(digits, 0.3, 5, 50)
    assert len(few) == 50 and few.total == len(trained_on) and set(few.indices) < set(found.indices)
