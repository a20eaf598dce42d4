"""TPUs, on Colab, on Kaggle and in the cloud."""

from mnist_mlp.devices.frameworks import TPU_ENVIRONMENT
from mnist_mlp.doctor.failures.symptom import TRY_TPU, WARNING, Symptom

SYMPTOMS = (
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
            r"vfio/\d{1,4}\)?: Device or resource busy",
            r"accel\d{1,4}\)?: Device or resource busy",
            "libtpu_lockfile",
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
        WARNING,
    ),
    Symptom(
        "tpu-initialized-twice",
        (r"TPU system .{0,99} has already been initialized",),
        "initializing the TPU again loses the variables on it",
        "initialize it once per process; on Colab choose Runtime → Restart session",
        "tensorflow/python/tpu/tpu_strategy_util.py",
        WARNING,
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
