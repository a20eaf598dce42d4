"""The machine: disk, memory, ports, permissions; notebooks and screens."""

from mnist_mlp.doctor.failures.symptom import Symptom

SYMPTOMS = (
    Symptom(
        "disk-full",
        ("No space left on device", "Disk quota exceeded", "There is not enough space on the disk"),
        "a disk, a quota or the folder for temporary files is full; TensorFlow takes 2.5 GB, and pip unpacks it in "
        "/tmp",
        "run df -h . /tmp, and free some space; for pip run mkdir -p ~/tmp, then TMPDIR=~/tmp pip install "
        "--no-cache-dir …",
        "pypa/pip#5816, dnschneid/crouton#4280",
    ),
    Symptom(
        "killed-for-memory",
        (
            r"(?-i:Killed)[\t\x20]{0,9}(?=\r?\n|$)",
            "OOMKilled",
            r"Out of memory: Killed process",
            "invoked oom-killer",
            r"exit(ed with)? (status |code )?137\b",
            r"signal: 9 \(Killed\)",
        ),
        "the operating system or the container ended the process, as a rule because its memory was used up",
        "run the same command with a smaller --batch_size, or tune with fewer --jobs; give a container more: docker "
        "run --memory=4g; sudo dmesg | tail says who was ended",
        "keras#3476, happylun/SketchModeling#5",
    ),
    Symptom(
        "shared-memory-small",
        ("Bus error", "SIGBUS", r"insufficient shared memory"),
        "a file in memory could not grow: /dev/shm of a container has 64 MB, or the disk below a mapped file is full",
        "run the container with --shm-size=1g; elsewhere run df -h /dev/shm /tmp and free some space",
        "ultralytics/yolov3#283, nianticlabs/simplerecon#3",
    ),
    Symptom(
        "too-many-files",
        ("Too many open files",),
        "a process may not open as many files and connections as it needs",
        "run ulimit -n 4096, then the same command again",
        "facebookresearch/fairseq#87, pytorchfi/pytorchfi#32",
    ),
    Symptom(
        "port-in-use",
        (
            "Address already in use",
            r"WinError 10048",
            "Only one usage of each socket address",
        ),
        "another process listens on that port, perhaps an earlier start of the same program",
        "run lsof -i :PORT and end that process, or choose another --port",
        "microsoftgraph/python-sample-auth#13, dgtlmoon/changedetection.io#2925",
    ),
    Symptom(
        "permission-denied",
        (
            r"Errno 13\] Permission denied",
            r"Errno 30\] Read-only file system",
            r"PermissionError: \[",
        ),
        "a folder may not be written, in a container often a home that is not there (/.keras, /nonexistent)",
        "choose a folder of yours with --run_dir; run export KERAS_HOME=/tmp/keras HOME=/tmp in a container without a "
        "home",
        "sorki/python-mnist#7, keras#16877",
    ),
    Symptom(
        "event-loop-in-notebook",
        (
            r"asyncio\.run\(\) cannot be called from a running event loop",
            "This event loop is already running",
        ),
        "a notebook runs an event loop of its own, in which a server cannot start another",
        "run the server in a terminal: python -m mnist_mlp.serve; or in a cell: !python -m mnist_mlp.serve …",
        "datawhalechina/self-llm#97, xpublish-community/xpublish#126",
    ),
    Symptom(
        "kernel-died",
        ("kernel appears to have died", "DeadKernelError", r"Kernel died before replying"),
        "the notebook's process ended without a word, which its server's terminal may have kept: as a rule too little "
        "memory, or a processor without AVX",
        "run jupyter nbconvert --to script FILE, then python FILE.py in a terminal, and explain what that prints last",
        "tensorflow#9829, jeffheaton/t81_558_deep_learning#127",
    ),
    Symptom(
        "no-display",
        (
            r"no display name and no \$DISPLAY environment variable",
            "couldn't connect to display",
            "Could not load the Qt platform plugin",
            r"cannot load backend ['\"`]\w{1,20}['\"`] which requires",
        ),
        "a program wants to open a window, and there is no screen",
        "run export MPLBACKEND=Agg, and save figures to files",
        "tensorlayer/TensorLayer#25, sylhare/nprime#2",
    ),
    Symptom(
        "study-locked",
        ("database is locked",),
        "several processes write one SQLite file at the same time, or it lies on a network file system",
        "run python -m mnist_mlp.tune with fewer --jobs and a --study_dir on a disk of this machine; in your own "
        "program use Optuna's JournalStorage",
        "optuna/optuna#820, optuna/optuna#4994",
    ),
    Symptom(
        "array-too-large",
        (r"Unable to allocate \d[\d.]{0,9} [KMGT]iB for an array",),
        "NumPy was refused the memory for an array; floats of MNIST take eight times its bytes with float64, and four "
        "times with float32",
        "in your own program keep images as uint8 and convert a batch at a time; run python -m mnist_mlp.train, which "
        "does",
        "shubhammor0403/EMNIST#1",
    ),
    Symptom(
        "user-without-name",
        (r"getpwuid\(\): uid not found",),
        "the container runs as a user number that its /etc/passwd does not have, and a package asked for the user's "
        "name",
        "run docker run --user $(id -u):$(id -g) -e HOME=/tmp -e USER=me with the rest of the same command",
        "vectorize-io/hindsight#3934, python/cpython#75650",
    ),
)
