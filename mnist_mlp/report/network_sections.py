"""What the network sees: its worst mistakes, its first weights, and what its layers make of a few digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data import Split
from mnist_mlp.models.portable import Array, Layer
from mnist_mlp.report import png_images
from mnist_mlp.report.content import Material, Predictions, activations
from mnist_mlp.report.formatting import probability
from mnist_mlp.report.html import Html, paragraph, scrolling, section, table, tag
from mnist_mlp.report.svg_charts import ten_bars

MISTAKES = 24  # shown
NEURONS = 128  # whose weights are shown
IN_A_ROW = 8
MAPS = 8  # of the feature maps of a convolution
ALIKE = 10  # images of each class, of which it is measured how alike they are to a layer


def mistakes(material: Material) -> Html:
    """The test images whose truth the network thought least likely."""
    title, seen = "Worst mistakes", material.seen
    if seen is None:
        return section("mistakes", title, paragraph(material.why_not, class_="absent"))
    wrong = np.flatnonzero(~seen.right)
    worst = wrong[np.argsort(-np.nan_to_num(seen.losses[wrong], nan=np.inf), kind="stable")][:MISTAKES]
    if not len(worst):
        return section("mistakes", title, paragraph("There is none: every test image was recognised."))
    words = (
        f"The {len(worst)} of {len(wrong)} mistakes in which the truth was thought least likely. Bars: the ten "
        "probabilities, in blue the truth’s, in orange that of what the network said."
    )
    cards = tag("ol", *(card(material, seen, int(index)) for index in worst), class_="cards")
    return section("mistakes", title, paragraph(words, class_="note"), cards)


def card(material: Material, seen: Predictions, index: int) -> Html:
    """One mistake: the image, the truth, what was said, and the ten probabilities."""
    truth, said, names = int(seen.test.labels[index]), int(seen.predicted[index]), material.classes
    p = seen.probabilities(index)
    spoken = ", ".join(f"{names[place]} {probability(value)}" for place, value in enumerate(p))
    return tag(
        "li",
        png_images.digit(seen.test.images[index], f"Test image {index}: a {names[truth]}"),
        tag(
            "strong", tag("span", names[truth], class_="truth"), " taken for ", tag("span", names[said], class_="said")
        ),
        tag("span", f"said {probability(p[said])}", tag("br"), f"truth {probability(p[truth])}", class_="small"),
        ten_bars(f"Probabilities: {spoken}", p.tolist(), truth, said, names),
        tag("span", f"image {index:,}", class_="small"),
    )


def weights(material: Material) -> Html:
    """The weights of the first layer that has some, as pictures."""
    layer = next(layer for layer in material.layers if layer.kernel is not None)
    kernel, _ = layer.weights
    dense = layer.kind == "dense"
    pictures = kernel.T.reshape(-1, 28, 28) if dense else kernel[:, :, 0, :].transpose(2, 0, 1)
    order: np.ndarray = np.arange(len(pictures))
    which = "all"
    if len(pictures) > NEURONS:
        order = np.sort(np.argsort(-np.linalg.norm(pictures.reshape(len(pictures), -1), axis=1))[:NEURONS])
        which = f"the {NEURONS} largest of"
    finite = np.abs(pictures[np.isfinite(pictures)])
    largest = float(np.quantile(finite, 0.995) or finite.max()) if finite.size else 0.0
    rows = [order[start : start + IN_A_ROW] for start in range(0, len(order), IN_A_ROW)]
    what = "neurons" if dense else "filters"
    strips = [
        tag(
            "img",
            src=png_images.tiles([pictures[index] for index in row], largest),
            alt=f"Weights of the {what} {row[0] + 1} to {row[-1] + 1} of {layer.name}, as pictures",
            class_="tiles",
        )
        for row in rows
    ]
    size = "28×28 pixels" if dense else f"{kernel.shape[0]}×{kernel.shape[1]} pixels around each place"
    words = (
        f"{layer.name}: {which} {len(pictures)} {what}, each a picture of its weights to {size}. Ink where it is blue "
        f"speaks for a {what[:-1]}, ink where it is orange against it. "
    )
    if not np.isfinite(kernel).any():
        words += "None of the weights is a finite number: training diverged."
    elif not largest:
        words += "All weights are 0: nothing was learned."
    grid = tag("div", *strips, class_="strips" if dense else "strips filters")
    about = paragraph("One scale for all; full colour from its ends on.", class_="note")
    return section(
        "weights", "First-layer weights", paragraph(words, class_="note"), grid, png_images.scale(largest), about
    )


def hidden(material: Material) -> Html:
    """What each hidden layer gives for one digit of each class."""
    title, seen = "Hidden activations", material.seen
    if seen is None:
        return section("activations", title, paragraph(material.why_not, class_="absent"))
    chosen = first_of_each(seen)
    found = activations(material.layers, seen.test.images[chosen])
    hidden_layers = [layer for layer in material.layers if layer.name in found]
    if not hidden_layers:
        words = "This network has no hidden layer: each class is one sum over the pixels, shown above."
        return section("activations", title, paragraph(words))
    words = (
        "The first test image of each class that was recognised (or the first, where none was), one a row; each cell "
        f"is a {'place of a feature map' if hidden_layers[0].kind == 'conv' else 'neuron'}, the stronger its colour "
        "the stronger it answers. "
    )
    likeness = likeness_of(material.layers, seen.test)
    apart = [same - other for same, other in likeness.values()]
    if apart[-1] > apart[0]:
        words += (
            "What the layers do: to the last one, two images of one class are more alike than as pixels, beside two of "
            f"different classes (mean cosine, once the mean of all is taken off: {pair(likeness['pixels'])} as pixels, "
            f"{pair(likeness[hidden_layers[-1].name])} in {hidden_layers[-1].name})."
        )
    else:
        words += "Here the last layer tells the classes apart no better than the pixels do."
    pictures = [(material.classes[seen.test.labels[index]], seen.test.images[index]) for index in chosen]
    blocks = [block(layer, found[layer.name], pictures) for layer in hidden_layers]
    return section(
        "activations",
        title,
        paragraph(words, class_="note"),
        tag("div", *blocks, class_="layers"),
        facts(found, likeness),
    )


def first_of_each(seen: Predictions) -> NDArray[np.intp]:
    """The first right image of each class that there is, or the first at all."""
    chosen = []
    for label in np.unique(seen.test.labels):
        here = np.flatnonzero(seen.test.labels == label)
        right = here[seen.right[here]]
        chosen.append(right[0] if len(right) else here[0])
    return np.array(chosen)


def block(layer: Layer, values: Array, pictures: list[tuple[str, NDArray[np.uint8]]]) -> Html:
    """One layer: what it gives, float32 [n, …], a row for each of n images, on one scale. `pictures`: their classes'
    names and uint8 [28, 28]."""
    largest = largest_of(values)
    maps = values.ndim == 4  # [n, height, width, channels]
    what = "neurons"
    if maps:
        strongest = np.sort(np.argsort(-values.mean((0, 1, 2)), kind="stable")[:MAPS])
        what = f"feature maps of {values.shape[1]}×{values.shape[2]}, the {len(strongest)} strongest of them"
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
        tag("ol", *rows, class_="answers"),
        png_images.scale(largest, both=bool((values < 0).any())),
        class_="layer",
    )


def largest_of(values: Array) -> float:
    """The largest absolute value that is finite; 0 where there is none."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def facts(found: dict[str, Array], likeness: dict[str, tuple[float, float]]) -> Html:
    """The same as numbers."""
    rows: list[list[object]] = []
    for name, values in found.items():
        flat = values.reshape(len(values), -1)
        largest = largest_of(flat)
        active = 100 * float((np.abs(flat) > 1e-3 * largest).mean()) if largest else 0.0
        same, other = likeness[name]
        rows.append([name, f"{flat.shape[1]:,}", f"{active:.0f}%", f"{largest:.3g}", f"{same:.2f}", f"{other:.2f}"])
    head: list[object] = ["layer", "values", "not 0", "largest", "alike: same class", "other classes"]
    caption = f"The layers’ answers to these digits, and how alike {ALIKE} images of each class are to them"
    return tag(
        "details",
        tag("summary", "The same as numbers"),
        scrolling("Layers as numbers", table(caption, head, rows, class_="numbers")),
    )


def likeness_of(layers: list[Layer], test: Split) -> dict[str, tuple[float, float]]:
    """For the pixels and each hidden layer the mean cosine between what two images of one class give, and two of
    different ones: of the first few images of each class, whose mean is taken off first. 1 is the same direction."""
    chosen = np.concatenate([np.flatnonzero(test.labels == label)[:ALIKE] for label in np.unique(test.labels)])
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


def pair(likeness: tuple[float, float]) -> str:
    return f"{likeness[0]:.2f} beside {likeness[1]:.2f}".replace("-", "−")
