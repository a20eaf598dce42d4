"""Maps of the ink that decides, against finite differences, and where all is linear against the weights themselves."""

import dataclasses

import numpy as np
import pytest
from helpers.plain_networks import NETWORKS, network

from mnist_mlp.models import attribution
from mnist_mlp.models.portable import Layer

GENERATOR = np.random.default_rng(0)
IMAGES = (GENERATOR.integers(1, 256, (3, 28, 28)) * (GENERATOR.random((3, 28, 28)) < 0.3)).astype(np.uint8)
WEIGHTS = np.zeros((3, 10), np.float32)
WEIGHTS[:, 3], WEIGHTS[:, 8] = 1, -1


def in_double_precision(layers):
    return [
        layer if layer.kernel is None else dataclasses.replace(
            layer, kernel=layer.kernel.astype(np.float64), bias=layer.bias.astype(np.float64)
        )
        for layer in layers
    ]  # fmt: skip


@pytest.mark.numerics
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_finite_differences(name):
    layers = NETWORKS[name]()
    found = attribution.gradient_times_input(layers, IMAGES, WEIGHTS)
    assert found.shape == IMAGES.shape and not found[IMAGES == 0].any()

    def margin(image):
        x = image[None]
        for layer in in_double_precision(layers):
            x = attribution.numpy_forward.apply(layer, x)
        return x[0, 3] - x[0, 8]

    for row, column in np.argwhere(IMAGES[1])[::20]:
        up, down = IMAGES[1].astype(np.float64), IMAGES[1].astype(np.float64)
        up[row, column] += 1e-3
        down[row, column] -= 1e-3
        expected = (margin(up) - margin(down)) / 2e-3 * IMAGES[1, row, column]
        assert found[1, row, column] == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_a_linear_network_is_explained_completely():
    layers = network(None)
    kernel, bias = layers[-1].weights
    exact = IMAGES / 255 * (kernel[:, 3] - kernel[:, 8]).reshape(28, 28)
    gradient = attribution.gradient_times_input(layers, IMAGES, WEIGHTS)
    np.testing.assert_allclose(gradient, exact, atol=1e-5)
    sums = attribution.weighted_sum(layers, IMAGES, WEIGHTS)
    np.testing.assert_allclose(gradient.sum((1, 2)) + bias[3] - bias[8], sums, atol=1e-4)
    # A blanked square takes the contributions of its pixels: the corner lies in one square only.
    fall = attribution.occlusion(layers, IMAGES, WEIGHTS)
    np.testing.assert_allclose(fall[:, 0, 0], exact[:, :6, :6].sum((1, 2)), atol=1e-4)
    np.testing.assert_allclose(fall[:, 27, 27], exact[:, -6:, -6:].sum((1, 2)), atol=1e-4)
    two = exact[:, 10:16, :6].sum((1, 2)), exact[:, 8:14, :6].sum((1, 2)), exact[:, 6:12, :6].sum((1, 2))
    np.testing.assert_allclose(fall[:, 11, 0], np.mean(two, 0), atol=1e-4)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "convolutions"])
def test_a_blanked_square_is_one_without_ink(name):
    layers, blanked = NETWORKS[name](), IMAGES.copy()
    blanked[:, :6, :6] = 0
    whole, less = (attribution.weighted_sum(layers, each, WEIGHTS) for each in (IMAGES, blanked))
    fall = attribution.occlusion(layers, IMAGES, WEIGHTS)[:, 0, 0]  # the corner lies in one square only
    np.testing.assert_allclose(fall, whole - less, atol=1e-5)
    assert np.abs(fall).max() > 1e-3


def test_an_empty_image_has_nothing_to_blank():
    assert not attribution.occlusion(network("relu"), np.zeros((3, 28, 28), np.uint8), WEIGHTS).any()


def test_what_follows_the_logits_is_left_out():
    layers = network("relu")
    end = [Layer("scale", "temperature", number=0.5), Layer("softmax", "probabilities")]
    assert attribution.until_logits([*layers, *end]) == layers


def test_the_gradient_goes_to_the_first_of_equal_maxima():
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 0, 1] = x[0, 1, 0] = x[0, 3, 3] = 2
    x[0, 4, 4] = 9  # in no window
    output = attribution.numpy_forward.pool(x, 2)
    gradient = np.arange(1, 5, dtype=np.float32).reshape(1, 2, 2, 1)
    found = attribution.unpool(x, output, gradient, 2)
    expected = np.zeros((5, 5))
    expected[0, 1], expected[0, 2], expected[2, 0], expected[3, 3] = 1, 2, 3, 4
    np.testing.assert_array_equal(found[0, :, :, 0], expected)
