"""Known failures of TensorFlow, Keras and JAX on CPUs, GPUs and TPUs: how they look, what they mean, what to do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from mnist_mlp.devices.frameworks import TPU_ENVIRONMENT, jax_problem, overwritten, tpu_tensorflow_problem
from mnist_mlp.devices.machine import Machine

TRAIN = "python -m mnist_mlp.train"
TRY_TPU = f"type {TRAIN} --strategy=tpu"


@dataclasses.dataclass(frozen=True)
class Symptom:
    """A failure that others have met."""

    name: str
    patterns: tuple[str, ...]  # regular expressions, in any case; a blank stands for any white space
    meaning: str
    fix: str  # one thing to type or to do
    source: str  # where it was reported: project#number, or a file of a framework
    hint: bool = False  # not a failure: something that could be better


# Each pattern starts with plain characters and repeats nothing without a bound, so that a long text costs little.
SYMPTOMS = (
    Symptom(
        "tensorflow-missing",
        (r"No module named ['\"‘`]?tensorflow(?![\w-]|\.\w)",),
        "TensorFlow is not installed in this Python; Colab's TPU runtimes come without it since March 2025",
        f"on a TPU {TRY_TPU}, which runs on JAX without TensorFlow; elsewhere type pip install 'tensorflow>=2.18'",
        "colabtools#5174, colabtools#5185",
    ),
    Symptom(
        "tpu-kernels-missing",
        (r"No OpKernel was registered to support Op '?(ConfigureDistributedTPU|TPU[A-Z])",),
        "this TensorFlow has no code for TPUs: it is a wheel for CPUs and GPUs, or its libtpu was not loaded",
        f"{TRY_TPU} --backend=jax; to stay with TensorFlow type {TPU_ENVIRONMENT}",
        "colabtools#5203, tensorflow#96203",
    ),
    Symptom(
        "tpu-name-missing",
        ("Please provide a TPU Name to connect to",),
        "TPUClusterResolver() looks for the name of a TPU on the network; the one of this machine is called local",
        f"{TRY_TPU}; in a program of your own write TPUClusterResolver(tpu='local')",
        "tensorflow#70827, colabtools#4686",
    ),
    Symptom(
        "no-xla-for-cpu",
        ("could not find registered transfer manager for platform Host",),
        "a TensorFlow for TPUs has no XLA for the CPU, and a function compiled with XLA ran there",
        f"{TRY_TPU}, or --strategy=cpu, which leaves XLA out there; in a program of your own build the model in "
        "strategy.scope() and drop jit_compile=True outside the TPU",
        "tensorflow#88960",
    ),
    Symptom(
        "tpu-in-use",
        (
            r"libtpu\.so (is )?already in use",
            "The TPU is already in use",
            "ioctl failed",
            r"/dev/(accel|vfio/)\d{1,4}\)?: Device or resource busy",
        ),
        "another process holds the TPU, which serves one at a time",
        "type python -m mnist_mlp.doctor --strategy=tpu, which names the process, then kill PID; "
        "on Colab choose Runtime → Restart session",
        "jax#10192, colabtools#4567",
    ),
    Symptom(
        "tpu-platform-missing",
        ("No TPU platform found",),
        "tensorflow-tpu found no TPU through its libtpu, which is newer than the one it was built for",
        "type pip install tensorflow-tpu==2.19.1 libtpu==0.0.10",
        "Kaggle/docker-python#1499",
    ),
    Symptom(
        "tpu-not-attached",
        (r"TPU initialization failed: No \w{1,20} device found",),
        "libtpu finds no TPU, though the environment (COLAB_TPU_1VM, ISTPUVM) or JAX_PLATFORMS=tpu promises one",
        "on Colab choose Runtime → Change runtime type → TPU; elsewhere type unset COLAB_TPU_1VM ISTPUVM JAX_PLATFORMS",
        "seen by this project",
    ),
    Symptom(
        "libtpu-overwritten",
        ("module 'libtpu' has no attribute 'get_library_path'",),
        "tensorflow-tpu has put its own libtpu in the place of JAX's: the two need environments of their own",
        "type pip uninstall -y tensorflow-tpu libtpu, then pip install -U 'jax[tpu]'",
        "jax#29989",
    ),
    Symptom(
        "metadata-query",
        (
            "Failed to get TPU metadata",
            r"Failed to fetch URL (on try|after) \d",
            "Failed to get agent-worker-number",
        ),
        "libtpu asks Google Cloud's metadata server about a TPU, for minutes, and here it does not answer",
        "type export TPU_SKIP_MDS_QUERY=1, then the command again",
        "jax#11668",
    ),
    Symptom(
        "cluster-query",
        (r"cloud_tpu_cluster\.py", "host='metadata.google.internal'", "GkeTpuCluster"),
        "jax.distributed.initialize() or keras.distribution.initialize() took this machine for one of a cluster",
        f"leave that call out; our programs do not make it on Colab or Kaggle: {TRY_TPU}",
        "jax#40854",
    ),
    Symptom(
        "jax-without-tpu",
        ("A Google TPU may be present on this machine, but either a TPU-enabled jaxlib or libtpu is not",),
        "a TPU is attached, and JAX is installed without libtpu: the run is on the CPU",
        "type pip install -U 'jax[tpu]'",
        "jax/_src/xla_bridge.py",
    ),
    Symptom(
        "gpu-libraries-missing",
        (
            "Could not find cuda drivers on your machine",
            "Cannot dlopen some GPU libraries",
            r"Could not load dynamic library '(libcu|libnv)",
        ),
        "TensorFlow does not find CUDA's libraries or the driver: the run is on the CPU",
        "type pip install 'tensorflow[and-cuda]>=2.18'; on a machine without a GPU this is no error",
        "tensorflow#63362, tensorflow#117538",
    ),
    Symptom(
        "gpu-driver",
        (
            "failed call to cuInit",
            r"does not match DSO version \d",
            "CUDA driver version is insufficient for CUDA runtime version",
            "Failed to initialize NVML: Driver/library version mismatch",
        ),
        "the NVIDIA driver does not start or does not fit CUDA's libraries: the run is on the CPU",
        "type nvidia-smi: if it fails, too, install the driver anew or restart the machine; "
        "on a machine without a GPU this is no error",
        "tensorflow#63362, tensorflow#117538",
    ),
    Symptom(
        "jax-without-cuda",
        ("An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed",),
        "a GPU is attached, and JAX is installed without CUDA: the run is on the CPU",
        "type pip install -U 'jax[cuda12]'",
        "jax/_src/xla_bridge.py",
    ),
    Symptom(
        "wrong-numbers",
        (
            r"loss['\"]?\s{0,3}[:=]?\s{0,3}nan\b",
            r"accuracy['\"]?\s{0,3}[:=]?\s{0,3}nan\b",
            r"accuracy['\"]?\s{0,3}[:=]?\s{0,3}[1-9]\.(?!0{1,9}(?!\d))\d{1,9}(?!\d|e|\s?%)",  # above 1
            # One class for every image: a tenth, or the share of MNIST's zeros (what nan gives) and ones.
            r"accuracy['\"]?\s{0,3}[:=]?\s{0,3}0\.(10{0,3}|10{6,9}\d{0,9}|0980|097999\d{0,17}|0987|1135|113499\d{0,17})(?!\d|\s?%)",
        ),
        "on several devices: metrics or gradients are added up where they must be averaged, or replicas do not share "
        "them; on one device: training diverged",
        f"type the same command with --replicas=1 and compare python -m mnist_mlp.evaluate of both: "
        f"where one device is wrong, too, {TRAIN} --learning_rate=0.0001",
        "keras#19280, keras#21061, tensorflow#90686",
    ),
    Symptom(
        "importlib-resources-missing",
        (r"No module named ['\"‘`]?importlib_resources\b",),
        "tensorflow_datasets 4.9.10 needs importlib_resources and does not declare it",
        "type pip install importlib_resources",
        "seen by this project",
    ),
    Symptom(
        "batch-not-divisible",
        ("ZeroDivisionError: integer modulo by zero", "should evenly divide the shape"),
        "where Keras or JAX spreads a batch: the devices do not divide it, often the last one",
        f"type {TRAIN} --replicas=N with any --batch_size: it fills the last batch up and masks it; in a program of "
        "your own drop the remainder",
        "keras#21167",
    ),
    Symptom(
        "stateless-apply",
        ("stateless_apply is not supported with the TensorFlow backend",),
        "Keras' optimizers have stateless_apply on JAX alone",
        "type export KERAS_BACKEND=jax, or call optimizer.apply",
        "seen by this project",
    ),
    Symptom(
        "merge-call",
        ("`?merge_call`? called while defining a new graph or a tf.function",),
        "the optimizer adds up gradients across replicas inside a loop or a tf.function within strategy.run",
        "put the loop outside: for i in tf.range(n): strategy.run(step)",
        "seen by this project",
    ),
    Symptom(
        "tpu-initialized-twice",
        (r"TPU system .{0,99} has already been initialized",),
        "a second initialisation of the TPU loses the variables that lie on it",
        "initialise once a process; on Colab choose Runtime → Restart session",
        "tensorflow/python/tpu/tpu_strategy_util.py",
    ),
    Symptom(
        "colab-tpu-node",
        (r"KeyError: ['\"]COLAB_TPU_ADDR",),
        "the notebook is made for the TPU nodes that Colab had until 2025; now the TPU is part of the machine",
        f"choose Runtime → Change runtime type → TPU, then {TRY_TPU}",
        "colabtools#5566",
    ),
    Symptom(
        "tensorflow-tpu-not-found",
        ("No matching distribution found for (tensorflow-tpu|libtpu)",),
        "a tensorflow-tpu for this Python, or the libtpu it names, is not in the package registry",
        f"{TRY_TPU} --backend=jax; to stay with TensorFlow type {TPU_ENVIRONMENT}",
        "keras#21974",
    ),
)
SLOW = ("scikit-learn", "matplotlib")  # Keras imports both wherever they are installed
GPU_SYMPTOMS = ("gpu-libraries-missing", "gpu-driver", "jax-without-cuda")  # of no interest where the CPU is wanted

COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")  # notebooks colour their tracebacks
COMPILED = {
    row.name: re.compile("|".join(pattern.replace(" ", r"\s{1,9}") for pattern in row.patterns), re.IGNORECASE)
    for row in SYMPTOMS
}


def explain(text: str) -> list[Symptom]:
    """The known failures that a text (an error message, a log) shows, in the order of the table.

    >>> [row.name for row in explain("ModuleNotFoundError: No module named 'tensorflow'")]
    ['tensorflow-missing']
    >>> explain("ModuleNotFoundError: No module named 'foo'")
    []
    """
    text = COLOUR.sub("", text)
    return [row for row in SYMPTOMS if COMPILED[row.name].search(text)]


def installed_problems(seen: Machine, installed: Mapping[str, str]) -> list[Symptom]:
    """What is known to go wrong with a set of distributions (name → version); `seen` has the frameworks among them."""
    rows, wheels = [], seen.tensorflows
    if len(wheels) > 1:
        rows.append(
            of_sentence(
                "several-tensorflows", overwritten(wheels, "pip install 'tensorflow>=2.18'"), "seen by this project"
            )
        )
    elif "tensorflow-tpu" in wheels and (text := tpu_tensorflow_problem(seen)):
        rows.append(of_sentence("tensorflow-tpu-unfit", text, "Kaggle/docker-python#1499"))
    if "tensorflow-tpu" in wheels and "jax" in seen.installed and (text := jax_problem(seen, "tpu")):
        rows.append(of_sentence("libtpu-overwritten", text, "jax#29989"))
    if "tensorflow-datasets" in installed and "importlib_resources" not in installed:
        rows += [row for row in SYMPTOMS if row.name == "importlib-resources-missing"]
    slow = [name for name in SLOW if name in installed and not seen.host]  # Colab and Kaggle bring them
    if slow:
        meaning = f"Keras imports {' and '.join(slow)} when it starts, which costs a run about a second"
        fix = f"where nothing else needs {'them' if len(slow) > 1 else 'it'}, type pip uninstall -y {' '.join(slow)}"
        rows.append(Symptom("slow-start", (), meaning, fix, "seen by this project", hint=True))
    return rows


def of_sentence(name: str, text: str, source: str) -> Symptom:
    """A problem that is told as "what is wrong; what to do"."""
    meaning, _, fix = text.partition("; ")
    return Symptom(name, (), meaning, fix, source)
