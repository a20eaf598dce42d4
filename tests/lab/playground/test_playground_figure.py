"""The Playground's picture: its colours, maps, links and losses, read off the pixels and off what is drawn."""

import dataclasses
import functools
import importlib.util

import numpy as np
import pytest

from mnist_mlp.lab.playground import History, State, command, figure_network, run
from mnist_mlp.lab.playground import figure as picture

pytestmark = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
BLUE, GREY, ORANGE = (0x08, 0x77, 0xBD), (0xE8, 0xEA, 0xEB), (0xF5, 0x93, 0x22)


def one_neuron(b: float, w1: float, w2: float, **state) -> History:
    """A network of one neuron with these parameters, and two points."""
    state = {"networkShape": (), "dataset": "gauss", "seed": "0", **state}
    parameters = [b, w1, w2]
    losses = [{"train": 0.5, "test": 0.25}, {"train": 0.125, "test": 0.0625}]
    points = [[[4.0, 4.0, 1.0]], [[-4.0, -4.0, -1.0]]]
    return History(State(**state), losses, {"train": 1.0, "test": 0.5}, parameters, parameters, 0, *points)


@functools.lru_cache(1)
def pixels(figure) -> np.ndarray:
    """The figure as uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(72)  # a pixel for each pixel of the page
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def pixel_at(figure, axes, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place of an axes' plane."""
    image = pixels(figure)
    column, row = axes.transData.transform((x, y))
    return tuple(int(part) for part in image[image.shape[0] - 1 - int(row), int(column)])


def near(found, expected):
    """The same colour up to rounding."""
    assert np.abs(np.subtract(found, expected)).max() <= 1, f"{found} is not {expected}"


def links(figure):
    """The collections of links, one for each layer."""
    from matplotlib.collections import PathCollection

    found = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    assert found
    return found


def test_colours_are_the_pages_and_linear():
    found = 255 * picture.colours(np.array([-7, -1, -0.5, 0, 0.5, 1, np.inf]))
    halves = [[(a + b) / 2 for a, b in zip(GREY, end, strict=True)] for end in (ORANGE, BLUE)]
    expected = [ORANGE, ORANGE, halves[0], GREY, halves[1], BLUE, BLUE]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (picture.colours(np.array([np.nan])) == 1).all()


def test_the_output_map_has_y_upward_and_x_to_the_right():
    figure = picture.figure(one_neuron(0, 5, 50))  # above the x axis +1, below −1; on it the sign of x
    output = figure.axes[1]
    assert pixel_at(figure, output, -5, 3) == BLUE and pixel_at(figure, output, 5, -3) == ORANGE
    assert output.get_images()[0].get_extent() == [-6, 6, -6, 6]
    assert output.get_images()[0].get_array().shape[:2] == (100, 100)
    rightward = picture.maps(one_neuron(0, 50, 0))[-1][0]
    assert (rightward[:, :50] < 0).all() and (rightward[:, 50:] > 0).all()


def test_a_features_own_map_is_upward_too():
    figure = picture.figure(one_neuron(0, 0, 0))
    page = figure.axes[0]
    x, y = figure_network.Layout.of(one_neuron(0, 0, 0)).features["y"]
    near(pixel_at(figure, page, x, y - 10), BLUE)
    near(pixel_at(figure, page, x, y + 10), ORANGE)


@pytest.mark.parametrize("value, shown", [(0.01, BLUE), (-0.01, ORANGE)])
@pytest.mark.slow
def test_discretize_shows_signs_only(value, shown):
    faint = one_neuron(value, 0, 0)
    signs = one_neuron(value, 0, 0, discretize=True)
    for history, expected in ((faint, tuple(np.round(255 * picture.colours(value)))), (signs, shown)):
        figure = picture.figure(history)
        near(pixel_at(figure, figure.axes[1], 1, 1), expected)


def test_points_have_the_colours_of_their_labels_and_the_outlines_of_their_part():
    def drawn(**state):
        return picture.figure(one_neuron(0, 0, 0, **state)).axes[1].collections

    (train,) = drawn()
    assert tuple(np.round(255 * train.get_facecolor()[0, :3])) == BLUE and (train.get_edgecolor()[0] == 1).all()
    train, test = drawn(showTestData=True)
    assert tuple(np.round(255 * test.get_facecolor()[0, :3])) == ORANGE
    assert (test.get_edgecolor()[0, :3] == 0).all() and test.get_offsets()[0].tolist() == [-4, -4]


def test_links_are_as_wide_and_coloured_as_their_weights():
    assert figure_network.link_widths(np.array([0, -1, 2.5, 5, -90])).tolist() == [1, 2.8, 5.5, 10, 10]
    (layer,) = links(picture.figure(one_neuron(3, 0.5, -2.5)))
    assert list(layer.get_linewidth()) == pytest.approx([1 + 0.9, 1 + 4.5])  # the heavier on top
    colours = np.round(255 * np.array(layer.get_edgecolor())[:, :3])
    np.testing.assert_array_equal(colours, np.round(255 * picture.colours(np.array([0.5, -2.5]))))
    starts = [path.vertices[0] for path in layer.get_paths()]
    features = figure_network.Layout.of(one_neuron(0, 0, 0)).features
    assert [start[1] for start in starts] == [features["x"][1], features["y"][1]]


def test_a_link_is_as_wide_in_pixels():
    figure = picture.figure(one_neuron(0, -5, 0))
    image, page = pixels(figure), figure.axes[0]
    (x, y) = figure_network.Layout.of(one_neuron(0, 0, 0)).features["x"]
    column, _ = page.transData.transform((x + 17, y))
    count = (np.abs(image[:, int(column)].astype(int) - ORANGE).max(axis=1) < 8).sum()
    assert count == pytest.approx(10, abs=1)


def test_dead_links_are_dotted():
    (alive,) = links(picture.figure(one_neuron(0, 1, 0)))
    (dead,) = links(picture.figure(one_neuron(0, 1, 0, regularization="L1", regularizationRate=0.1)))
    assert [pattern for _, pattern in alive.get_linestyle()] == [None, None]
    assert [pattern is None for _, pattern in dead.get_linestyle()] == [False, True]  # the lightest comes first


def test_the_chart_shows_both_losses_and_the_other_seeds():
    history = one_neuron(0, 1, 1)
    other = dataclasses.replace(history, losses=[{"train": 9.0, "test": 8.0}, {"train": 7.0, "test": 6.0}])
    figure = picture.figure(history, [other])
    faint, _, train, test = figure.axes[2].lines
    assert train.get_color() == "#777777" and list(train.get_ydata()) == [0.5, 0.125]
    assert test.get_color() == "#000000" and list(test.get_ydata()) == [0.25, 0.0625]
    assert list(faint.get_ydata()) == [9, 7] and faint.get_alpha() < 0.5 and train.get_alpha() == 1
    low, high = figure.axes[2].get_ylim()
    assert low == 0 and high > 9
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"0.125", "0.062", "100.0% correct", "50.0% correct", "faint: 1 other seed"} <= words


@pytest.mark.slow
def test_only_a_run_that_diverges_has_a_logarithmic_chart():
    history = one_neuron(0, 1, 1)
    wild = dataclasses.replace(history, losses=[*history.losses, {"train": 1e9, "test": np.inf}])
    assert picture.figure(wild).axes[2].get_yscale() == "log"
    assert picture.figure(history).axes[2].get_yscale() == "linear"


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_losses_near_the_end_of_the_numbers_and_a_seed_like_a_formula_are_drawn(tmp_path):
    history = one_neuron(0, 1, 1, seed="$\\frac$")
    huge = {"train": 1e300, "test": 1e-320}
    picture.draw(dataclasses.replace(history, losses=[*history.losses, huge]), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_own_points_are_called_so_and_may_lie_anywhere():
    history = dataclasses.replace(one_neuron(0, 1, 1, noise=7), own_points=True, train_points=[[1e300, 0.0, 1.0]])
    figure = picture.figure(history)
    words = {text.get_text() for text in figure.axes[0].texts}
    assert "own points" in words and not {"gauss", "noise"} & words
    assert len(figure.axes[1].collections[0].get_offsets()) == 0
    assert {"gauss", "noise"} <= {text.get_text() for text in picture.figure(one_neuron(0, 1, 1)).axes[0].texts}


def test_features_left_out_have_a_frame_and_no_map():
    history = run(State(x=False, xTimesY=True, seed="0"), 0)
    page = picture.figure(history).axes[0]
    assert len(page.get_images()) == 2 + 4 + 2 + 1  # the features, both layers, and the bar of colours
    titles = {text.get_text() for text in page.texts}
    assert {"$X_1$", "$X_1X_2$", "2 hidden layers", "4", "2"} <= titles


STATES = {
    "no feature": State(x=False, y=False, networkShape=(2,), seed="0"),
    "no test point": State(percTrainData=100, showTestData=True, seed="0"),
    "no training point": State(percTrainData=0, networkShape=(), seed="0"),
    "regression": State(problem="regression", regDataset="reg-gauss", showTestData=True, seed="0"),
    "diverged": State(problem="regression", learningRate=1e200, activation="linear", seed="0"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name, suffix",
    [
        *((name, "png") for name in STATES),
        ("diverged", "svg"),
        *(pytest.param(name, "svg", marks=pytest.mark.full) for name in STATES if name != "diverged"),
    ],
)
def test_every_state_has_a_picture(name, suffix, tmp_path):
    picture.draw(run(STATES[name], 3), tmp_path / f"p.{suffix}")
    assert (tmp_path / f"p.{suffix}").stat().st_size > 10_000
    assert [file.name for file in tmp_path.iterdir()] == [f"p.{suffix}"]


@pytest.mark.slow
def test_a_picture_by_the_command_line(tmp_path, capsys):
    file = tmp_path / "spiral.svg"
    command.main(["dataset=spiral&seed=1", "--epochs=2", "--seeds=2", f"--figure={file}"])
    assert capsys.readouterr().out.endswith(f"picture   {file}\n") and file.stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(64,) * 5, (3,) * 100, (1000, 5)], ids=["5 of 64", "100 of 3", "1000 and 5"])
def test_large_networks_are_reduced_and_say_so(shape):
    history = run(State(networkShape=shape, seed="0"), 0)
    place = figure_network.Layout.of(history)
    columns = [[place.features["x"]], *place.hidden]
    for left, right in zip(columns, columns[1:], strict=False):
        assert right[0][0] - left[0][0] > place.node  # no column on top of another
    for (_, upper), (_, lower) in zip(place.hidden[0], place.hidden[0][1:], strict=False):
        assert lower - upper > place.node
    assert place.width < 2500 and place.height < 1300
    figure = picture.figure(history)
    assert all(len(layer.get_paths()) <= figure_network.MOST_LINKS for layer in links(figure))
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert ("heaviest links" in words) == (max(shape) > 3) and ("first 64 neurons" in words) == (max(shape) > 64)
