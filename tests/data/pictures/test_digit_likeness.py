"""The judge of framed images: digits of other hands, and what is no digit; the arithmetic; the shipped file."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mnist_mlp.data.pictures import digit_likeness, normalize
from mnist_mlp.data.pictures.digit_likeness import REFUSE_BELOW, SURELY_A_DIGIT, likeness

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_digit_likeness.py"


def framed(draw_on):
    """Return what is drawn on a canvas of 100×100, in white on black, in MNIST's frame."""
    picture = Image.new("L", (100, 100))
    draw_on(ImageDraw.Draw(picture))
    return normalize.in_frame(np.asarray(picture, np.float32) / 255)


def line(*points, width=9):
    return lambda draw: draw.line(points, fill=255, width=width, joint="curve")


def letter(sign):
    font = ImageFont.load_default(70)
    return lambda draw: draw.text((25, 8), sign, fill=255, font=font)


DIGITS = {
    "a 0 with a thick pen": lambda draw: draw.ellipse([20, 10, 80, 90], outline=255, width=20),
    "a 0 with a thin pen": lambda draw: draw.ellipse([25, 10, 75, 90], outline=255, width=5),
    "a bar as 1": line((50, 10), (50, 90)),
    "a European 1": line((30, 40), (55, 10), (55, 90)),
    "a 4 of straight strokes": lambda draw: (
        line((60, 10), (15, 60), (85, 60))(draw),
        line((68, 35), (68, 90))(draw),
    ),
    "a 7 with a mouse": line((20, 12), (80, 12), (40, 90)),
    "a 7 with a bar": lambda draw: (line((20, 12), (80, 12), (40, 90))(draw), line((35, 50), (75, 50))(draw)),
    **{f"a printed {digit}": letter(str(digit)) for digit in range(10)},
}

OTHERS = {
    "a cross": lambda draw: (line((50, 10), (50, 90))(draw), line((10, 50), (90, 50))(draw)),
    "an X of strokes": lambda draw: (line((15, 15), (85, 85))(draw), line((85, 15), (15, 85))(draw)),
    "a triangle": line((50, 10), (90, 85), (10, 85), (50, 10), (60, 28)),
    "a filled triangle": lambda draw: draw.polygon([(50, 10), (90, 85), (10, 85)], fill=255),
    "a corner of the paper": lambda draw: draw.polygon([(10, 10), (90, 10), (10, 90)], fill=255),
    "the outline of a sheet": lambda draw: draw.rectangle([10, 10, 90, 90], outline=255, width=5),
    "the thick outline of a sheet": lambda draw: draw.rectangle([15, 5, 85, 95], outline=255, width=14),
    "a turned outline": line((30, 8), (92, 30), (70, 92), (8, 70), (30, 8), (40, 12), width=6),
    "a sheet": lambda draw: draw.rectangle([15, 10, 85, 90], fill=255),
    "a grid": lambda draw: [
        (line((x, 10), (x, 90), width=3)(draw), line((10, x), (90, x), width=3)(draw)) for x in (10, 37, 63, 90)
    ],
    **{f"the letter {sign}": letter(sign) for sign in "KWMAXNHEmw"},
}


@pytest.mark.parametrize("name", DIGITS)
def test_drawn_digits_are_digits(name):
    assert likeness(framed(DIGITS[name])[None])[0] >= REFUSE_BELOW


@pytest.mark.parametrize("name", OTHERS)
def test_other_drawings_are_none(name):
    assert likeness(framed(OTHERS[name])[None])[0] < REFUSE_BELOW


def test_digits_of_other_hands_are_digits(digits):
    found = likeness(digits.test.images)  # none of them was trained on
    assert (found >= REFUSE_BELOW).mean() >= 0.98 and (found >= SURELY_A_DIGIT).mean() >= 0.9


def test_noise_is_no_digit():
    rng = np.random.default_rng(0)
    fine = (rng.random((100, 28, 28)) < 0.3) * np.uint8(255)
    coarse = np.kron(rng.random((100, 7, 7)) < 0.5, np.ones((4, 4))).astype(np.uint8) * 255
    for found in (likeness(fine), likeness(coarse)):
        assert (found < REFUSE_BELOW).mean() >= 0.8 and (found < 0.5).mean() >= 0.98


def test_the_paper_of_a_close_crop_is_no_digit(digits):
    """As if paper and ink had been taken for each other."""
    frames = []
    for image in digits.test.images[:100]:
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / np.float32(255)
        frames.append(normalize.in_frame(np.kron(1 - ink, np.ones((4, 4), np.float32))))
    assert (likeness(np.stack(frames)) < REFUSE_BELOW).mean() >= 0.95


def test_each_image_is_judged_alone(digits):
    images = digits.test.images
    together = likeness(np.concatenate([images, images]))  # more than one batch
    assert together.dtype == np.float32 and together.shape == (720,)
    assert ((together >= 0) & (together <= 1)).all()
    np.testing.assert_allclose(together[:360], together[360:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(likeness(images[5:6]), together[5:6], rtol=1e-4, atol=1e-6)
    assert likeness(images[:0]).shape == (0,)
    blank = likeness(np.stack([np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)]))
    assert np.isfinite(blank).all()


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (np.zeros((28, 28), np.uint8), "(28, 28)"),
        (np.zeros((2, 28, 27), np.uint8), "(2, 28, 27)"),
        (np.zeros((2, 28, 28, 1), np.uint8), "(2, 28, 28, 1)"),
        (np.zeros((2, 28, 28), np.float32), "float32"),
        ([[0] * 28] * 28, "list"),
    ],
)
def test_other_shapes_and_types_are_refused(images, named):
    with pytest.raises(ValueError) as caught:
        likeness(images)
    assert "expected" in str(caught.value) and named in str(caught.value)


def test_a_convolution_is_the_sum_over_its_windows():
    rng = np.random.default_rng(0)
    for size in (3, 5):
        x = rng.normal(size=(2, 7, 7, 3)).astype(np.float32)
        kernel = rng.normal(size=(size, size, 3, 4)).astype(np.float32)
        padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
        expected = np.zeros((2, 4, 4, 4))
        for row, column in np.ndindex(4, 4):
            window = padded[:, 2 * row : 2 * row + size, 2 * column : 2 * column + size]
            expected[:, row, column] = np.tensordot(window, kernel, 3)
        np.testing.assert_allclose(digit_likeness.convolve(x, kernel), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.full
def test_the_forward_pass_is_that_of_keras(digits):
    """The network that the script trains, with the shipped weights."""
    spec = importlib.util.spec_from_file_location("make_digit_likeness", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    model, weights = script.network(), digit_likeness.shipped()
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([weights[f"{layer.name}_kernel"], weights[f"{layer.name}_bias"]])
    images = digits.test.images[:16]
    expected = np.asarray(model(images[..., None].astype("float32"), training=False))
    np.testing.assert_allclose(digit_likeness.logits(weights, images), expected, rtol=1e-4, atol=1e-4)


def test_the_shipped_file_is_small_and_holds_arrays_only():
    assert digit_likeness.FILE.stat().st_size <= 150_000
    weights = digit_likeness.shipped()
    assert all(np.isfinite(array).all() for array in weights.values())
    assert weights["calibration"].shape == (2,) and weights["output_bias"].shape == (11,)


@pytest.mark.full
def test_the_shipped_file_reaches_its_aims(mnist_dir):
    """On MNIST's test digits, and on kinds and fonts that nothing was trained on."""
    command = [sys.executable, SCRIPT, "--check", f"--data_dir={mnist_dir}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
