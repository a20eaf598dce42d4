"""The lecture's questions as cards: what can be answered, which answer the measurements confirm, and a figure of them.

A card holds no measured number. `card_json` takes them all from the results of `lab.explain`, `lab.ladder` and
`lab.mistakes`, as their `--json` prints them, and decides by them which choice is right.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]  # by the name of the measurement: see MEASUREMENTS
Figure = dict[str, Any]  # see `bars` and `lines`
Rows = Sequence[Mapping[str, Any]]

MEASUREMENTS: dict[str, tuple[str, ...]] = {  # what is run, without --dataset and --json
    "explain": ("mnist_mlp.lab.explain",),
    "mistakes": (
        *("mnist_mlp.lab.mistakes", "--seeds=3"),
        *("--only", "zero_initialisation", "learning_rate_too_large", "no_shuffling"),
    ),
    "layers": ("mnist_mlp.lab.ladder", "--only", "layers", "activations", "approximation"),
    "curves": ("mnist_mlp.lab.ladder", "--only", "width", "images"),
    "optimizers": ("mnist_mlp.lab.ladder", "--only", "optimizers"),
}
LECTURE, LOGISTIC, DEEPER, LINEAR = "the lecture's net", "logistic regression", "deeper, 128 128 64 64 32", "linear"
SGD = "SGD 0.01, Keras' default"


@dataclasses.dataclass(frozen=True)
class Card:
    """A question. `right` returns the index of the choice that the results confirm, None if they decide nothing."""

    name: str  # of its address: /questions#NAME
    part: str
    question: str
    choices: tuple[str, ...]
    right: Callable[[Results], int | None]
    why: str
    claims: Callable[[Results], Rows]
    measured_by: tuple[str, ...]
    figure: Callable[[Results], Figure] | None = None
    playground: str = ""  # the fragment of a state of the Playground to try it
    training: str = ""  # the options of a run to watch it, as the address of that room has them


def card_json(card: Card, results: Results) -> dict[str, Any]:
    """Return what the page shows of a card."""
    return {
        "name": card.name,
        "part": card.part,
        "question": card.question,
        "choices": list(card.choices),
        "right": card.right(results),
        "why": card.why,
        "claims": [
            {key: row[key] for key in ("claim", "arithmetic", "measured", "holds")} for row in card.claims(results)
        ],
        "figure": card.figure(results) if card.figure else None,
        "measured_by": list(card.measured_by),
        "playground": card.playground,
        "training": card.training,
    }


# ---- from the results to claims --------------------------------------------------------------------------------------


def explained(question: str, *, only: slice = slice(None)) -> Callable[[Results], Rows]:
    """Return a function that gives the claims of `lab.explain` under a question, or some of them."""

    def find(results: Results) -> Rows:
        found = [row for row in results["explain"]["claims"] if row["question"] == question]
        if not found[only]:
            raise KeyError(question)
        return found[only]

    return find


def confirmed(
    choice: int, find: Callable[[Results], Rows], refuted: int | None = None
) -> Callable[[Results], int | None]:
    """Return a function that gives `choice` if all these claims hold, `refuted` if one does not, and else None."""

    def decide(results: Results) -> int | None:
        verdicts = [row["holds"] for row in find(results)]
        return refuted if False in verdicts else choice if all(verdicts) else None

    return decide


def nearest(values: Sequence[float], measured: Callable[[Results], float]) -> Callable[[Results], int]:
    """Return a function that gives the index of the value that is nearest to the measured one."""

    def decide(results: Results) -> int:
        found = measured(results)
        return min(range(len(values)), key=lambda k: abs(values[k] - found))

    return decide


def rung(results: Results, name: str, measurement: str = "layers") -> Mapping[str, Any]:
    """Return the row of a network of `lab.ladder`; `name` is how its name begins."""
    return next(row for row in results[measurement]["rungs"] if row["name"].startswith(name))


def rungs(*names: str, measurement: str = "layers") -> Callable[[Results], Rows]:
    """Return a function that gives networks of `lab.ladder` as claims."""

    def find(results: Results) -> Rows:
        return [rung_claim(rung(results, name, measurement)) for name in names]

    return find


def rung_claim(row: Mapping[str, Any]) -> dict[str, Any]:
    measured = percent(row)
    if row.get("difference") is not None:
        low, high = row["difference_interval"]
        measured += f"; {100 * row['difference']:+.2f} points (95%: {100 * low:.2f} to {100 * high:.2f})".replace(
            "-", "−"
        )
        measured += f" against no. {row['against']}"
    name = f"no. {row['number']}: {row['name']}"
    return {"claim": name, "arithmetic": f"{row['parameters']:,} parameters", "measured": measured, "holds": None}


def percent(row: Mapping[str, Any]) -> str:
    """Return mean ± standard deviation over the seeds."""
    return f"{100 * row['accuracy']:.2f}% ± {100 * row['sd']:.2f}"


def mistake(results: Results, name: str) -> Mapping[str, Any]:
    """Return the row of a mistake of `lab.mistakes`, or of the correct program."""
    found = results["mistakes"]
    return next(row for row in (found["right"], *found["mistakes"]) if row["name"] == name)


def made(name: str) -> Callable[[Results], Rows]:
    """Return a function that gives a mistake beside the correct program as claims."""

    def find(results: Results) -> Rows:
        rows = [results["mistakes"]["right"], mistake(results, name)]
        return [
            {
                "claim": row["name"],
                "arithmetic": row["how"],
                "measured": f"{each_percent(row['accuracy'])} of the test images, in {row['of']} seeds",
                "holds": None,
            }
            for row in rows
        ]

    return find


def each_percent(shares: Sequence[float]) -> str:
    return ", ".join(f"{100 * share:.2f}%" for share in shares)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# ---- from the results to figures -------------------------------------------------------------------------------------


def bars(title: str, rows: Sequence[tuple[str, float, str]], *, start: float = 0.0, end: float | None = None) -> Figure:
    """Return a figure of horizontal bars: of each its label, its value, and the text beside it.

    They begin at `start` and the axis ends at `end` (default: at the largest value).
    """
    found = [{"label": label, "value": rounded(value), "text": text} for label, value, text in rows]
    return {"kind": "bars", "title": title, "start": start, "end": end, "rows": found}


def lines(title: str, x: str, y: str, series: Mapping[str, Sequence[tuple[float, float]]], *, log: str = "") -> Figure:
    """Return a figure of lines over x: points (x, y) by the name of the line. `log` has the axes, of "xy", that are."""
    found = [{"name": name, "points": [[a, rounded(b)] for a, b in points]} for name, points in series.items()]
    return {"kind": "lines", "title": title, "x": x, "y": y, "log": log, "series": found}


def rounded(value: float) -> float:
    """Return six significant digits: more than a figure shows."""
    return float(f"{value:.6g}")


def accuracies(title: str, *names: str, measurement: str = "layers", start: float = 0.0) -> Callable[[Results], Figure]:
    """Return a function that draws networks of `lab.ladder`."""

    def draw(results: Results) -> Figure:
        rows = [rung(results, name, measurement) for name in names]
        return bars(title, [(row["name"], 100 * row["accuracy"], percent(row)) for row in rows], start=start, end=100.0)

    return draw


def losses_of(name: str) -> Callable[[Results], Figure]:
    """Return a function that draws the loss of a mistake by epoch, beside that of the correct program."""

    def draw(results: Results) -> Figure:
        rows = [results["mistakes"]["right"], mistake(results, name)]
        series = {row["name"]: list(enumerate(row["losses"], start=1)) for row in rows}
        return lines("Training loss by epoch, seed 0", "epoch", "loss", series, log="y")

    return draw


def loss_by_epoch(results: Results) -> Figure:
    right = results["mistakes"]["right"]
    points = list(enumerate(right["losses"], start=1))
    return lines("Training loss by epoch, seed 0", "epoch", "loss", {"the lecture's network": points})


def parameters_of(results: Results) -> list[tuple[str, float, str]]:
    """Return the Dense layers with the numbers of parameters that were counted."""
    rows = explained(PARAMETERS)(results)[:-1]
    counts = [int(row["measured"].rpartition(": ")[2].replace(",", "")) for row in rows]
    names = [f"Dense {row['claim'].split()[0]}" for row in rows]
    return [(name, count, f"{count:,}") for name, count in zip(names, counts, strict=True)]


def total_parameters(results: Results) -> float:
    return sum(count for _, count, _ in parameters_of(results))


def train_and_test(results: Results) -> Figure:
    (row,) = explained(OVERFIT)(results)
    train, test = (float(share) for share in re.findall(r"([\d.]+)%", row["measured"])[:2])
    rows = [("training images", train, f"{train:.2f}%"), ("test images", test, f"{test:.2f}%")]
    return bars("Accuracy, %", rows, start=90.0, end=100.0)


def first_number(results: Results, question: str) -> float:
    """Return the first number that was measured for a question."""
    return float(explained(question)(results)[0]["measured"].split()[0])


def curve(name: str, title: str, x: str) -> Callable[[Results], Figure]:
    """Return a function that draws the accuracy against the width or the number of images."""

    def draw(results: Results) -> Figure:
        points = [(row[name], 100 * row["accuracy"]) for row in results["curves"][name]]
        return lines(title, x, "%", {"accuracy on the test images": points}, log="x")

    return draw


def curve_rows(name: str, what: str) -> Callable[[Results], Rows]:
    def find(results: Results) -> Rows:
        return [
            {
                "claim": f"{row[name]:,} {what}",
                "arithmetic": f"{row['parameters']:,} parameters",
                "measured": percent(row),
                "holds": None,
            }
            for row in results["curves"][name]
        ]

    return find


def on_100_images(results: Results) -> float:
    return next(row["accuracy"] for row in results["curves"]["images"] if row["images"] == 100)


def widths_help(results: Results) -> int | None:
    """Return the choice: 0 if each of the widths is better on average than the one before it, ever less so."""
    means = [row["accuracy"] for row in results["curves"]["width"]]
    gains = [after - before for before, after in zip(means, means[1:], strict=False)]
    if gains[0] <= 0:
        return 1
    return 0 if max(gains) == gains[0] and gains[-1] < gains[0] / 2 and means[-1] > means[0] else None


def deeper_helps(results: Results) -> int:
    """Return the choice: better, worse, or no difference that these data show."""
    row = rung(results, DEEPER)
    low, high = row["difference_interval"]
    if row["p"] >= 0.05 or low <= 0 <= high:
        return 2
    return 0 if low > 0 else 1


def approximation(results: Results) -> Figure:
    rows = results["layers"]["approximation"]
    targets = dict.fromkeys(row["target"] for row in rows)
    series = {
        target: [(row["width"], row["l2_error"]) for row in rows if row["target"] == target] for target in targets
    }
    return lines("Error of one hidden layer", "neurons", "L² error", series, log="xy")


def approximation_rows(results: Results) -> Rows:
    rows = results["layers"]["approximation"]
    widths = [rows[0]["width"], rows[-1]["width"]]
    found = []
    for target in dict.fromkeys(row["target"] for row in rows):
        first, last = (
            [row for row in rows if row["target"] == target and row["width"] == width][0] for width in widths
        )
        measured = f"L² error {first['l2_error']:.1e} → {last['l2_error']:.1e}; largest error "
        measured += f"{first['largest_error']:.1e} → {last['largest_error']:.1e}"
        claim, arithmetic = f"{target}: the L² error falls", f"{widths[0]} → {widths[1]} neurons"
        holds = last["l2_error"] < first["l2_error"]
        found.append({"claim": claim, "arithmetic": arithmetic, "measured": measured, "holds": holds})
    return found


# ---- the cards -------------------------------------------------------------------------------------------------------

PROGRAM, TRAINING, WRONG, WHY = "The program", "Training and testing", "What goes wrong", "Why it works"
LAYERS = "How many layers are there, and how many are hidden?"
FLATTEN = "Is Flatten a dense layer?"
PARAMETERS = "How many parameters, and why?"
STEPS = "How many points are in the training set? What do 1875 and 313 mean?"
START = "What is the loss before training?"
FALLS = "Does the loss fall during training?"
SOFTMAX = "Should the last layer be a sigmoid?"
SCORE = "What is the final test accuracy?"
OVERFIT = "Does it overfit?"
WITHOUT = "What happens without the hidden layers?"
RAW = "What if the pixels stay at 0 to 255, as in the lecture?"
ZEROS, TOO_LARGE, UNSHUFFLED = "zero initialisation", "learning rate too large", "no shuffling"

CARDS = (
    Card(
        "layers",
        PROGRAM,
        "How many layers does the program write down, and how many of them are hidden?",
        ("3 layers, 1 hidden", "4 layers, 2 hidden", "4 layers, 3 hidden", "5 layers, 4 hidden"),
        confirmed(1, explained(LAYERS)),
        "Flatten, Dense 128, Dense 64, Dense 10. Hidden is what is neither the input nor the output.",
        explained(LAYERS),
        ("explain",),
    ),
    Card(
        "flatten",
        PROGRAM,
        "Is Flatten a dense layer?",
        ("Yes", "No"),
        confirmed(1, explained(FLATTEN)),
        "It only joins the 28 rows of an image end to end. There is nothing in it to learn.",
        explained(FLATTEN),
        ("explain",),
    ),
    Card(
        "parameters",
        PROGRAM,
        "How many parameters does the network have?",
        ("202", "101,770", "109,184", "109,386"),
        nearest((202, 101_770, 109_184, 109_386), total_parameters),
        "Each neuron has a weight for each of its inputs, and a bias: 785 · 128 + 129 · 64 + 65 · 10. Without the "
        "biases it would be 202 fewer.",
        explained(PARAMETERS),
        ("explain",),
        lambda results: bars("Parameters of each layer", parameters_of(results)),
    ),
    Card(
        "training-set",
        PROGRAM,
        "How many images are in the training set?",
        ("10,000", "50,000", "60,000", "70,000"),
        nearest((10_000, 50_000, 60_000, 70_000), lambda results: results["explain"]["dataset"]["train_examples"]),
        "MNIST has 70,000 images, of which 10,000 are for the test. The program keeps none for validation.",
        explained(STEPS, only=slice(0, 1)),
        ("explain",),
    ),
    Card(
        "1875-and-313",
        PROGRAM,
        "Keras prints 1875/1875 while it trains and 313/313 while it evaluates. What does it count?",
        ("milliseconds", "images of each class", "batches of 32 images", "weights that have changed"),
        confirmed(2, explained(STEPS, only=slice(1, 3))),
        "60,000 / 32 is 1875. 10,000 / 32 is 312.5, and the last half batch is a batch, too.",
        explained(STEPS, only=slice(1, 3)),
        ("explain",),
    ),
    Card(
        "six-times",
        PROGRAM,
        "1875 is nearly 6 · 313 = 1878. Why nearly?",
        (
            "Six times as many images, and the last test batch is half full",
            "By chance: the two have nothing to do with each other",
            "Three batches are kept for validation",
        ),
        confirmed(0, explained(STEPS, only=slice(3, 4))),
        "Rounding 312.5 up to 313 adds half a batch, and six halves are three.",
        explained(STEPS, only=slice(3, 4)),
        ("explain",),
    ),
    Card(
        "first-loss",
        TRAINING,
        "With pixels from 0 to 1, about how large is the loss before the first step?",
        ("0", "1", "2.3", "10"),
        nearest((0.0, 1.0, 2.3, 10.0), lambda results: first_number(results, START)),
        "The network knows nothing yet and gives each of ten classes about the same probability: −ln(1/10) ≈ 2.3.",
        explained(START),
        ("explain",),
    ),
    Card(
        "loss-falls",
        TRAINING,
        "Does the loss fall along the way?",
        ("Yes, with every step", "From epoch to epoch, but not with every step", "No, it goes up and down for ever"),
        confirmed(1, explained(FALLS)),
        "A step sees 32 images and measures its loss on them. The mean over an epoch is that of all images.",
        explained(FALLS),
        ("explain", "mistakes"),
        loss_by_epoch,
        "dataset=circle&networkShape=3&activation=relu&seed=2",
        training="epochs=5",
    ),
    Card(
        "sigmoid",
        TRAINING,
        "Should the last layer be a sigmoid?",
        ("Yes", "No: softmax"),
        confirmed(1, explained(SOFTMAX)),
        "Ten sigmoids answer ten questions of yes or no. The question is one: which of the ten?",
        explained(SOFTMAX),
        ("explain",),
    ),
    Card(
        "accuracy",
        TRAINING,
        "What share of the test images does it get right after 5 epochs?",
        ("about 92%", "about 95%", "about 98%", "about 99.9%"),
        nearest((0.92, 0.95, 0.98, 0.999), lambda results: rung(results, LECTURE)["accuracy"]),
        "With pixels from 0 to 1. The slide's run has them from 0 to 255 and 96.22%: there is a card for that.",
        explained(SCORE),
        ("explain", "layers"),
        accuracies("Accuracy on the test images, %", LOGISTIC, "one hidden layer", LECTURE, start=90.0),
        training="epochs=5",
    ),
    Card(
        "overfit",
        TRAINING,
        "Does it overfit?",
        ("Yes: it does better on the images that it was trained on", "No: it does as well on new images"),
        confirmed(0, explained(OVERFIT), refuted=1),
        "The weights were chosen for the training images; the test images are new to them.",
        explained(OVERFIT),
        ("explain",),
        train_and_test,
        "dataset=gauss&noise=50&percTrainData=10&networkShape=8,8&activation=tanh&seed=3",
    ),
    Card(
        "no-hidden-layers",
        TRAINING,
        "What happens without the hidden layers?",
        ("It learns nothing: about 10%", "about 92%", "about 95%", "The same as with them"),
        nearest((0.10, 0.925, 0.95, 0.977), lambda results: rung(results, LOGISTIC)["accuracy"]),
        "What remains is softmax regression: ten linear functions of the pixels.",
        explained(WITHOUT),
        ("explain", "layers"),
        accuracies("Accuracy on the test images, %", LOGISTIC, "one hidden layer", LECTURE, start=90.0),
        "dataset=circle&networkShape=&seed=1",
        training="model=softmax",
    ),
    Card(
        "pixels",
        TRAINING,
        "The lecture's program leaves the pixels at 0 to 255. How accurate is it, compared with 0 to 1?",
        ("More accurate", "As accurate", "Less accurate"),
        confirmed(2, explained(RAW, only=slice(0, 1)), refuted=0),
        "A step of 0.001 in a weight of the first layer moves its neuron up to 255 times as far.",
        explained(RAW),
        ("explain",),
        training="preset=lecture",
    ),
    Card(
        "all-zero",
        WRONG,
        "What if all weights start at 0?",
        ("It learns as usual", "It learns, only more slowly", "It gives the same answer for every image"),
        lambda results: 2 if mean(mistake(results, ZEROS)["accuracy"]) < 0.15 else None,
        "Every hidden neuron puts out 0, so no gradient reaches the weights. Only the ten last biases learn: which "
        "digit is the most frequent.",
        made(ZEROS),
        ("mistakes",),
        losses_of(ZEROS),
        "dataset=circle&networkShape=4&activation=relu&initZero=true&seed=1",
        training="model=mlp_zeros",
    ),
    Card(
        "rate-times-1000",
        WRONG,
        "What if Adam's learning rate is 1 instead of 0.001?",
        ("It learns faster", "It learns as well", "It learns hardly anything"),
        lambda results: 2 if mean(mistake(results, TOO_LARGE)["accuracy"]) < 0.5 else None,
        "The first step moves each weight by the learning rate; those of the first layer begin below 0.1.",
        made(TOO_LARGE),
        ("mistakes",),
        losses_of(TOO_LARGE),
        "dataset=circle&networkShape=4,2&activation=relu&learningRate=10&seed=1",
        training="learning_rate=1",
    ),
    Card(
        "not-shuffled",
        WRONG,
        "What if the images come sorted by digit, and are never shuffled?",
        ("Nothing changes: every image is still seen once an epoch", "It forgets each digit while it learns the next"),
        lambda results: 1 if mean(mistake(results, UNSHUFFLED)["accuracy"]) < 0.9 else 0,
        "A batch should be a sample of all images. Here each one has a single digit.",
        made(UNSHUFFLED),
        ("mistakes",),
        losses_of(UNSHUFFLED),
    ),
    Card(
        "linear",
        WHY,
        "Keep both hidden layers, but leave out their activation. How well does it do?",
        ("As well as with ReLU", "No better than without hidden layers", "It does not learn"),
        nearest((0.977, 0.925, 0.10), lambda results: rung(results, LINEAR)["accuracy"]),
        "Linear functions of linear functions are linear: W₃ W₂ W₁ is one matrix.",
        rungs(LOGISTIC, LINEAR, LECTURE),
        ("layers",),
        accuracies("Accuracy on the test images, %", LOGISTIC, LINEAR, LECTURE, start=90.0),
        "dataset=circle&networkShape=8,8&activation=linear&seed=1",
    ),
    Card(
        "width",
        WHY,
        "One hidden layer: does it help to make it wider?",
        ("Yes, but less and less", "No: 8 neurons are enough", "Only up to 64 neurons; then it gets worse"),
        widths_help,
        "More neurons can learn more features of the digits, and each further one adds less.",
        curve_rows("width", "neurons"),
        ("curves",),
        curve("width", "Accuracy against width", "neurons in the hidden layer"),
        training="units=512",
    ),
    Card(
        "depth",
        WHY,
        "Five hidden layers instead of two: better?",
        ("Better", "Worse", "No difference that these runs could show"),
        deeper_helps,
        "Compared on the same 10,000 test images, seed by seed.",
        rungs(LECTURE, DEEPER),
        ("layers",),
        accuracies("Accuracy on the test images, %", LECTURE, "wider", DEEPER, start=90.0),
        training="units=128,128,64,64,32",
    ),
    Card(
        "data",
        WHY,
        "Train on 100 images, 10 of each digit, for as many steps as on all 60,000. How accurate is it?",
        ("about 10%", "about 50%", "about 75%", "about 95%"),
        nearest((0.10, 0.50, 0.75, 0.95), on_100_images),
        "As many steps, but each of the 100 images comes 600 times as often: there is less to learn from.",
        curve_rows("images", "images"),
        ("curves",),
        curve("images", "Accuracy against data", "training images"),
    ),
    Card(
        "optimizer",
        WHY,
        "SGD with Keras' default learning rate of 0.01 instead of Adam, 5 epochs: what happens?",
        ("It does not learn: about 10%", "It gets less far: about 95%", "The same"),
        nearest((0.10, 0.95, 0.977), lambda results: rung(results, SGD, "optimizers")["accuracy"]),
        "Adam divides each weight's step by the size of its gradients so far; plain SGD does not.",
        rungs(LECTURE, SGD, "SGD 0.1", "momentum", "RMSprop", "AdaDelta 0.001", "AdaDelta 1", measurement="optimizers"),
        ("optimizers",),
        accuracies(
            "Accuracy on the test images after 5 epochs, %",
            *(LECTURE, SGD, "SGD 0.1", "momentum", "RMSprop", "AdaDelta 0.001", "AdaDelta 1"),
            measurement="optimizers",
            start=50.0,
        ),
        training="optimizer=sgd&learning_rate=0.01",
    ),
    Card(
        "any-function",
        WHY,
        "Can one hidden layer come as close as wanted to any function, in the mean?",
        ("No: that takes depth", "Yes, with enough neurons", "Only to smooth functions"),
        confirmed(1, approximation_rows),
        "That is the approximation theorem. At a jump the largest error stays, but the L² error falls.",
        approximation_rows,
        ("layers",),
        approximation,
    ),
)
