"""Environment variables that Keras, JAX, TensorFlow and NumPy read, and that would change the numbers of a run.

Every such variable is ignored (it is removed before the frameworks are imported, with a note in the report) or recorded
in the result, under `environment`. The lists come from the sources of Keras 3.10 to 3.15, JAX 0.6 to 0.10, TensorFlow
2.18 to 2.21 with oneDNN, and NumPy 2; README.md in `mnist_mlp/devices` has them as a table. Keras and JAX are given no
list of what is ignored but one of what is kept, so that an option of a newer version changes nothing either.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

# Where Keras and JAX run, keep files, connect and log: what a user sets for reasons that do not concern the numbers.
KEPT = re.compile(
    r"KERAS_(HOME|BACKEND|TORCH_DEVICE|DISTRIBUTION_\w+)"
    r"|JAX_(PLATFORMS|(CUDA|ROCM|ONEAPI)_VISIBLE_DEVICES|LOCAL_DEVICE_IDS|PJRT_CLIENT_CREATE_OPTIONS)"
    r"|JAX_(ENABLE_COMPILATION_CACHE|COMPILATION_CACHE_\w+|PERSISTENT_CACHE_\w+|RAISE_PERSISTENT_CACHE_ERRORS)"
    r"|JAX_(COORDINATOR_\w+|NUM_PROCESSES|PROCESS_\w+|SLICE_INDEX|PARTITION_INDEX|CROSS_HOST_\w+|SHARE_BINARY_\w+|CHECK_PROXY_ENVS)"
    r"|JAX_(CPU_COLLECTIVES_IMPLEMENTATION|CPU_GET_\w+|ENABLE_RECOVERABILITY|ENABLE_PREEMPTION_SERVICE)"
    r"|JAX_(LOG_\w+|LOGGING_LEVEL|DEBUG_LOG_MODULES|EXPLAIN_CACHE_MISSES|DISTRIBUTED_DEBUG|DUMP_IR_\w+)"
    r"|JAX_(TRACEBACK_\w+|INCLUDE_\w+|TRACER_ERROR_\w+|PPRINT_\w+|CAPTURED_CONSTANTS_\w+|COMPILER_DETAILED_\w+)"
    r"|JAX_DISABLE_JIT"  # a way to debug, recorded
)
IGNORED = re.compile(
    r"KERAS_\w+|JAX_\w+|CHECK_VMA|EAGER_CONSTANT_FOLDING|MOCK_NUM_GPU_PROCESSES"  # the last three are JAX's
    r"|TF2_BEHAVIOR|TF_ENABLE_(CONTROL_FLOW|WHILE|COND|TENSOR_ARRAY)_V2|TF_OPTIONALS_IN_GRADIENTS"  # TensorFlow 1
    r"|TF_(FUNCTION_JIT_COMPILE_DEFAULT|JIT_COMPILE_REWRITE|USE_LEGACY_KERAS)|AUTOGRAPH_STRICT_CONVERSION"
    # Lower precision than --precision says:
    r"|TF_(ENABLE_)?AUTO_MIXED_PRECISION\w*|TF_SET_ONEDNN_FPMATH_MODE|(ONEDNN|DNNL)_DEFAULT_FPMATH_MODE"
    r"|NVIDIA_TF32_OVERRIDE"
    r"|NPY_PROMOTION_STATE"
)
# Kernels, their order of summation, and compilers: they change how numbers are rounded. Not all that begins with TF_:
# Terraform's variables do as well, and hold passwords.
RECORDED = re.compile(
    r"JAX_DISABLE_JIT|XLA_(?!PYTHON_CLIENT|CLIENT_MEM)\w+|LIBTPU_INIT_ARGS|TF_XLA_\w+|TF_JITRT_FLAGS"
    r"|TF_(ENABLE|DISABLE|USE|DETERMINISTIC|CUDNN|CUBLAS|CUFFT|MATMUL|AUTOTUNE|CONV2D|FP16|ONEDNN|MKL)_\w+"
    r"|TF_NUM_INT(RA|ER)OP_THREADS|TF_OVERRIDE_GLOBAL_THREADPOOL|TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL"
    r"|(ONEDNN|DNNL|MKL|OMP|GOMP|KMP|OPENBLAS|GOTO|BLIS|VECLIB|CUBLAS|CUDNN)_\w+"
    r"|NPY_(DISABLE|ENABLE)_CPU_FEATURES"
)
UNIMPORTANT = re.compile(
    r"(ONEDNN|DNNL|MKL|KMP|OPENBLAS|CUDNN)_(\w+_)?(VERBOSE|LOG\w*)|TF_ENABLE_GPU_GARBAGE\w+"
    r"|KMP_(DUPLICATE_LIB_OK|INIT_AT_FORK)"  # scikit-learn sets these when it is imported, as `tune` does
)
INHERITED = {"TF2_BEHAVIOR": "1"}  # from a process that imported TensorFlow, such as a notebook: nobody has set it
CACHE_FLAG = re.compile(r"--tf_xla_persistent_cache_\w+=\S*")  # within TF_XLA_FLAGS
LONGEST = 300  # characters of a value
JAX_OPTIONS: dict[str, object] = {  # which a program may have set in its own process, and their defaults
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_disable_jit": False,
}

ignored: dict[str, str] = {}  # what this process has removed


def remove_ignored(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that could make a run compute something else than its options say.

    Call it before a framework is imported.
    """
    for name in list(environ):
        if IGNORED.fullmatch(name) and not KEPT.fullmatch(name):
            value = environ.pop(name)
            if INHERITED.get(name) != value:
                ignored[name] = value


def notes(backend: str) -> tuple[str, ...]:
    """Return what a report says of the environment: what that backend would have read and is ignored, what it reads."""
    removed = listed({name: value for name, value in sorted(ignored.items()) if read_by(backend, name)})
    read = listed(recorded(backend))
    return (
        *((f"ignored, since options alone decide the numbers: {removed}",) if removed else ()),
        *((f"set in the environment, and may change how numbers are rounded: {read}",) if read else ()),
    )


def listed(variables: Mapping[str, str]) -> str:
    """Return variables as a text: "A=1, B=2"."""
    return ", ".join(f"{name}={value[:LONGEST]}" for name, value in variables.items())


def recorded(backend: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that may change how that backend rounds, and options of JAX that this process has changed.

    Backend "" stands for all of them.
    """
    found = {}
    for name, value in sorted(environ.items()):
        if name == "TF_XLA_FLAGS":
            value = CACHE_FLAG.sub("", value).strip()
        if value and RECORDED.fullmatch(name) and not UNIMPORTANT.fullmatch(name) and read_by(backend, name):
            found[name] = value[:LONGEST]
    config: Any = getattr(sys.modules.get("jax"), "config", None) if backend == "jax" else None
    for option, default in JAX_OPTIONS.items():
        setting = getattr(config, option, default)
        if setting != default:
            found.setdefault(option.upper(), str(setting))
    return found


def read_by(backend: str, name: str) -> bool:
    """Return whether a variable is of that backend, or of none in particular."""
    owner = {"JAX": "jax", "TF": "tensorflow", "TF2": "tensorflow", "AUTOGRAPH": "tensorflow"}
    return backend in ("", owner.get(name.partition("_")[0], backend))
