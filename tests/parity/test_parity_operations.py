"""The operation tests of parity: correct devices pass them, and each fault fails its own operation and no other.

The faults are put into a device of NumPy, into TensorFlow's functions, with XLA and without, and, in processes of
their own, into 4 replicas of TensorFlow and 8 of JAX.
"""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.fork_server import run_code

from mnist_mlp.devices import Plan
from mnist_mlp.engine.base import DeviceSet
from mnist_mlp.engine.tensorflow.devices import attach
from mnist_mlp.parity import matrix_products, operations, questions, random_bits

pytestmark = pytest.mark.numerics

PRODUCTS = [f"matrix products, M = {m}" for m in (1, 2, 32, 1000)]
ALONE = "first row alone and with others"
CPU = DeviceSet("CPU: made up")


def failed(tests):
    return {test.name: test.found for test in tests if not test.passed}


def cut(array, bits=11):
    """The significands of float32 values cut off after so many bits."""
    return (array.view(np.uint32) & np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)).view(np.float32)


def softmax_and_loss(logits, labels):
    shifted = logits - logits.max(1, keepdims=True)
    rows, sums = np.arange(len(labels)), np.exp(shifted).sum(1, keepdims=True)
    softmax = np.exp(shifted) / sums
    gradient = softmax.copy()
    gradient[rows, labels] -= 1
    return {"softmax": softmax, "losses": np.log(sums[:, 0]) - shifted[rows, labels], "gradient": gradient}


def answers_of_numpy(asked):
    """What a right device of float32 answers, one of three replicas."""
    products, positions, shares = asked["products"], asked["positions"] % 3, asked["shares"]
    floats, integers = shares["floats"][positions], shares["integers"][positions]
    return {
        "products": {name: a @ b for name, (a, b) in products["forwards"].items()}
        | {name: a.T @ b for name, (a, b) in products["for_the_kernel"].items()}
        | {name: a @ b.T for name, (a, b) in products["for_the_input"].items()},
        "means": {name: flags.mean(dtype=np.float32) for name, flags in asked["flags"].items()},
        "counts": {name: flags.sum() for name, flags in asked["flags"].items()},
        "argmax": asked["ties"].argmax(1),
        "extremes": softmax_and_loss(**asked["extremes"]),
        "images": asked["images"][asked["rows"]],
        "labels": asked["labels"][asked["rows"]],
        "pixels": asked["pixels"].astype(np.float32),
        "scaled": asked["pixels"].astype(np.float32) * np.float32(1 / 255),
        "bytes": asked["floats"].astype(np.uint8),
        "sums": {name: values.sum(dtype=values.dtype) for name, values in asked["addends"].items()},
        "exp": np.exp(asked["exponents"]),
        "log": np.log(asked["positives"]),
        "all-reduce": {"sum": floats, "mean": floats / np.float32(3), "integer sum": integers},
        "bits": random_bits.jax_bits(questions.SEED, questions.N),
        "mask": np.where(np.random.default_rng(0).random(questions.N) < 0.2, 0, np.float32(1.25)),
    }


@pytest.fixture(scope="module")
def device():
    """What is asked of three replicas on JAX, the answers of NumPy, and how they are judged."""
    products = list(matrix_products.products())
    asked = {"products": matrix_products.asked(products), **questions.asked(3)}
    judged = matrix_products.questions(products, "float32") + questions.questions(asked, "jax")
    return products, asked, answers_of_numpy(asked), judged


def judge(judged, answers):
    """What the judges find wrong, where replica 1 of 3 gives these answers and the others right ones."""
    found = [operations.verdict(question, {1: question.judge(answers)}, 3) for question in judged]
    return failed(found)


def changed(answers, path, value):
    """A copy of the answers with one of them, "group/name", replaced."""
    first, _, rest = path.partition("/")
    return answers | {first: changed(answers[first], rest, value) if rest else value}


def test_the_generators_give_the_vectors_published_with_them():
    """tests/kat_vectors of Random123, threefry2x32 of 20 rounds and philox4x32 of 10."""
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    ones = 0xFFFFFFFF
    for counter, key, expected in (
        ([0, 0], (0, 0), "6b200159 99ba4efe"),
        ([ones] * 2, (ones, ones), "1cb996fc bb002be7"),
        (pi[:2], pi[2:4], "c4923a9c 483df7a0"),
    ):
        found = random_bits.threefry(key, np.array([counter]).T)[:, 0]
        assert " ".join(f"{word:08x}" for word in found) == expected
    for counter, key, expected in (
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([ones] * 4, (ones, ones), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (pi[:4], pi[4:], "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ):
        found = random_bits.philox(key, np.array([counter]).T)[:, 0]
        assert " ".join(f"{word:08x}" for word in found) == expected


def test_numpy_is_a_right_device(device):
    _, _, answers, judged = device
    assert len(judged) == 17
    assert judge(judged, answers) == {}


FAULTS = {  # what a device gives instead, the operation that must fail, and what is reported; of replica 1 of 3
    "a count": ("counts/978 of 1000", lambda a: a - 1, "boolean mean", "counted 977 true of 1,000 instead of 978"),
    "a mean": (
        "means/58674 of 60000",
        lambda a: np.float32(58_674 % 256 / 60_000),
        "boolean mean",
        "the mean of 58,674 true of 60,000 is 0.000833333 instead of 0.9779",
    ),
    "a mean that is no number": ("means/9 of 10", lambda a: np.float32(np.nan), "boolean mean", "9 true of 10 is nan"),
    "argmax, the last of equals": (
        "argmax",
        lambda a: 9 - questions.ties()[1][:, ::-1].argmax(1),
        "argmax with ties",
        "9 where all are equal, instead of 0 (and 48 more)",
    ),
    "softmax, too large": ("extremes/softmax", lambda a: a * 1.001, "softmax at extremes", "where all are 0"),
    "a loss": (
        "extremes/losses",
        lambda a: a + 1e-4,
        "cross-entropy at extremes",
        "the loss is 2.30269 instead of 2.30",
    ),
    "a label": ("labels", lambda a: a + (np.arange(64) == 1), "gather by index", "label 59,999 is"),
    "a byte of an image": ("images", lambda a: a ^ np.eye(28, dtype="u1")[9], "gather by index", "image 0 is damaged"),
    "a byte as a float": (
        "pixels",
        lambda a: a.astype(np.int8),
        "bytes to floats and back",
        "byte 128 is -128 as a float",
    ),
    "scaling": ("scaled", lambda a: a * np.float32(1 + 2**-20), "bytes to floats and back", "a byte × 1/255 is"),
    "rounding to bytes": ("bytes", lambda a: np.rint(np.arange(1024) / 4), "bytes to floats and back", "0.75 is 1"),
    "log": ("log", lambda a: a.astype(np.float16), "exponential and logarithm", "log("),
    "exp": ("exp", lambda a: a * np.float32(np.nan), "exponential and logarithm", "exp(-87) is nan"),
    "a sum": ("sums/floats", lambda a: min(a, np.float32(256)), "sum of 60,000 × 0.1", "256 instead of 6000"),
    "an integer sum": ("sums/integers", lambda a: -(2**31), "integer sum", "-2147483648 instead of 2147483547"),
    "nan in a gradient": ("extremes/gradient", lambda a: a * np.nan, "cross-entropy at extremes", "gradient is nan"),
    "one element of all": (
        "all-reduce/sum",
        lambda a: a * (np.arange(len(a)) != 100),
        "all-reduce",
        "replica 1 is missing from the sum at 1 of 36,462 positions",
    ),
    "a mean of two": (
        "all-reduce/mean",
        lambda a: a * np.float32(1.5),
        "all-reduce",
        "replica 0 counts 1.5 times in the mean at 36,462 of 36,462 positions (and 2 more)",
    ),
    "integers that were floats": (
        "all-reduce/integer sum",
        lambda a: a.astype(np.float32).astype(np.int32),
        "all-reduce",
        "in the integer sum",
    ),
    "a bit": ("bits", lambda a: a ^ (np.arange(60_000) == 7), "random bits", "1 of 60,000 differ: number 7 is"),
    "uneven bits": ("bits", lambda a: a & np.uint32(2**31 - 1), "random bits", " (and 1 more)"),
    "a third dropped": ("mask", lambda a: a * (np.arange(60_000) % 6 > 0), "dropout mask", "33."),
    "no scaling behind dropout": ("mask", lambda a: a.clip(0, 1), "dropout mask", "1 is neither 0 nor 1.25"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_an_answer_fails_its_operation_alone(fault, device):
    path, spoil, name, words = FAULTS[fault]
    _, _, answers, judged = device
    value = answers
    for part in path.split("/"):
        value = value[part]
    found = judge(judged, changed(answers, path, spoil(value)))
    assert list(found) == [name]
    assert found[name].startswith("replica 1: ") and words in found[name]


def test_a_row_that_is_another_one_alone_is_told(device):
    _, _, answers, judged = device
    name = "[1, 64]·[64, 10]"
    found = judge(judged, changed(answers, f"products/{name}", answers["products"][name] * (1 + 2.0**-11)))
    assert list(found) == [PRODUCTS[0], ALONE]
    assert found[ALONE].startswith("replica 1: 11.") and f"bits in common: {name} and [2, 64]·[64, 10]" in found[ALONE]


@pytest.mark.parametrize("kept", [24, 11, 8])
def test_products_must_be_as_good_as_they_have_promised(kept, device):
    products, asked, _, _ = device
    factors = {
        form: {name: (cut(a, kept), cut(b, kept)) for name, (a, b) in pairs.items()}
        for form, pairs in asked["products"].items()
    }
    answers = {"products": answers_of_numpy(asked | {"products": factors})["products"]}
    for promised, bits in (("float32", 24), ("tf32", 11), ("bfloat16", 8)):
        found = judge(matrix_products.questions(products, promised), answers)
        assert list(found) == (PRODUCTS if bits > kept else [])
        for words in found.values():  # two factors cut off, each by up to two roundoffs
            assert kept - 2 <= float(words.split()[2]) < kept


def test_the_place_is_told_and_must_be_the_one_asked_for():
    assert operations.location(CPU, ["CPU:0"]).passed
    for attached, devices in (
        (DeviceSet("GPU: made up"), ["CPU:0"]),
        (DeviceSet("CPU", replicas=2), ["CPU:0", "CPU:0"]),
    ):
        test = operations.location(attached, devices)
        assert (test.passed, test.found) == (False, ", ".join(devices))


def cut_in_tensorflow(x):
    """Significands of 11 bits, as the factors of TF32 have them."""
    return tf.bitcast(tf.bitcast(x, tf.uint32) & tf.constant(0xFFFFE000, tf.uint32), tf.float32)


def cut_where_a_row_is_alone(matmul, a, b, **options):
    if a.shape[0] > 1 or options:
        return matmul(a, b, **options)
    return matmul(cut_in_tensorflow(a), cut_in_tensorflow(b))


def mean_in_uint8(mean, x):
    return tf.cast(tf.reduce_sum(tf.cast(x, tf.uint8)), tf.float32) / float(x.shape[0])


def loss_as_it_is_written(loss, labels, logits):
    return tf.math.log(tf.reduce_sum(tf.exp(logits), 1)) - tf.reduce_sum(logits * tf.one_hot(labels, 10), 1)


def signed(cast, x, dtype):
    return cast(cast(x, tf.int8) if x.dtype == tf.uint8 and dtype == tf.float32 else x, dtype)


def as_floats(reduce_sum, x, *rest, **options):
    if x.dtype == tf.int32:
        return tf.cast(reduce_sum(tf.cast(x, tf.float32)), tf.int32)
    return reduce_sum(x, *rest, **options)


TENSORFLOW_FAULTS = {  # the function, what stands in its place (given the real one first), and what is reported
    "factors of 11 bits": (
        (tf, "matmul"),
        lambda real, a, b, **options: real(cut_in_tensorflow(a), cut_in_tensorflow(b), **options),
        {name: "correct bits of 16." for name in PRODUCTS},
    ),
    "factors of 11 bits where a row is alone": (
        (tf, "matmul"),
        cut_where_a_row_is_alone,
        {PRODUCTS[0]: "correct bits of 16.", ALONE: "bits in common: [1, 784]·[784, 128] and [2, 784]·[784, 128]"},
    ),
    "means in uint8": (
        (tf, "reduce_mean"),
        mean_in_uint8,
        {"boolean mean": "the mean of 978 true of 1,000 is 0.21 instead of 0.978"},
    ),
    "the last of equals": (
        (tf, "argmax"),
        lambda real, x, axis, output_type: 9 - real(x[:, ::-1], axis, output_type),
        {"argmax with ties": "9 where all are equal, instead of 0"},
    ),
    "softmax as it is written": (
        (tf.nn, "softmax"),
        lambda real, x: tf.exp(x) / tf.reduce_sum(tf.exp(x), 1, keepdims=True),
        {"softmax at extremes": "the softmax is nan instead of 0.1 where all are 88.8"},
    ),
    "loss as it is written": (
        (tf.nn, "sparse_softmax_cross_entropy_with_logits"),
        loss_as_it_is_written,
        {"cross-entropy at extremes": "the loss is inf instead of 2.30259 where all are 88.8"},
    ),
    "the next image": (
        (tf, "gather"),
        lambda real, x, i: real(x, tf.minimum(i + 1, x.shape[0] - 1)),
        {"gather by index": "image 0 is image 1 "},
    ),
    "signed bytes": ((tf, "cast"), signed, {"bytes to floats and back": "byte 128 is -128 as a float"}),
    "integers summed as floats": ((tf, "reduce_sum"), as_floats, {"integer sum": " instead of 2147483547"}),
    "an exponential in bfloat16": (
        (tf, "exp"),
        lambda real, x: tf.cast(real(tf.cast(x, tf.bfloat16)), tf.float32),
        {"exponential and logarithm": "exp(-"},
    ),
    "a replica counts twice": (
        (tf.distribute.ReplicaContext, "all_reduce"),
        lambda real, context, how, x: real(context, how, x) + x,
        {"all-reduce": "replica 0 counts 2 times in the sum at 109,386 of 109,386 positions"},
    ),
    "bits of another seed": (
        (tf.random, "stateless_uniform"),
        lambda real, shape, seed, *rest, **options: real(shape, seed + 1, *rest, **options),
        {"random bits": "60,000 of 60,000 differ: number 0 is"},
    ),
    "dropout of what is to be kept": (
        (keras.random, "dropout"),
        lambda real, x, rate, seed: real(x, 1 - rate, seed=seed) * (rate / (1 - rate)),
        {"dropout mask": "% are 0 instead of 20%"},
    ),
}


# Faults that do not meet in one function or one operation, so that one device may have them all.
SETS = (
    ("factors of 11 bits", "softmax as it is written", "loss as it is written", "the next image", "signed bytes")
    + ("integers summed as floats", "a replica counts twice"),
    ("factors of 11 bits where a row is alone", "means in uint8", "the last of equals", "an exponential in bfloat16")
    + ("bits of another seed", "dropout of what is to be kept"),
)


def put_in(monkeypatch, fault):
    (owner, name), wrong, _ = TENSORFLOW_FAULTS[fault]
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *a, **o: wrong(real, *a, **o))


def tensorflow_failures(xla):
    attached = attach(Plan("tensorflow", "cpu", "cpu", {}), 60)
    return failed(operations.test(attached, "tensorflow", xla=xla))


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
def test_tensorflow_is_right(xla):
    assert tensorflow_failures(xla) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults", [*SETS, *(pytest.param((fault,), marks=pytest.mark.full) for fault in TENSORFLOW_FAULTS)]
)
def test_each_fault_of_tensorflow_fails_its_operation_alone(faults, monkeypatch):
    expected = {}
    for fault in faults:
        put_in(monkeypatch, fault)
        expected |= TENSORFLOW_FAULTS[fault][2]
    found = tensorflow_failures(xla=False)
    assert found.keys() == expected.keys()
    assert all(expected[name] in words for name, words in found.items())


def test_every_fault_of_tensorflow_is_in_a_set():
    assert sorted(sum(SETS, ())) == sorted(TENSORFLOW_FAULTS)


@pytest.mark.slow
def test_xla_computes_the_faults_too(monkeypatch):
    """That is, what it compiles is what is asked, and not what was known beforehand."""
    faults = [fault for fault in TENSORFLOW_FAULTS if fault != "factors of 11 bits"]
    for fault in faults:
        put_in(monkeypatch, fault)
    assert tensorflow_failures(xla=True).keys() == {name for fault in faults for name in TENSORFLOW_FAULTS[fault][2]}


def answer(code, backend):
    """What the code prints last, as JSON, in a process of its own."""
    done = run_code(code, backend=backend)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


FOUR_REPLICAS = """
import json
import tensorflow as tf
from mnist_mlp.devices.strategy import Plan
from mnist_mlp.engine.tensorflow.devices import attach
from mnist_mlp.parity import operations

attached = attach(Plan("tensorflow", "cpu", "cpu", {}, replicas=4), 60)
found = {}

def run_tests(name):
    tests = operations.test(attached, "tensorflow")
    found[name] = {each.name: each.found for each in tests if not each.passed}
    return tests

def replica():
    return tf.distribute.get_replica_context().replica_id_in_sync_group

found["devices"] = run_tests("none")[0].found
matmul, reduce, all_reduce = tf.matmul, tf.distribute.MirroredStrategy.reduce, tf.distribute.ReplicaContext.all_reduce

tf.matmul = lambda a, b, **o: matmul(a, b, **o) * tf.where(replica() == 2, 1 + 2.0**-11, 1.0)
run_tests("products")
tf.matmul = matmul
tf.distribute.ReplicaContext.all_reduce = lambda self, how, x: all_reduce(self, how, tf.where(replica() == 1, 0.0, x))
run_tests("left out")
tf.distribute.ReplicaContext.all_reduce = all_reduce
tf.distribute.MirroredStrategy.reduce = lambda self, how, x, axis: reduce(self, "MEAN", x, axis)
run_tests("averaged")
print(json.dumps(found))
"""


@pytest.mark.slow
def test_four_replicas_of_tensorflow():
    found = answer(FOUR_REPLICAS, "tensorflow")
    assert found["devices"] == "CPU:0, CPU:1, CPU:2, CPU:3"
    assert found["none"] == {}
    assert list(found["products"]) == PRODUCTS
    assert all(words.startswith("replica 2: 11.") for words in found["products"].values())
    for fault, words in {
        "left out": "replica 1 is missing from the sum at 27,347 of 27,347 positions",
        "averaged": "replica 0 counts 0.25 times in the reduced sum at 27,347 of 27,347 positions (and 7 more)",
    }.items():
        assert found[fault] == {"all-reduce": f"replicas 0, 1, 2, 3: {words}"}


EIGHT_DEVICES = """
import json
import jax
import jax.numpy as jnp
import keras
from mnist_mlp.devices.strategy import Plan
from mnist_mlp.engine.jax.devices import attach
from mnist_mlp.parity import operations, operations_jax

attached = attach(Plan("jax", "cpu", "cpu", {}, replicas=8), 60)
found = {}

def run_tests(name):
    tests = operations.test(attached, "jax")
    found[name] = {each.name: each.found for each in tests if not each.passed}
    return tests

def at(replica, owner, name, wrong):  # that replica alone computes what is wrong
    real = getattr(owner, name)

    def either(*a, **o):
        here = jax.lax.axis_index("batch") == replica
        return jax.lax.cond(here, lambda: wrong(real, *a, **o), lambda: real(*a, **o))

    setattr(owner, name, either)
    return lambda: setattr(owner, name, real)

def cut(x):
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0xFFFFE000), x.dtype)

def unshifted(real, x, axis):
    return jnp.log(jnp.sum(jnp.exp(x), axis))

run_tests("none")
restore = [
    at(0, jnp, "matmul", lambda real, a, b: real(cut(a), cut(b))),
    at(1, jnp, "mean", lambda real, x: jnp.sum(x, dtype=jnp.uint8) / jnp.float32(len(x))),
    at(2, jnp, "argmax", lambda real, x, axis: 9 - real(x[:, ::-1], axis)),
    at(3, jax.nn, "softmax", lambda real, x: jnp.exp(x) / jnp.sum(jnp.exp(x), 1, keepdims=True)),
    at(4, jax.nn, "logsumexp", unshifted),
    at(5, operations_jax, "gather", lambda real, x, i: real(x, jnp.minimum(i + 1, len(x) - 1))),
    at(6, jax.random, "bits", lambda real, *a: real(*a) + 1),
    at(7, keras.random, "dropout", lambda real, x, rate, seed: real(x, 0.25, seed=seed) * jnp.float32(0.75 * 1.25)),
]
found["devices"] = run_tests("each its own")[0].found
for undo in restore:
    undo()
psum = jax.lax.psum
jax.lax.psum = lambda x, axis: psum(jnp.where(jax.lax.axis_index(axis) == 3, 0, x), axis)
run_tests("left out")
jax.lax.psum = lambda x, axis: jnp.where(jax.lax.axis_index(axis) == 5, x, psum(x, axis))
run_tests("apart")
print(json.dumps(found))
"""


@pytest.mark.full
def test_eight_devices_of_jax():
    """The devices have a fault each, of which its own probe tells; then all-reduce has one."""
    found = answer(EIGHT_DEVICES, "jax")
    assert found["devices"] == ", ".join(f"CPU:{index}" for index in range(8))
    assert found["none"] == {}
    expected = {
        **{name: "replica 0: " for name in PRODUCTS},
        "boolean mean": "replica 1: the mean of 978 true of 1,000 is 0.21 instead of 0.978",
        "argmax with ties": "replica 2: 9 where all are equal, instead of 0",
        "softmax at extremes": "replica 3: the softmax is nan instead of 0.1 where all are 88.8",
        "cross-entropy at extremes": "replica 4: the loss is inf instead of 2.30259 where all are 88.8",
        "gather by index": "replica 5: image 0 is image 1 ",
        "random bits": "replica 6: 60,000 of 60,000 differ: number 0 is",
        "dropout mask": "replica 7: 2",
    }
    assert found["each its own"].keys() == expected.keys()
    assert all(found["each its own"][name].startswith(words) for name, words in expected.items())
    everywhere = "replicas 0, 1, 2, 3, 4, 5, 6, 7: "
    assert found["left out"] == {
        "all-reduce": f"{everywhere}replica 3 is missing from the integer sum at 13,673 of 13,673 positions "
        "(and 1 more)"
    }
    told = "replica 5: replica 0 is missing from the integer sum at 13,674 of 13,674 positions (and 13 more)"
    assert found["apart"] == {"all-reduce": told}
