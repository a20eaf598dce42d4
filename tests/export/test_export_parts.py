"""Parts of an export one by one: which formats, what is compared, the layers of a network, what the console shows."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from mnist_mlp.errors import UserError
from mnist_mlp.export import agreement, formats, table
from mnist_mlp.models import portable
from mnist_mlp.models.portable import Layer

# The formats


def test_formats_are_chosen_in_their_own_order():
    assert formats.chosen([], False) == ["saved_model", "onnx", "litert", "keras", "weights"]
    assert formats.chosen(["weights,ONNX", "keras"], False) == ["onnx", "keras", "weights"]
    assert formats.chosen(["litert"], True) == ["litert", "litert_int8"]
    assert formats.chosen(["all"], True) == list(formats.FORMATS)
    with pytest.raises(
        UserError, match=r"--format: expected one or more of .*, all; received 'onx'; did you mean 'onnx'"
    ):
        formats.chosen(["onx"], False)
    with pytest.raises(UserError, match="--int8: expected --format=onnx or litert, received keras, weights; try --f"):
        formats.chosen(["keras,weights"], True)
    with pytest.raises(UserError, match="received 'onnx_int8'"):
        formats.chosen(["onnx_int8"], False)


@pytest.mark.parametrize(
    ("there", "names", "words"),
    [
        (
            {"onnx"},
            ["onnx", "onnx_int8"],
            "--format=onnx needs the package onnxruntime, which is not installed; run ",
        ),
        (set(), ["onnx"], "--format=onnx needs the packages onnx and onnxruntime, which are not installed; run "),
        (
            {"onnx"},
            ["onnx", "litert_int8"],
            "--format=litert,onnx needs the packages ai-edge-litert and onnxruntime, which are not installed; run ",
        ),
        ({"onnx", "onnxruntime"}, ["onnx", "keras"], None),
        ({"ai_edge_litert"}, ["litert"], None),
    ],
)
def test_packages_that_are_missing_are_named_once(monkeypatch, there, names, words):
    monkeypatch.setattr(formats, "detect", lambda: None)
    monkeypatch.setattr(formats, "tensorflow_problem", lambda seen: "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in there else None)
    if words is None:
        formats.check_packages(names)
        return
    with pytest.raises(UserError) as error:
        formats.check_packages(names)
    assert str(error.value).startswith(words) and str(error.value).endswith("(in a clone: pip install -e '.[export]')")


def test_without_tensorflow_the_other_formats_are_named(monkeypatch):
    monkeypatch.setattr(formats, "detect", lambda: None)
    monkeypatch.setattr(formats, "tensorflow_problem", lambda seen: "TensorFlow is not installed")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    formats.check_packages(["keras", "onnx"])
    with pytest.raises(UserError) as error:
        formats.check_packages(["keras", "litert", "saved_model"])
    words = "--format=litert: TensorFlow is not installed (without it: --format=onnx,keras,weights)"
    assert str(error.value) == words


# The comparison

LABELS = np.array([0, 1, 2, 3])


def predictions(*rows):
    """float32 [n, 10]: in each row the two largest probabilities as (class, p), (class, p)."""
    found = np.zeros((len(rows), 10), np.float32)
    for row, entries in enumerate(rows):
        for digit, p in entries.items():
            found[row, digit] = p
    return found


TRAINED = predictions({0: 0.75, 1: 0.25}, {1: 1}, {5: 0.5, 2: 0.25}, {3: 1})  # the third is wrong


def compared(exported, tolerance=0.25, classes=None):
    classes = exported.argmax(1) if classes is None else np.array(classes)
    return agreement.compare(LABELS, TRAINED, exported, classes, tolerance)


def test_an_export_that_is_the_model_agrees():
    found = compared(TRAINED, 0.0)
    assert (found.agreements, found.total, found.correct, found.largest_difference) == (4, 4, 3, 0.0)
    assert found.agrees and found.first_difference is None


def test_a_difference_may_be_as_large_as_the_tolerance():
    for change in (0.25, -0.25):
        exported = TRAINED.copy()
        exported[1, 7] += abs(change)
        exported[3, 3] += change
        found = compared(exported)
        assert found.largest_difference == 0.25 and found.agrees and found.first_difference is None
        found = compared(exported, 0.249)
        assert not found.agrees and found.first_difference["image"] == 1


def test_the_first_image_beyond_the_tolerance_is_told():
    exported = predictions({0: 0.75}, {1: 1}, {5: 0.5}, {3: 0.25, 4: 0.5})
    found = compared(exported)
    assert (found.agreements, found.correct, found.largest_difference) == (3, 2, 0.75) and not found.agrees
    assert found.first_difference == {
        "image": 3,
        "label": 3,
        "trained": {"class": 3, "probability": 1.0},
        "export": {"class": 4, "probability": 0.5},
        "apart": {"class": 3, "trained": 1.0, "export": 0.25},
    }
    # One with another class comes before one that only has another probability.
    both = compared(predictions({0: 0.25}, {1: 1}, {5: 0.5}, {3: 0.25, 4: 0.5}))
    assert both.first_difference["image"] == 3
    moved = compared(predictions({0: 0.5, 1: 0.5}, {1: 1}, {5: 0.5}, {3: 1}), classes=[1, 1, 5, 3])
    assert moved.agrees and moved.agreements == 3 and moved.first_difference["image"] == 0  # within the tolerance


def test_a_class_must_have_the_largest_probability_and_nan_has_none():
    found = compared(TRAINED, classes=[1, 1, 5, 3])
    assert not found.agrees and found.agreements == 3 and found.first_difference["image"] == 0
    exported = TRAINED.copy()
    exported[2] = np.nan
    found = compared(exported, classes=[0, 1, 5, 3])
    assert not found.agrees and found.agreements == 3 and found.first_difference["image"] == 2
    for exported, classes in ((TRAINED[:3], None), (TRAINED, [0, 1, 5])):
        with pytest.raises(ValueError, match="expected predictions"):
            compared(exported, classes=classes)


@pytest.mark.parametrize(
    ("n", "wrong", "moved_wrong", "lost", "agrees"),
    [
        (1000, 9, 3, 0, True),  # a third of nine may move
        (1000, 9, 4, 0, False),
        (1000, 10, 4, 0, True),  # rounded up
        (1000, 0, 0, 1, True),  # one at least
        (1000, 0, 0, 2, False),
        (1000, 30, 0, 2, True),  # 0.2% may be lost
        (1000, 30, 0, 3, False),
        (1001, 30, 0, 3, True),  # rounded up
    ],
)
def test_with_fewer_bits_a_few_images_may_move(n, wrong, moved_wrong, lost, agrees):
    labels = np.zeros(n, int)
    trained, exported = (np.zeros((n, 10), np.float32) for _ in range(2))
    classes = np.zeros(n, int)
    classes[:wrong] = 1
    trained[np.arange(n), classes] = 1
    classes[:moved_wrong] = 2  # wrong before and after
    classes[n - lost :] = 3
    exported[np.arange(n), classes] = 1
    found = agreement.compare(labels, trained, exported, classes, None)
    assert found.agrees == agrees and found.tolerance is None
    assert found.agreements == n - moved_wrong - lost and found.correct == n - wrong - lost


def test_the_tolerance_is_what_float32_is_off(monkeypatch):
    def off(by):
        def probabilities(layers, images, dtype):
            return np.array([[0.5, 0.5 + (by if dtype == "float32" else 0)]])

        monkeypatch.setattr(agreement.numpy_forward, "probabilities", probabilities)
        return agreement.tolerance_of([], None)

    assert off(1e-3) == pytest.approx(0.016) and off(-1e-3) == pytest.approx(0.016)
    assert off(1e-8) == 1e-5


# The layers of a network


def weights(*shape):
    return np.arange(np.prod(shape), dtype=np.float64).reshape(shape)


def layer(kind, **has):
    """A layer as Keras has it, by the name of its class."""
    relu = SimpleNamespace(__name__="relu")
    usual = {"use_bias": True, "activation": relu, "weights": [weights(2, 3), weights(3)]}
    convolution = {"strides": (1, 1), "dilation_rate": (1, 1), "groups": 1, "padding": "valid"}
    made = type(kind, (), {})()
    vars(made).update({"name": f"my_{kind}", **usual, **convolution, **has})
    return made


def test_layers_are_read_as_they_compute():
    pytest.importorskip("keras")
    for kind, called in (("Dense", "dense"), ("Conv2D", "conv")):
        found = portable.layer_of(layer(kind))
        assert (found.kind, found.name, found.activation, found.number) == (called, f"my_{kind}", "relu", 0.0)
        assert found.kernel.dtype == np.float32 and found.kernel.shape == (2, 3) and found.bias.tolist() == [0, 1, 2]
    assert portable.layer_of(layer("Dropout")) is None
    assert portable.layer_of(layer("Rescaling", offset=0, scale=0.5)) == Layer("scale", "my_Rescaling", number=0.5)
    assert portable.layer_of(layer("Reshape", target_shape=(28, 28, 1))) == Layer("channel", "my_Reshape")
    pool = layer("MaxPooling2D", pool_size=(2, 2), strides=(2, 2))
    assert portable.layer_of(pool) == Layer("pool", "my_MaxPooling2D", number=2)
    assert portable.layer_of(layer("Flatten")) == Layer("flatten", "my_Flatten")
    assert portable.layer_of(layer("Softmax")).kind == "softmax"


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("Dense", {"use_bias": False}),
        ("Dense", {"activation": SimpleNamespace(__name__="elu")}),
        ("Conv2D", {"strides": (2, 2)}),
        ("Conv2D", {"padding": "same"}),
        ("Conv2D", {"dilation_rate": (2, 2)}),
        ("Conv2D", {"groups": 2}),
        ("MaxPooling2D", {"pool_size": (2, 2), "strides": (1, 1)}),
        ("MaxPooling2D", {"pool_size": (3, 3), "strides": (3, 3)}),
        ("MaxPooling2D", {"pool_size": (2, 2), "strides": (2, 2), "padding": "same"}),
        ("Rescaling", {"offset": -1, "scale": 0.5}),
        ("Reshape", {"target_shape": (784,)}),
        ("LSTM", {}),
    ],
)
def test_layers_that_compute_something_else_are_refused(kind, has):
    pytest.importorskip("keras")
    with pytest.raises(UserError, match=f"cannot export the {kind} layer 'my_{kind}'"):
        portable.layer_of(layer(kind, **has))


def test_a_file_of_weights_gives_the_layers_back(tmp_path):
    kernel, bias = weights(2, 3).astype("float32"), np.ones(3, "float32")
    written = [
        Layer("scale", "s", number=1 / 255),
        Layer("flatten", "f"),
        Layer("dense", "d", "tanh", 0.0, kernel, bias),
        Layer("softmax", "p"),
    ]
    portable.write(written, tmp_path / "weights.npz")
    read = portable.read(tmp_path / "weights.npz")
    assert [(each.kind, each.name, each.activation, each.number) for each in read] == [
        (each.kind, each.name, each.activation, each.number) for each in written
    ]
    np.testing.assert_array_equal(read[2].kernel, kernel)
    np.testing.assert_array_equal(read[2].weights[1], bias)
    with pytest.raises(ValueError, match="s: expected a layer with weights, received a scale layer"):
        _ = read[0].weights


# What the console shows

FOUND = {
    "format": "onnx",
    "file": "model.onnx",
    "bytes": 440123,
    "agreements": 9999,
    "total": 10000,
    "largest_difference": 1.25e-7,
    "correct": 9800,
    "milliseconds": {"1": 0.01234, "256": 1.2345},
    "calls": {"1": 100, "256": 40},
    "runtime": "ONNX Runtime 1.23",
    "agrees": True,
    "tolerance": 1e-5,
    "first_difference": {
        "image": 7,
        "label": 2,
        "trained": {"class": 2, "probability": 0.51234},
        "export": {"class": 3, "probability": None},
        "apart": {"class": 2, "trained": 0.51234, "export": None},
    },
}


def test_a_row_stands_below_its_head():
    assert table.head() == (
        "  format        file                    bytes           agree  largest |Δp|  correct  ms: n = 1   n = 256  "
        "read by"
    )
    assert table.row(FOUND) == (
        "✓ onnx          model.onnx            440,123    9,999/10,000       1.2e-07    9,800     0.0123      1.23  "
        "ONNX Runtime 1.23"
    )
    wrong = table.row({**FOUND, "agrees": False, "largest_difference": None, "milliseconds": {"256": 2.0}})
    assert wrong.startswith("✗ onnx ") and wrong.split()[5] == "nan" and wrong.split()[7:9] == ["–", "2"]


def test_a_difference_is_told_by_the_classes_or_by_the_probability_that_differs_most():
    start = "✗ onnx differs from the trained model: for test image 7 (a 2) the model "
    assert table.refuted([FOUND]) == f"{start}predicts 2 (p = 0.5123), the export 3 (p = nan); its file was removed"
    first = FOUND["first_difference"]
    same = {**first, "export": first["trained"], "apart": {"class": 9, "trained": 0.25, "export": 0.5}}
    told = table.refuted([{**FOUND, "first_difference": same}])
    assert told == f"{start}gives class 9 p = 0.2500, the export p = 0.5000; its file was removed"


def test_the_model_is_told_before():
    trained = SimpleNamespace(pixels="raw", dataset={"name": "digits"}, network="mlp", precision="float32")
    assert table.opening(trained, 1340, 1360, "CPU, tensorflow") == (
        "model    mlp on pixels from 0 to 255, float32\n"
        "test     1,340 of 1,360 digits images correct, on CPU, tensorflow\n"
    )
    trained.pixels = "unit"
    assert "pixels from 0 to 1, " in table.opening(trained, 1, 2, "CPU, jax")


def test_what_stays_of_version_0_1_is_told():
    def kept(*names, **more):
        return " ".join(table.kept([{"format": name, **more} for name in names]).split())

    head = "kept onnx, keras: already exported from the same model"
    assert kept("onnx", "keras") == head
    assert kept("saved_model", "litert", outputs=["probabilities", "class"]).endswith("from the same model")
    assert kept("onnx", "litert", "litert_int8").endswith(
        "! version 0.1 wrote litert, litert_int8 (class as output 0); to replace them: --format litert --int8"
    )
    assert kept("saved_model", "litert").endswith(
        "! version 0.1 wrote saved_model, litert (no folder for its version; class as output 0); to replace them: "
        "--format saved_model litert"
    )


def test_the_columns_are_explained_as_far_as_they_are_there():
    fewer = {**FOUND, "tolerance": None, "calls": {"1": 7}}
    both = table.closing({"formats": [fewer, FOUND], "tolerance": 2e-5}, "out").splitlines()
    assert both[2] == (
        "|Δp|     difference of one probability; float32 formats: at most 2.0e-05 (16 times NumPy's float32 error, at "
        "least 1e-05)"
    )
    assert both[3] == (
        "         with fewer bits: 0.2% fewer images may be correct, and a number of images equal to 1/3 of the"
    )
    assert both[-2].endswith("median of 100 calls with 1 image, 40 with 256") and both[-1] == "export   out"
    alone = table.closing({"formats": [fewer], "tolerance": None}, "out").splitlines()
    assert len(alone) == len(both) - 1 and alone[2].startswith("|Δp|     with fewer bits")
    assert alone[-2].endswith("median of 7 calls with 1 image, 0 with 256")
    exact = table.closing({"formats": [FOUND], "tolerance": 1e-5}, "out")
    assert "with fewer bits" not in exact and len(exact.splitlines()) == 5


def test_what_does_not_agree_is_told_by_its_first_image():
    one = (
        "✗ onnx differs from the trained model: for test image 7 (a 2) the model predicts 2 (p = 0.5123), the export 3 "
        "(p = nan); its file was removed"
    )
    assert table.refuted([FOUND]) == one and table.refuted([FOUND, FOUND]) == f"{one}; {one}"
    assert table.refuted([]) == ""
