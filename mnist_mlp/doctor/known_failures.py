"""Known failures of TensorFlow, Keras and JAX on CPUs, GPUs and TPUs: symptoms, meanings and fixes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from mnist_mlp.devices.frameworks import TPU_ENVIRONMENT, jax_problem, overwritten, tpu_tensorflow_problem
from mnist_mlp.devices.machine import Machine

TRAIN = "python -m mnist_mlp.train"
TRY_TPU = f"run {TRAIN} --strategy=tpu"


@dataclasses.dataclass(frozen=True)
class Symptom:
    """A failure that others have reported."""

    name: str
    patterns: tuple[str, ...]  # regular expressions that ignore case; a space matches any white space
    meaning: str
    fix: str  # one thing to run or to do
    source: str  # where it is reported: project#number, or a file of a framework


# Each pattern starts with literal characters and has no unbounded repetition, so that a long text takes little time.
SYMPTOMS = (
    Symptom(
        "tensorflow-missing",
        (r"No module named ['\"‘`]?tensorflow(?![\w-]|\.\w)",),
        "TensorFlow is not installed in this Python; Colab's TPU runtimes have not included it since March 2025",
        f"on a TPU {TRY_TPU}, which runs on JAX without TensorFlow; elsewhere run pip install 'tensorflow>=2.18'",
        "colabtools#5174, colabtools#5185",
    ),
    Symptom(
        "tpu-kernels-missing",
        (r"No OpKernel was registered to support Op '?(ConfigureDistributedTPU|TPU[A-Z])",),
        "this TensorFlow has no TPU kernels: it is a wheel for CPUs and GPUs, or its libtpu was not loaded",
        f"{TRY_TPU} --backend=jax; to stay with TensorFlow run {TPU_ENVIRONMENT}",
        "colabtools#5203, tensorflow#96203",
    ),
    Symptom(
        "tpu-name-missing",
        ("Please provide a TPU Name to connect to",),
        "TPUClusterResolver() looks for the name of a remote TPU; the one of this machine is called local",
        f"{TRY_TPU}; in your own program use TPUClusterResolver(tpu='local')",
        "tensorflow#70827, colabtools#4686",
    ),
    Symptom(
        "no-xla-for-cpu",
        ("could not find registered transfer manager for platform Host",),
        "TensorFlow for TPUs has no XLA for the CPU, and a function compiled with XLA ran there",
        f"{TRY_TPU}, or --strategy=cpu, which does not use XLA there; in your own program build the model in "
        "strategy.scope() and remove jit_compile=True outside the TPU",
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
        "another process is using the TPU, which serves one process at a time",
        "run python -m mnist_mlp.doctor --strategy=tpu, which names the process, then kill PID; "
        "on Colab choose Runtime → Restart session",
        "jax#10192, colabtools#4567",
    ),
    Symptom(
        "tpu-platform-missing",
        ("No TPU platform found",),
        "tensorflow-tpu found no TPU because its libtpu is newer than the one it was built for",
        "run pip install tensorflow-tpu==2.19.1 libtpu==0.0.10",
        "Kaggle/docker-python#1499",
    ),
    Symptom(
        "tpu-not-attached",
        (r"TPU initialization failed: No \w{1,20} device found",),
        "libtpu finds no TPU, although the environment (COLAB_TPU_1VM, ISTPUVM) or JAX_PLATFORMS=tpu claims one",
        "on Colab choose Runtime → Change runtime type → TPU; elsewhere run unset COLAB_TPU_1VM ISTPUVM JAX_PLATFORMS",
        "observed in this project",
    ),
    Symptom(
        "libtpu-overwritten",
        ("module 'libtpu' has no attribute 'get_library_path'",),
        "tensorflow-tpu has replaced JAX's libtpu with its own: the two need separate environments",
        "run pip uninstall -y tensorflow-tpu libtpu, then pip install -U 'jax[tpu]'",
        "jax#29989",
    ),
    Symptom(
        "metadata-query",
        (
            "Failed to get TPU metadata",
            r"Failed to fetch URL (on try|after) \d",
            "Failed to get agent-worker-number",
        ),
        "libtpu queries Google Cloud's metadata server for minutes, and nothing answers here",
        "run export TPU_SKIP_MDS_QUERY=1, then the same command again",
        "jax#11668",
    ),
    Symptom(
        "cluster-query",
        (r"cloud_tpu_cluster\.py", "host='metadata.google.internal'", "GkeTpuCluster"),
        "jax.distributed.initialize() or keras.distribution.initialize() mistook this machine for part of a cluster",
        f"remove that call; the programs of this package do not make it on Colab or Kaggle: {TRY_TPU}",
        "jax#40854",
    ),
    Symptom(
        "jax-without-tpu",
        ("A Google TPU may be present on this machine, but either a TPU-enabled jaxlib or libtpu is not",),
        "a TPU is attached, but JAX is installed without libtpu: the run is on the CPU",
        "run pip install -U 'jax[tpu]'",
        "jax/_src/xla_bridge.py",
    ),
    Symptom(
        "gpu-libraries-missing",
        (
            "Could not find cuda drivers on your machine",
            "Cannot dlopen some GPU libraries",
            r"Could not load dynamic library '(libcu|libnv)",
        ),
        "TensorFlow cannot find the CUDA libraries or the driver: the run is on the CPU",
        "run pip install 'tensorflow[and-cuda]>=2.18'; on a machine without a GPU this is not an error",
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
        "the NVIDIA driver does not start or does not match the CUDA libraries: the run is on the CPU",
        "run nvidia-smi: if it fails as well, reinstall the driver or restart the machine; "
        "on a machine without a GPU this is not an error",
        "tensorflow#63362, tensorflow#117538",
    ),
    Symptom(
        "jax-without-cuda",
        ("An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed",),
        "a GPU is attached, but JAX is installed without CUDA: the run is on the CPU",
        "run pip install -U 'jax[cuda12]'",
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
        "on several devices: metrics or gradients are summed instead of averaged, or not shared between replicas; "
        "on one device: training diverged",
        f"run the same command with --replicas=1 and compare python -m mnist_mlp.evaluate of both: "
        f"if one device is wrong as well, run {TRAIN} --learning_rate=0.0001",
        "keras#19280, keras#21061, tensorflow#90686",
    ),
    Symptom(
        "importlib-resources-missing",
        (r"No module named ['\"‘`]?importlib_resources\b",),
        "tensorflow_datasets 4.9.10 needs importlib_resources without declaring it",
        "run pip install importlib_resources",
        "observed in this project",
    ),
    Symptom(
        "batch-not-divisible",
        ("ZeroDivisionError: integer modulo by zero", "should evenly divide the shape"),
        "Keras or JAX splits a batch into equal parts, and its size is not a multiple of the number of devices; "
        "often it is the last batch",
        f"run {TRAIN} --replicas=N with any --batch_size: it pads and masks the last batch; in your own program "
        "drop the remainder",
        "keras#21167",
    ),
    Symptom(
        "stateless-apply",
        ("stateless_apply is not supported with the TensorFlow backend",),
        "Keras optimizers have stateless_apply only on JAX",
        "run export KERAS_BACKEND=jax, or call optimizer.apply",
        "observed in this project",
    ),
    Symptom(
        "merge-call",
        ("`?merge_call`? called while defining a new graph or a tf.function",),
        "the optimizer sums gradients across replicas inside a loop or a tf.function within strategy.run",
        "move the loop outside: for i in tf.range(n): strategy.run(step)",
        "observed in this project",
    ),
    Symptom(
        "tpu-initialized-twice",
        (r"TPU system .{0,99} has already been initialized",),
        "initializing the TPU again loses the variables on it",
        "initialize it once per process; on Colab choose Runtime → Restart session",
        "tensorflow/python/tpu/tpu_strategy_util.py",
    ),
    Symptom(
        "colab-tpu-node",
        (r"KeyError: ['\"]COLAB_TPU_ADDR",),
        "the notebook was written for the TPU nodes that Colab had until 2025; now the TPU is part of the machine",
        f"choose Runtime → Change runtime type → TPU, then {TRY_TPU}",
        "colabtools#5566",
    ),
    Symptom(
        "tensorflow-tpu-not-found",
        ("No matching distribution found for (tensorflow-tpu|libtpu)",),
        "tensorflow-tpu for this Python, or the libtpu that it needs, is not in the package registry",
        f"{TRY_TPU} --backend=jax; to stay with TensorFlow run {TPU_ENVIRONMENT}",
        "keras#21974",
    ),
)
GPU_SYMPTOMS = ("gpu-libraries-missing", "gpu-driver", "jax-without-cuda")  # irrelevant where the CPU is requested

COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")  # notebooks print tracebacks in colour
COMPILED = {
    row.name: re.compile("|".join(pattern.replace(" ", r"\s{1,9}") for pattern in row.patterns), re.IGNORECASE)
    for row in SYMPTOMS
}


def explain(text: str) -> list[Symptom]:
    """Return the known failures that a text (an error message, a log) shows, in the order of the table.

    >>> [row.name for row in explain("ModuleNotFoundError: No module named 'tensorflow'")]
    ['tensorflow-missing']
    >>> explain("ModuleNotFoundError: No module named 'foo'")
    []
    """
    text = COLOUR.sub("", text)
    return [row for row in SYMPTOMS if COMPILED[row.name].search(text)]


def installed_problems(machine: Machine, installed: Mapping[str, str]) -> list[Symptom]:
    """Return known problems of the installed distributions (name to version), of which `machine` has the frameworks."""
    rows, wheels = [], machine.tensorflows
    if len(wheels) > 1:
        rows.append(
            of_sentence(
                "several-tensorflows", overwritten(wheels, "pip install 'tensorflow>=2.18'"), "observed in this project"
            )
        )
    elif "tensorflow-tpu" in wheels and (text := tpu_tensorflow_problem(machine)):
        rows.append(of_sentence("tensorflow-tpu-unfit", text, "Kaggle/docker-python#1499"))
    if "tensorflow-tpu" in wheels and "jax" in machine.installed and (text := jax_problem(machine, "tpu")):
        rows.append(of_sentence("libtpu-overwritten", text, "jax#29989"))
    if "tensorflow-datasets" in installed and "importlib_resources" not in installed:
        rows += [row for row in SYMPTOMS if row.name == "importlib-resources-missing"]
    return rows


def of_sentence(name: str, text: str, source: str) -> Symptom:
    """Return a problem given as "what is wrong; what to do"."""
    meaning, _, fix = text.partition("; ")
    return Symptom(name, (), meaning, fix, source)
