"""NVIDIA GPUs: driver, CUDA, cuDNN, XLA's tools and memory."""

from mnist_mlp.doctor.failures.symptom import TRAIN, WARNING, Symptom

SYMPTOMS = (
    Symptom(
        "gpu-libraries-missing",
        (
            "Could not find cuda drivers on your machine",
            "Cannot dlopen some GPU libraries",
            r"Could not load dynamic library '(libcu(?!da\.so)|libnv)",
            r"libcud(art|nn)[\w.]{0,20}: cannot open shared object file",
        ),
        "TensorFlow cannot find the CUDA libraries or the driver: the run is on the CPU",
        "run pip install 'tensorflow[and-cuda]>=2.18'; on a machine without a GPU this is not an error",
        "tensorflow#63362, tensorflow#117538",
        WARNING,
    ),
    Symptom(
        "gpu-driver",
        (
            r"failed call to cuInit(?![\s\S]{0,99}(no CUDA-capable|ERROR_NO_DEVICE))",
            r"does not match DSO version \d",
            "CUDA driver version is insufficient for CUDA runtime version",
            "Failed to initialize NVML: Driver/library version mismatch",
            r"libcuda\.so\.1: cannot open shared object file",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        ),
        "the NVIDIA driver does not start or does not match the CUDA libraries: the run is on the CPU",
        "run nvidia-smi: if it fails as well, reinstall the driver or restart the machine; "
        "on a machine without a GPU this is not an error",
        "tensorflow#63362, tensorflow#117538",
        WARNING,
    ),
    Symptom(
        "gpu-hidden",
        ("CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected", "No visible GPU devices"),
        "the driver is there, but this process sees no GPU: CUDA_VISIBLE_DEVICES hides it or names one that does not "
        "exist, or the container was started without it",
        "run nvidia-smi -L and echo $CUDA_VISIBLE_DEVICES; then unset it, or set it to a number or name that "
        "nvidia-smi prints; start a container with --gpus all",
        "numba/numba#5793, microsoft/WSL#9272",
        WARNING,
    ),
    Symptom(
        "gpu-number-wrong",
        ("CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"),
        "no GPU has that number: they are counted from 0 among those that CUDA_VISIBLE_DEVICES leaves, and of MIG "
        "instances a process sees only one",
        "run nvidia-smi -L and set CUDA_VISIBLE_DEVICES to one of the names that it prints (GPU-… or MIG-…)",
        "jax#15843, mlcommons/training#442",
    ),
    Symptom(
        "jax-without-cuda",
        (
            "An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed",
            "No GPU/TPU found, falling back to CPU",
        ),
        "a GPU is attached, but JAX is installed without CUDA: the run is on the CPU",
        "run pip install -U 'jax[cuda13]' ('jax[cuda12]' with a driver older than 580)",
        "jax/_src/xla_bridge.py, jax#17624",
        WARNING,
    ),
    Symptom(
        "jax-cuda-failed",
        (
            "Unable to initialize backend 'cuda'",
            "CUDA backend failed to initialize",
            r"Jax plugin configuration error: Exception when calling jax_plugins\.xla_cuda",
        ),
        "JAX's CUDA plug-in is installed but does not start: the driver is too old for it, or the packages are of "
        "different releases",
        "run nvidia-smi, then pip install -U 'jax[cuda13]' ('jax[cuda12]' with a driver older than 580)",
        "magenta/mt3#145, google-research/maxim#32",
    ),
    Symptom(
        "windows-gpu",
        ("TensorFlow GPU support is not available on native Windows",),
        "TensorFlow has used no GPU on Windows itself since 2.11: the run is on the CPU",
        "run wsl --install, and in Ubuntu (WSL2) pip install 'tensorflow[and-cuda]>=2.18'",
        "tensorflow#60241, tensorflow#85006",
        WARNING,
    ),
    Symptom(
        "docker-without-gpu",
        (r"could not select device driver",),
        "Docker does not know how to give a GPU to a container",
        "install nvidia-container-toolkit on the host, then run sudo nvidia-ctk runtime configure --runtime=docker and "
        "sudo systemctl restart docker",
        "NVIDIA/nvidia-docker#1642, OpenBMB/XAgent#273",
    ),
    Symptom(
        "cudnn-older-than-built-for",
        ("Loaded runtime CuDNN library:", r"Outdated cuDNN installation found"),
        "another cuDNN than the one of the wheel is found first, and it is older than the one that was built with",
        "run unset LD_LIBRARY_PATH, then pip install -U 'tensorflow[and-cuda]' (JAX: 'jax[cuda13]') in a new "
        "environment",
        "jax#16901, stardist/stardist#228",
    ),
    Symptom(
        "cudnn-not-started",
        (
            "DNN library is not found",
            "DNN library initialization failed",
            "Could not create cudnn handle",
            "CUDNN_STATUS_(NOT_INITIALIZED|INTERNAL_ERROR|ALLOC_FAILED)",
            "Failed to get convolution algorithm",
        ),
        "cuDNN did not start: it is missing, of another release, or the GPU's memory is full",
        "run nvidia-smi and end what else fills the GPU; then pip install -U 'tensorflow[and-cuda]' (JAX: "
        "'jax[cuda13]')",
        "colabtools#3013, tensorflow#55468, jax#15361",
    ),
    Symptom(
        "cublas-not-started",
        ("create cublas handle", "CUBLAS_STATUS_(NOT_INITIALIZED|ALLOC_FAILED)"),
        "cuBLAS did not start, as a rule because another program fills the GPU's memory",
        "run nvidia-smi and end what else uses the GPU; then the same command; if it fails again, "
        "pip install -U 'tensorflow[and-cuda]' (JAX: 'jax[cuda13]')",
        "tensorflow#9489, jax#7118",
    ),
    Symptom(
        "libdevice-missing",
        ("libdevice not found", "Can't find libdevice directory", "libdevice is required by this HLO module"),
        "XLA finds no libdevice.10.bc, which belongs to CUDA's compiler",
        "run pip install -U 'tensorflow[and-cuda]', which brings it; or export XLA_FLAGS=--xla_gpu_cuda_data_dir=DIR, "
        "where DIR holds nvvm/libdevice/libdevice.10.bc",
        "tensorflow#58681, jax#4452",
    ),
    Symptom(
        "ptxas-old",
        (
            "ptxas too old",
            r"ptxas does not support CC \d",
            r"You are using ptxas \d",
            "Couldn't (get|invoke) ptxas",
        ),
        "XLA found an older ptxas than it needs, which is slower or, as its warning says, compiles wrong code",
        "run which -a ptxas; then pip install -U 'tensorflow[and-cuda]' (JAX: 'jax[cuda13]'), and take the older one's "
        "folder out of PATH",
        "openxla/xla#5932, jax#10083, tensorflow#50096",
        WARNING,
    ),
    Symptom(
        "gpu-too-old-or-new",
        (
            "no kernel image is available for execution on the device",
            "CUDA_ERROR_INVALID_PTX",
            "CUDA_ERROR_NO_BINARY_FOR_GPU",
            "TensorFlow was not built with CUDA kernel binaries compatible with compute capability",
        ),
        "the wheel has no code for a GPU of this generation",
        f"run pip install -U 'tensorflow[and-cuda]'; if it is the newest already, {TRAIN} --strategy=gpu "
        "--backend=jax, or --strategy=cpu",
        "tensorflow#42467, tensorflow#99592",
    ),
    Symptom(
        "gpu-memory",
        (
            "OOM when allocating tensor",
            "CUDA_ERROR_OUT_OF_MEMORY",
            "ran out of memory trying to allocate",
            "ResourceExhaustedError",
        ),
        "the device has too little free memory for this batch; TensorFlow takes all of a GPU's memory, so a second "
        "program finds none",
        "run nvidia-smi and end what else uses the GPU; then the same command with a smaller --batch_size",
        "tensorflow#4735, keras#9643",
    ),
    Symptom(
        "jax-memory",
        (
            "Out of memory while trying to allocate",
            r"Failed to allocate request for \d",
            "Out of memory allocating",
        ),
        "JAX found too little memory; it takes three quarters of a GPU when it starts, so two programs do not fit",
        "run nvidia-smi and end what else uses the GPU; or export XLA_PYTHON_CLIENT_PREALLOCATE=false; or use a "
        "smaller --batch_size",
        "jax#788, google-deepmind/jaxline#11",
    ),
    Symptom(
        "device-set-too-late",
        (
            "Physical devices cannot be modified after being initialized",
            "Virtual devices cannot be modified after being initialized",
            "Visible devices cannot be modified after being initialized",
        ),
        "a program chose its devices after TensorFlow had begun to use them",
        "in your own program move that call before everything that makes a tensor; in a notebook restart the kernel "
        "and run it first",
        "hunglc007/tensorflow-yolov4-tflite#171, huggingface/datasets#6948",
    ),
    Symptom(
        "channels-first-on-cpu",
        (
            "only supports the NHWC tensor format on the CPU",
            r"Conv\w{0,40} only supports NHWC",
            "conv implementation only supports NHWC",
        ),
        "TensorFlow convolves images with channels first on a GPU only",
        "in your own program use data_format='channels_last' (images [n, 28, 28, 1]), or run export KERAS_BACKEND=jax",
        "keras#20414, tensorflow#25570",
    ),
    Symptom(
        "xla-flags-unknown",
        ("Unknown flags? in XLA_FLAGS", r"parse_flags_from_env\.cc"),
        "XLA_FLAGS holds a flag that this version does not know, and the process ends",
        "run unset XLA_FLAGS, or remove the flag that is named; flags of TPUs belong into LIBTPU_INIT_ARGS",
        "jax#15616, google-research/proteinfer#87",
    ),
)
IRRELEVANT_ON_CPU = (  # where the CPU was requested
    *("gpu-libraries-missing", "gpu-driver", "gpu-hidden", "jax-without-cuda", "windows-gpu", "jax-cuda-failed"),
)
