"""The sections on the network: its worst mistakes, first-layer weights and hidden activations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data import Split
from mnist_mlp.models import attribution
from mnist_mlp.models.neighbours import Neighbourhood
from mnist_mlp.models.portable import Array, Layer
from mnist_mlp.report import png_images
from mnist_mlp.report.content import Predictions, RunContent, activations
from mnist_mlp.report.formatting import probability, three_digits
from mnist_mlp.report.html import Html, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import ten_bars

MISTAKES = 24  # shown at most
NEURONS = 128  # whose weights are shown at most
IN_A_ROW = 8
NEAREST = 4  # training images shown of each mistake
FEW = 2_000  # training images that a network with convolutions compares, at 0.2 ms of CPU time each
MAPS = 8  # feature maps shown of a convolution
SIMILAR = 10  # images per class for the mean cosine similarity


def mistakes(run: RunContent) -> Html:
    """The misclassified test images to whose true class the network gave the lowest probabilities."""
    title, predictions = "Worst mistakes", run.predictions
    if predictions is None:
        return section("mistakes", title, paragraph(run.why_not, class_="absent"))
    errors = np.flatnonzero(~predictions.correct)
    losses = np.nan_to_num(predictions.losses[errors], nan=np.inf)
    worst = errors[np.argsort(-losses, kind="stable")][:MISTAKES]
    if not len(worst):
        return section("mistakes", title, paragraph("There are none: every test image is recognized."))
    words = (
        f"The {len(worst)} of {len(errors)} mistakes with the lowest probability of the true class. Bars: the ten "
        "probabilities, blue for the true class, orange for the predicted one."
    )
    words += (
        " Below each image, why: gradient × input (left) and occlusion (right, blanked squares of "
        f"{attribution.WINDOW}×{attribution.WINDOW} pixels), each on a scale of its own. Blue ink argues for the "
        "true class, orange ink for the predicted one, by the difference of their two logits."
    )
    nearest, about = nearest_images(run, predictions, worst)
    cards = [
        card(run, predictions, int(index), why, near)
        for index, why, near in zip(worst, reasons(run, predictions, worst), nearest, strict=True)
    ]
    return section("mistakes", title, paragraph(words + about, class_="note"), tag("ol", *cards, class_="cards"))


def reasons(run: RunContent, predictions: Predictions, indices: NDArray[np.intp]) -> list[Html]:
    """Return for each mistake the picture of both maps."""
    layers = attribution.until_logits(run.layers)
    images, rows = predictions.test.images[indices], np.arange(len(indices))
    weights = np.zeros((len(indices), 10), np.float32)
    weights[rows, predictions.test.labels[indices]] += 1
    weights[rows, predictions.predicted[indices]] -= 1
    maps = attribution.gradient_times_input(layers, images, weights), attribution.occlusion(layers, images, weights)
    pictures = []
    for index, pair_of_maps in zip(indices, zip(*maps, strict=True), strict=True):
        scaled = [each / (largest_of(each) or 1.0) for each in pair_of_maps]
        alt = f"Gradient × input and occlusion of image {index}"
        pictures.append(tag("img", src=png_images.tiles(scaled, 1.0), alt=alt, class_="why"))
    return pictures


def nearest_images(
    run: RunContent, predictions: Predictions, indices: NDArray[np.intp]
) -> tuple[list[Html] | list[None], str]:
    """Return for each mistake the nearest training images with labels and distances, and a text about them."""
    nothing: list[None] = [None] * len(indices)
    if run.training is None:
        return nothing, " The nearest training images are not shown: those of the run are not available."
    convolves = any(layer.kind == "conv" for layer in run.layers)
    neighbourhood = Neighbourhood(run.layers, run.training.at_most(FEW) if convolves else run.training)
    if not np.isfinite(neighbourhood.points).all():
        return nothing, ""
    known, found = neighbourhood.known, neighbourhood.nearest(predictions.test.images[indices], NEAREST)
    blocks = []
    for index, nearest, distances in zip(indices, found.indices, found.distances, strict=True):
        truth, predicted = predictions.test.labels[index], predictions.predicted[index]
        rows = [
            tag(
                "li",
                tag("span", run.classes[label], class_={truth: "truth", predicted: "predicted"}.get(label, "strong")),
                tag("span", f" {three_digits(distance)}", class_="quiet"),
            )
            for label, distance in zip(known.labels[nearest], distances, strict=True)
        ]
        alt = f"The training images {', '.join(map(str, known.indices[nearest]))}"
        names = "nearest" if max(map(len, run.classes)) == 1 else "nearest named"
        blocks.append(
            tag("div", png_images.digits(known.images[nearest], alt, "digit row"), tag("ol", *rows), class_=names)
        )
    where = "as pixels" if neighbourhood.name == "pixels" else f"in the last hidden layer, {neighbourhood.name}"
    which = "all" if len(known) == known.total else f"{len(known):,} of the"
    half = three_digits(np.median(found.medians))
    about = (
        f" At the bottom, the {found.indices.shape[1]} training images nearest to it {where} ({which} {known.total:,} "
        "images that the run was trained on were compared), each with its label and its Euclidean distance there. Half "
        f"of the images compared are farther away than {half} (median of these mistakes)."
    )
    return blocks, about


def card(run: RunContent, predictions: Predictions, index: int, why: Html, nearest: Html | None) -> Html:
    """One mistake: the image, why, its true and predicted class, the ten probabilities, and its neighbours."""
    test, names = predictions.test, run.classes
    truth, predicted = int(test.labels[index]), int(predictions.predicted[index])
    p = predictions.probabilities(index)
    all_ten = ", ".join(f"{name} {probability(value)}" for name, value in zip(names, p, strict=True))
    return tag(
        "li",
        png_images.digit(test.images[index], f"Test image {index}: a {names[truth]}"),
        why,
        tag(
            "strong",
            *(tag("span", names[truth], class_="truth"), " mistaken for "),
            tag("span", names[predicted], class_="predicted"),
        ),
        tag(
            "span",
            *(f"predicted {probability(p[predicted])}", tag("br"), f"true {probability(p[truth])}"),
            class_="small",
        ),
        ten_bars(f"Probabilities: {all_ten}", p.tolist(), truth, predicted, names),
        tag("span", f"image {index:,}", class_="small"),
        nearest,
    )


def weights(run: RunContent) -> Html:
    """The weights of the first layer with weights, as pictures."""
    layer = next(layer for layer in run.layers if layer.kernel is not None)
    kernel, _ = layer.weights
    dense = layer.kind == "dense"
    pictures = kernel.T.reshape(-1, 28, 28) if dense else kernel[:, :, 0, :].transpose(2, 0, 1)
    order: np.ndarray = np.arange(len(pictures))
    which = "all"
    if len(pictures) > NEURONS:
        order = np.sort(np.argsort(-np.linalg.norm(pictures.reshape(len(pictures), -1), axis=1))[:NEURONS])
        which = f"the {NEURONS} with the largest weights of"
    finite = np.abs(pictures[np.isfinite(pictures)])
    largest = float(np.quantile(finite, 0.995) or finite.max()) if finite.size else 0.0
    rows = [order[start : start + IN_A_ROW] for start in range(0, len(order), IN_A_ROW)]
    what = "neurons" if dense else "filters"
    strips = [
        tag(
            "img",
            src=png_images.tiles([pictures[index] for index in row], largest),
            alt=f"Weights of {what} {row[0] + 1} to {row[-1] + 1} of {layer.name}, as pictures",
            class_="tiles",
        )
        for row in rows
    ]
    size = "28×28 pixels" if dense else f"{kernel.shape[0]}×{kernel.shape[1]} pixels"
    words = (
        f"{layer.name}: {which} {len(pictures)} {what}, each as a picture of its weights for {size}. Ink on blue "
        f"pixels increases the output of the {what[:-1]}, ink on orange pixels decreases it. "
    )
    if not np.isfinite(kernel).any():
        words += "No weight is finite: training diverged."
    elif not largest:
        words += "All weights are 0: the layer has learned nothing."
    grid = tag("div", *strips, class_="strips" if dense else "strips filters")
    about = paragraph(
        "All pictures share one scale; larger weights are shown in the colours of its ends.", class_="note"
    )
    return section(
        "weights", "First-layer weights", paragraph(words, class_="note"), grid, png_images.scale(largest), about
    )


def hidden(run: RunContent) -> Html:
    """The activations of the hidden layers for one image of each class."""
    title, predictions = "Hidden activations", run.predictions
    if predictions is None:
        return section("activations", title, paragraph(run.why_not, class_="absent"))
    test, chosen = predictions.test, first_of_each(predictions)
    found = activations(run.layers, test.images[chosen])
    hidden_layers = [layer for layer in run.layers if layer.name in found]
    if not hidden_layers:
        words = "This network has no hidden layer: each logit is a weighted sum of the pixels, with the weights above."
        return section("activations", title, paragraph(words))
    words = (
        "Each row is the first correctly classified test image of a class (or its first image, if there is none). Each "
        f"cell is a {'position of a feature map' if hidden_layers[0].kind == 'conv' else 'neuron'}, with a colour as "
        "strong as its activation. "
    )
    similarity = similarity_of(run.layers, test)
    separation = [same - other for same, other in similarity.values()]
    if separation[-1] > separation[0]:
        words += (
            "The layers separate the classes: in the last one, images of the same class are more similar, relative to "
            "images of different classes, than as pixels (mean cosine of centred vectors: "
            f"{pair(similarity['pixels'])} as pixels, {pair(similarity[hidden_layers[-1].name])} in "
            f"{hidden_layers[-1].name})."
        )
    else:
        words += "The last layer separates the classes no better than the pixels do."
    pictures = [(run.classes[test.labels[index]], test.images[index]) for index in chosen]
    blocks = [block(layer, found[layer.name], pictures) for layer in hidden_layers]
    return section(
        "activations",
        title,
        paragraph(words, class_="note"),
        tag("div", *blocks, class_="layers"),
        layer_table(found, similarity),
    )


def first_of_each(predictions: Predictions) -> NDArray[np.intp]:
    """Return the index of the first correct image of each class, or of its first image if none is correct."""
    labels, chosen = predictions.test.labels, []
    for label in np.unique(labels):
        indices = np.flatnonzero(labels == label)
        correct = indices[predictions.correct[indices]]
        chosen.append(correct[0] if len(correct) else indices[0])
    return np.array(chosen)


def block(layer: Layer, values: Array, pictures: list[tuple[str, NDArray[np.uint8]]]) -> Html:
    """One layer: its activations `values`, float32 [n, …], one row per image, on one scale.

    `pictures` are the class names and the images, uint8 [28, 28].
    """
    largest = largest_of(values)
    maps = values.ndim == 4  # [n, height, width, channels]
    what = "neurons"
    if maps:
        strongest = np.sort(np.argsort(-values.mean((0, 1, 2)), kind="stable")[:MAPS])
        what = f"feature maps of {values.shape[1]}×{values.shape[2]}, {len(strongest)} with the largest mean"
    rows = []
    for (label, image), row in zip(pictures, values, strict=True):
        source = (
            png_images.tiles([row[:, :, channel] for channel in strongest], largest)
            if maps
            else png_images.signed(row[None, :], largest)
        )
        active = int((np.abs(row) > 1e-3 * largest).sum()) if largest else 0
        alt = f"{layer.name} for {label}: {active:,} of {row.size:,} values not 0, the largest {largest_of(row):.2f}"
        digit = png_images.digit(image, f"A {label}", class_="digit little")
        rows.append(tag("li", digit, tag("img", src=source, alt=alt, class_="maps" if maps else "strip")))
    count = values.shape[-1]
    return tag(
        "div",
        tag("h3", f"{layer.name}", tag("span", f" {count} {what}, {layer.activation}")),
        tag("ol", *rows, class_="activations"),
        png_images.scale(largest, both=bool((values < 0).any())),
        class_="layer",
    )


def largest_of(values: Array) -> float:
    """Return the largest finite absolute value; 0 if there is none."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def layer_table(found: dict[str, Array], similarity: dict[str, tuple[float, float]]) -> Html:
    """The activations and similarities as a table."""
    rows: list[list[object]] = []
    for name, values in found.items():
        flat = values.reshape(len(values), -1)
        largest = largest_of(flat)
        active = 100 * float((np.abs(flat) > 1e-3 * largest).mean()) if largest else 0.0
        same, other = similarity[name]
        rows.append([name, f"{flat.shape[1]:,}", f"{active:.0f}%", f"{largest:.3g}", f"{same:.2f}", f"{other:.2f}"])
    head: list[object] = ["layer", "values", "not 0", "largest", "similarity: same class", "different classes"]
    caption = f"Activations for these images, and mean similarity of {SIMILAR} images per class"
    return tag(
        "details",
        tag("summary", "As a table"),
        scrolling("Layers as numbers", table(caption, head, rows, class_="numbers")),
    )


def similarity_of(layers: list[Layer], test: Split) -> dict[str, tuple[float, float]]:
    """Return the mean cosine of two images of the same class, and of different classes, for pixels and hidden layers.

    The vectors of the first images of each class are centred before. A cosine of 1 means the same direction.
    """
    chosen = np.concatenate([np.flatnonzero(test.labels == label)[:SIMILAR] for label in np.unique(test.labels)])
    labels = test.labels[chosen]
    first, second = np.triu_indices(len(chosen), 1)
    same = labels[first] == labels[second]
    found = {}
    for name, values in activations(layers, test.images[chosen]).items():
        flat = np.nan_to_num(values.reshape(len(values), -1))
        flat -= flat.mean(0)
        products = (flat @ flat.T).astype(np.float64)
        lengths = np.sqrt(np.diag(products))
        cosines = np.nan_to_num(products / np.maximum(np.outer(lengths, lengths), 1e-30))[first, second]
        means = [float(part.mean()) if part.size else 1.0 for part in (cosines[same], cosines[~same])]
        found[name] = (means[0], means[1])
    return found


def pair(similarity: tuple[float, float]) -> str:
    """ "0.45 and −0.05"."""
    return f"{similarity[0]:.2f} and {similarity[1]:.2f}".replace("-", "−")
