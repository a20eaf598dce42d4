"""Packages that are missing, too new, too old, or do not go with one another; and pip."""

from mnist_mlp.doctor.failures.symptom import TRY_TPU, WARNING, Symptom

SYMPTOMS = (
    Symptom(
        "tensorflow-missing",
        (r"No module named ['\"`]?tensorflow(?![\w-]|\.\w)",),
        "TensorFlow is not installed in this Python; Colab's TPU runtimes have not included it since March 2025",
        f"on a TPU {TRY_TPU}, which runs on JAX without TensorFlow; elsewhere run pip install 'tensorflow>=2.18'",
        "colabtools#5174, colabtools#5185",
    ),
    Symptom(
        "tensorflow-keras-missing",
        (r"No module named ['\"`]?tensorflow\.(python\.)?keras(?![\w.]{0,60}['\"`]; )",),
        "this TensorFlow is only half installed, keras beside it is missing, or Keras 3 no longer has that module",
        "run python -m pip install --force-reinstall 'tensorflow>=2.18' 'keras>=3.10'; in your own program import "
        "keras, not tensorflow.keras",
        "tensorflow#15736, WGLab/DeepMod2#30",
    ),
    Symptom(
        "keras-moved",
        (
            r"No module named ['\"`]?keras\.(?![\w.]{0,60}['\"`]; )",
            r"cannot import name ['\"`]\w{1,40}['\"`] from ['\"`]keras",
            r"module ['\"`](keras\.\w[\w.]{0,60}|tensorflow\.keras)['\"`] has no attribute",
        ),
        "the program names something that Keras 3 has moved, removed or made private",
        "in your own program import from keras, keras.layers or keras.utils (np_utils.to_categorical is now "
        "keras.utils.to_categorical); for code that has to stay on Keras 2 run pip install tf_keras",
        "keras#18363, lukas/ml-class#76",
    ),
    Symptom(
        "tensorflow-1-program",
        (
            r"module ['\"`]tensorflow['\"`] has no attribute ['\"`](placeholder|Session|InteractiveSession|ConfigProto|"
            r"GraphDef|get_default_graph|reset_default_graph|global_variables_initializer|app|flags|contrib|logging|"
            r"log|variable_scope|get_variable|set_random_seed|random_normal|truncated_normal)\b",
            r"No module named ['\"`]?tensorflow\.(contrib|examples)\b(?![\w.]{0,60}['\"`]; )",
        ),
        "the program was written for TensorFlow 1, which no Python of today runs",
        "run python -m mnist_mlp.train in its place; in your own program use tf.compat.v1, or rewrite it with Keras",
        "tensorflow#28512, tensorflow#38361",
    ),
    Symptom(
        "no-wheel-for-this-python",
        (
            r"No matching distribution found for (tensorflow(-cpu|-gpu)?|jaxlib|jax)(?![\w-])",
            r"Could not find a version that satisfies the requirement (tensorflow(-cpu|-gpu)?|jaxlib)(?![\w-])",
        ),
        "no wheel fits this Python: TensorFlow 2.21 has them for Python 3.10 to 3.13, 64-bit; tensorflow-gpu is no "
        "more",
        "run python --version; then with another Python python3.13 -m venv .venv and .venv/bin/python -m pip install "
        "'tensorflow>=2.18'; or stay with this Python on JAX: pip install jax 'keras>=3.10' and --backend=jax",
        "tensorflow#79349, tensorflow#13340",
    ),
    Symptom(
        "externally-managed",
        ("externally-managed-environment", "This environment is externally managed"),
        "this is the Python of the operating system, into which pip may not install",
        "run python3 -m venv .venv, then .venv/bin/python -m pip install with the same packages",
        "ProjectNeura/LEADS#142, pypa/pipx#1747",
    ),
    Symptom(
        "venv-without-pip",
        ("ensurepip is not available", "No module named '?ensurepip"),
        "Debian and Ubuntu ship the module that makes virtual environments as a package of its own",
        "run sudo apt install python3-venv, remove the half-made folder, and make the environment again",
        "deadsnakes/issues#97, pyenv/pyenv-installer#125",
    ),
    Symptom(
        "packages-in-conflict",
        ("which is incompatible", "ResolutionImpossible", "these package versions have conflicting dependencies"),
        "pip has installed a package that another one in the same environment does not accept",
        "run python -m pip check; if one of the named packages is of this project, make a new environment: python3 -m "
        "venv .venv, then .venv/bin/python -m pip install -e .",
        "keras#21162, apple/turicreate#3467",
        WARNING,
    ),
    Symptom(
        "numpy-1-or-2",
        (
            r"module that was compiled using NumPy 1\.x cannot be run in",
            "_ARRAY_API not found",
            r"numpy\._?core\.multiarray failed to import",
            r"numpy\.(dtype|ndarray) size changed, may indicate binary incompatibility",
            "module compiled against A[BP]I version",
        ),
        "a compiled package was built for the other of NumPy 1 and 2",
        "run pip install -U with the package whose file the traceback names last (tensorflow>=2.18 and jax go with "
        "NumPy 2; ai-edge-litert in place of tflite_runtime); if it has no newer version, pip install 'numpy<2'",
        "tensorflow#90245, numpy/numpy#11628, pharmpy/pharmpy#3268",
    ),
    Symptom(
        "numpy-name-removed",
        (
            r"module ['\"`]numpy['\"`] has no attribute "
            r"['\"`](bool|object|int|float|str|complex|typeDict|product|in1d)\b",
            r"was removed in the NumPy 2\.0 release",
        ),
        "a package uses a name that NumPy has removed, in 1.24 or in 2.0",
        "run pip install -U with the package whose file the traceback names; in your own program use bool, int and "
        "float",
        "patlevin/tfjs-to-tf#43, huggingface/pytorch-image-models#1866",
    ),
    Symptom(
        "protobuf-unfit",
        (
            "Descriptors cannot (not )?be created directly",
            "Detected incompatible Protobuf Gencode/Runtime versions",
            r"cannot import name ['\"`]runtime_version['\"`] from ['\"`]google\.protobuf",
        ),
        "the installed protobuf does not go with the one that TensorFlow, ONNX or another package was made with",
        "run pip install -U protobuf 'tensorflow>=2.18', and with it the package whose _pb2.py file the traceback "
        "names; python -m pip check then says what is still in conflict",
        "protocolbuffers/protobuf#10064, tensorflow/models#11192",
    ),
    Symptom(
        "ml-dtypes-unfit",
        (r"module ['\"`]ml_dtypes['\"`] has no attribute",),
        "ml_dtypes, which TensorFlow, JAX and ONNX share, is older or newer than one of them needs",
        "run pip install -U ml_dtypes 'tensorflow>=2.18' jax onnx; if pip finds no common version, give the exporter "
        "an environment of its own",
        "onnx/onnx#7249, jax#17693",
    ),
    Symptom(
        "setuptools-missing",
        (r"No module named ['\"`]?(distutils|pkg_resources)\b",),
        "Python 3.12 has no distutils, and setuptools 82 no pkg_resources; an older package still imports it",
        "run pip install 'setuptools<82'; better, pip install -U with the package whose file the traceback names",
        "huggingface/transformers#31174, tensorflow/tensorboard#7064",
    ),
    Symptom(
        "importlib-resources-missing",
        (r"No module named ['\"`]?importlib_resources\b",),
        "tensorflow_datasets 4.9.10 needs importlib_resources without declaring it",
        "run pip install importlib_resources",
        "observed in this project",
    ),
    Symptom(
        "jaxlib-unfit",
        (
            "but this version of jax requires version",
            r"jaxlib version \d[\w.]{0,20} is newer than",
        ),
        "jax and jaxlib are of two releases",
        "run pip install -U jax jaxlib (with a GPU 'jax[cuda13]', with a TPU 'jax[tpu]')",
        "jax#17638, octo-models/octo#125",
    ),
    Symptom(
        "zsh-brackets",
        ("zsh: no matches found:",),
        "zsh takes square brackets for a pattern of file names",
        "run the command again with quotes: pip install -e '.[gpu]', pip install 'tensorflow[and-cuda]'",
        "openillumi.com/en/en-pip-connexion-flask-zsh-quote-fix",
    ),
    Symptom(
        "windows-long-path",
        ("Windows Long Path support",),
        "Windows limits a path to 260 characters, and TensorFlow's wheel has longer ones",
        "run as administrator: reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem /v LongPathsEnabled /t "
        "REG_DWORD /d 1 /f, restart, and install again; or keep the environment in a short path such as C:\\v",
        "pypa/pip#7398, tensorflow#45462",
    ),
)
