"""Python finds the packages, but a framework does not start: processor, operating system, files that hide modules."""

from mnist_mlp.doctor.failures.symptom import Symptom

HIDDEN = "json|random|types|copy|queue|string|code|struct|logging|inspect|platform|enum|token|numbers|statistics"

SYMPTOMS = (
    Symptom(
        "shadowed-module",
        (
            r"partially initialized module ['\"`](tensorflow|keras|jax|numpy|random|json|PIL|matplotlib|optuna|onnx)\b",
            r"consider renaming ['\"`]",
            r"is not a package\b",
            r"module ['\"`](tensorflow|keras|jax)['\"`] has no attribute "
            r"['\"`](__version__|keras|config|constant|Variable|function|data|layers|models|Sequential|Model|Input|numpy|jit|devices)\b",
            r"module ['\"`]numpy['\"`] has no attribute ['\"`](array|ndarray|zeros|float32|uint8|__version__)\b",
            rf"module ['\"`]({HIDDEN})['\"`] has no attribute",
        ),
        "a file or folder of your own has the name of a package and is imported in its place",
        "run python -c 'import tensorflow; print(tensorflow.__file__)' (or with the name in the message) in the same "
        "folder, rename the file of yours that it prints, and remove the __pycache__ beside it",
        "tensorflow#54208, tensorflow#40265, keras#14292",
    ),
    Symptom(
        "fcntl-on-windows",
        (r"No module named ['\"`]?fcntl\b",),
        "Python for Windows has no fcntl, which locks files and which this package uses",
        "run wsl --install in an administrator's PowerShell, restart, and use the same commands in Ubuntu (WSL2)",
        "python/cpython#74228, intel/dffml#1289",
    ),
    Symptom(
        "dll-load-failed",
        ("DLL load failed",),
        "Windows could not load a part of TensorFlow: the Visual C++ Redistributable is missing or old, Python is "
        "32-bit, or the processor has no AVX",
        "install the latest Visual C++ Redistributable (x64) from Microsoft, restart, and run the same command again; "
        "or run it in WSL2, where this package is at home",
        "tensorflow#39502, tensorflow#79362",
    ),
    Symptom(
        "illegal-instruction",
        ("Illegal instruction", "SIGILL", "built using AVX instructions, which your CPU"),
        "the wheel uses instructions, AVX above all, that this processor or virtual machine does not have",
        "run grep -o -m1 avx /proc/cpuinfo: if it prints nothing, use another machine, or choose the host's processor "
        "type for the virtual machine; if it prints avx, run pip install -U --force-reinstall 'tensorflow>=2.18'",
        "tensorflow#17411, tensorflow#62342",
    ),
    Symptom(
        "rosetta",
        ("illegal hardware instruction", "compiled to use AVX instructions, but these aren't available"),
        "this is a Python or container for Intel processors on a Mac with Apple silicon, whose Rosetta has no AVX (or "
        "an old processor without it)",
        "run python -c 'import platform; print(platform.machine())': if it prints x86_64 on such a Mac, install Python "
        "for arm64, make the environment again with it, and build containers with --platform linux/arm64",
        "tensorflow#46178, tensorflow#58339, hacksider/Deep-Live-Cam#249",
    ),
    Symptom(
        "tensorflow-metal",
        (r"libmetal_plugin\.dylib",),
        "tensorflow-metal was built for another TensorFlow than the installed one",
        "run pip uninstall -y tensorflow-metal: this network trains in seconds on the CPU",
        "tensorflow#84167, tensorflow#81987",
    ),
    Symptom(
        "system-libraries-old",
        (
            r"GLIBCXX_\d[\d.]{0,9}['\"`]? not found",
            r"GLIBC_\d[\d.]{0,9}['\"`]? not found",
            r"CXXABI_\d[\d.]{0,9}['\"`]? not found",
        ),
        "the C or C++ library that was loaded first is older than the one that the package was built with",
        "with conda run conda install -c conda-forge libstdcxx-ng and export LD_LIBRARY_PATH=$CONDA_PREFIX/lib; "
        "elsewhere the operating system is too old for the wheel: use a newer one, or a container",
        "tensorflow#30856, jax#9218",
    ),
    Symptom(
        "console-encoding",
        (
            r"charmap['\"`] codec can't encode",
            r"ascii['\"`] codec can't encode",
            r"UnicodeEncodeError: ['\"`](gbk|cp\d{3,4}|latin-1)['\"`]",
        ),
        "the console's encoding lacks a character of the output, such as the one of Keras' progress bar",
        "run export PYTHONUTF8=1 (PowerShell: $env:PYTHONUTF8=1), then the same command again",
        "keras#19386, tqdm/tqdm#1339",
    ),
)
