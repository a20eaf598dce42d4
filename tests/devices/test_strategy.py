"""The device plan for machines that nobody here owns, and every refusal with its remedy."""

import dataclasses
import json
import os
import sys

import pytest

from mnist_mlp.config import Config
from mnist_mlp.devices import plan
from mnist_mlp.devices.machine import Machine, detect, processor_name
from mnist_mlp.devices.strategy import Request, choose, visible_gpus
from mnist_mlp.errors import UserError

TF = {"tensorflow": "2.21.0", "keras": "3.15.1"}
JAX = {"jax": "0.10.2", "jaxlib": "0.10.2", "keras": "3.15.1"}
COLAB_TPU_SET = {"keras": "3.13.2", "jax": "0.7.2", "jaxlib": "0.7.2", "libtpu": "0.0.21.1"}
TPU_TF = {"tensorflow-tpu": "2.19.1", "keras": "3.15.1", "libtpu": "0.0.10"}
LIBTPU = "/site/libtpu/libtpu.so"

MACHINES = {
    "laptop": Machine(installed=TF),
    "laptop with both": Machine(installed=TF | JAX),
    "one GPU": Machine(gpus=1, cuda_libraries=True, installed=TF),
    "four GPUs": Machine(gpus=4, cuda_libraries=True, installed=TF),
    "four GPUs, JAX": Machine(gpus=4, installed=JAX | {"jax-cuda12-plugin": "0.10.2"}),
    "GPU without CUDA libraries": Machine(gpus=1, installed=TF),
    "GPU with JAX's CUDA alone": Machine(gpus=1, installed=TF | JAX | {"jax-cuda13-plugin": "0.10.2"}),
    "GPUs hidden": Machine(gpus=2, cuda_visible_devices="", cuda_libraries=True, installed=TF),
    "GPUs hidden by -1": Machine(gpus=2, cuda_visible_devices="-1", cuda_libraries=True, installed=TF),
    "second of two GPUs": Machine(gpus=2, cuda_visible_devices="1", cuda_libraries=True, installed=TF),
    "Colab CPU": Machine(host="colab", installed=TF | COLAB_TPU_SET),
    "Colab GPU": Machine(host="colab", gpus=1, cuda_libraries=True, installed=TF | JAX),
    "Colab TPU": Machine(host="colab", tpu_chips=1, tpu_kind="v5e", installed=COLAB_TPU_SET, libtpu=LIBTPU),
    "Kaggle TPU": Machine(host="kaggle", tpu_chips=8, tpu_kind="v5e", installed=COLAB_TPU_SET, libtpu=LIBTPU),
    "Kaggle TPU, newer libtpu": Machine(
        host="kaggle", tpu_chips=8, tpu_kind="v5e", installed=TPU_TF | {"libtpu": "0.0.21"}, libtpu=LIBTPU
    ),
    "Kaggle TPU, both with JAX's libtpu": Machine(
        host="kaggle",
        tpu_chips=8,
        tpu_kind="v5e",
        installed=COLAB_TPU_SET | {"tensorflow-tpu": "2.19.1"},
        libtpu=LIBTPU,
    ),
    "TPU VM, both with TensorFlow's libtpu": Machine(
        tpu_chips=4, tpu_kind="v4", installed=JAX | TPU_TF | {"tensorflow-tpu": "2.19.1"}, libtpu=LIBTPU
    ),
    "TPU VM without libtpu": Machine(
        tpu_chips=4, tpu_kind="v4", installed={"tensorflow-tpu": "2.20.0", "keras": "3.15.1"}
    ),
    "TPU VM without libtpu.so": Machine(tpu_chips=4, tpu_kind="v4", installed=TPU_TF),
    "TPU VM with tensorflow-tpu": Machine(tpu_chips=4, tpu_kind="v4", installed=TPU_TF, libtpu=LIBTPU),
    "TPU VM with plain TensorFlow": Machine(tpu_chips=4, tpu_kind="v4", installed=TF),
    "TPU VM with plain TensorFlow and JAX": Machine(tpu_chips=4, tpu_kind="v4", installed=TF | JAX),
    "TPU VM with both wheels": Machine(tpu_chips=4, tpu_kind="v4", installed=TF | TPU_TF, libtpu=LIBTPU),
    "TPU VM with nothing": Machine(tpu_chips=4, tpu_kind="v4"),
    "TPU wheel without a TPU": Machine(installed=TPU_TF, libtpu=LIBTPU),
    "JAX for TPUs without a TPU": Machine(installed=COLAB_TPU_SET, libtpu=LIBTPU),
    "both wheels": Machine(installed=TF | TPU_TF, libtpu=LIBTPU),
    "TensorFlow missing": Machine(installed=JAX),
    "JAX missing": Machine(installed=TF),
    "both missing": Machine(installed={"keras": "3.15.1"}),
    "Keras missing": Machine(installed={"tensorflow": "2.21.0"}),
    "old TensorFlow": Machine(installed=TF | {"tensorflow": "2.17.1"}),
    "old Keras": Machine(installed=TF | {"keras": "2.15.0"}),
    "legacy Colab TPU": Machine(host="colab", colab_tpu_addr="10.0.0.2:8470", installed=TF),
    "chip held": Machine(tpu_chips=1, tpu_kind="v5e", tpu_holder=4711, installed=JAX | {"libtpu": "0.0.52"}),
    "chip free, JAX": Machine(tpu_chips=4, tpu_kind="v5e", installed=TF | JAX | {"libtpu": "0.0.52"}),
    "Colab chip held": Machine(host="colab", tpu_chips=1, tpu_kind="v5e", tpu_holder=99, installed=COLAB_TPU_SET),
}


def asked(text):
    """ "gpu replicas=2 backend=jax" as a Request."""
    strategy, *more = text.split()
    values = dict(word.split("=", 1) for word in more)
    for name in ("replicas", "worker_index"):
        if name in values:
            values[name] = int(values[name])
    return Request(strategy, **values)


MET = [  # machine, request → backend, strategy, replicas
    ("laptop", "auto", "tensorflow", "cpu", 1),
    ("laptop", "cpu", "tensorflow", "cpu", 1),
    ("laptop", "cpu replicas=4", "tensorflow", "cpu", 4),
    ("laptop", "auto replicas=4", "tensorflow", "cpu", 4),
    ("laptop with both", "auto", "tensorflow", "cpu", 1),
    ("laptop with both", "cpu backend=jax replicas=8", "jax", "cpu", 8),
    ("laptop", "tpu tpu=grpc://10.0.0.2:8470", "tensorflow", "tpu", None),
    ("laptop", "auto tpu=my-tpu", "tensorflow", "tpu", None),
    ("one GPU", "auto", "tensorflow", "gpu", 1),
    ("one GPU", "gpu", "tensorflow", "gpu", 1),
    ("one GPU", "mirrored", "tensorflow", "gpu", 1),
    ("one GPU", "cpu", "tensorflow", "cpu", 1),
    ("four GPUs", "auto", "tensorflow", "gpu", 1),
    ("four GPUs", "gpu", "tensorflow", "gpu", 1),
    ("four GPUs", "gpu replicas=3", "tensorflow", "gpu", 3),
    ("four GPUs", "mirrored", "tensorflow", "gpu", 4),
    ("four GPUs", "mirrored replicas=2", "tensorflow", "gpu", 2),
    ("four GPUs, JAX", "mirrored", "jax", "gpu", 4),
    ("GPU without CUDA libraries", "auto", "tensorflow", "cpu", 1),
    ("GPU with JAX's CUDA alone", "auto", "jax", "gpu", 1),
    ("GPU with JAX's CUDA alone", "gpu", "jax", "gpu", 1),
    ("GPUs hidden", "auto", "tensorflow", "cpu", 1),
    ("GPUs hidden by -1", "auto", "tensorflow", "cpu", 1),
    ("second of two GPUs", "gpu", "tensorflow", "gpu", 1),
    ("Colab CPU", "auto", "tensorflow", "cpu", 1),
    ("Colab GPU", "auto", "tensorflow", "gpu", 1),
    ("Colab TPU", "auto", "jax", "tpu", None),
    ("Colab TPU", "tpu", "jax", "tpu", None),
    ("Colab TPU", "tpu tpu=local", "jax", "tpu", None),
    ("Colab TPU", "cpu", "jax", "cpu", 1),
    ("Kaggle TPU", "tpu", "jax", "tpu", None),
    ("Kaggle TPU", "tpu replicas=4", "jax", "tpu", 4),
    ("Kaggle TPU, newer libtpu", "auto", "tensorflow", "cpu", 1),
    ("Kaggle TPU, both with JAX's libtpu", "tpu", "jax", "tpu", None),
    ("TPU VM, both with TensorFlow's libtpu", "tpu", "tensorflow", "tpu", None),
    ("TPU VM with tensorflow-tpu", "auto", "tensorflow", "tpu", None),
    ("TPU VM with tensorflow-tpu", "tpu", "tensorflow", "tpu", None),
    ("TPU VM with plain TensorFlow", "auto", "tensorflow", "cpu", 1),
    ("TPU wheel without a TPU", "auto", "tensorflow", "cpu", 1),
    ("JAX for TPUs without a TPU", "auto", "jax", "cpu", 1),
    ("TensorFlow missing", "auto", "jax", "cpu", 1),
    ("JAX missing", "auto", "tensorflow", "cpu", 1),
    ("legacy Colab TPU", "auto", "tensorflow", "cpu", 1),
    ("chip held", "auto", "jax", "cpu", 1),
    ("laptop", "multiworker workers=a:1,b:1 worker_index=1", "tensorflow", "multiworker", 1),
    ("TensorFlow missing", "multiworker workers=a:1,b:1 worker_index=0", "jax", "multiworker", 1),
    ("four GPUs", "multiworker workers=a:1,b:1 worker_index=0", "tensorflow", "multiworker", None),
    ("chip free, JAX", "multiworker workers=a:1,b:1 worker_index=0", "jax", "multiworker", None),
]


@pytest.mark.parametrize("machine, request_, backend, strategy, replicas", MET)
def test_plans(machine, request_, backend, strategy, replicas):
    found = choose(asked(request_), MACHINES[machine])
    assert (found.backend, found.strategy, found.replicas) == (backend, strategy, replicas)
    assert found.environment["KERAS_BACKEND"] == backend
    assert found.requested == request_.split()[0]


REFUSED = [  # machine, request → the whole refusal
    ("laptop", "gpu", "--strategy=gpu: expected an NVIDIA GPU and its driver, found none; use --strategy=cpu"),
    (
        "laptop",
        "mirrored",
        "--strategy=mirrored: expected an NVIDIA GPU and its driver, found none; use --strategy=cpu --replicas=2",
    ),
    ("laptop", "tpu", "--strategy=tpu: no TPU is attached to this machine; use --strategy=cpu"),
    ("laptop", "cpu backend=jax", "--strategy=cpu: JAX is not installed; run pip install -U jax"),
    ("laptop", "auto backend=jax", "JAX is not installed; run pip install -U jax"),
    ("laptop", "cpu tpu=x", "--tpu=x cannot be combined with --strategy=cpu; use --strategy=tpu"),
    (
        "laptop",
        "tpu tpu=x backend=jax",
        "--tpu=x: only TensorFlow can use a remote TPU; use --backend=tensorflow",
    ),
    (
        "GPUs hidden",
        "gpu",
        "--strategy=gpu: CUDA_VISIBLE_DEVICES='' hides all 2 GPUs; run unset CUDA_VISIBLE_DEVICES",
    ),
    (
        "GPUs hidden by -1",
        "mirrored",
        "--strategy=mirrored: CUDA_VISIBLE_DEVICES='-1' hides all 2 GPUs; run unset CUDA_VISIBLE_DEVICES",
    ),
    ("four GPUs", "gpu replicas=5", "--replicas=5: expected at most the 4 visible GPUs; use --replicas=4"),
    (
        "GPU without CUDA libraries",
        "gpu",
        "--strategy=gpu: JAX is not installed, and the CUDA libraries of TensorFlow are not installed; "
        "run pip install 'tensorflow[and-cuda]>=2.18'",
    ),
    (
        "Colab CPU",
        "tpu",
        "--strategy=tpu: no TPU is attached to this machine; choose Runtime → Change runtime type → TPU",
    ),
    (
        "Colab GPU",
        "tpu",
        "--strategy=tpu: no TPU is attached to this machine; choose Runtime → Change runtime type → TPU",
    ),
    (
        "Colab TPU",
        "tpu backend=tensorflow",
        "--strategy=tpu: TensorFlow is not installed; run python3.12 -m venv tpu && tpu/bin/pip install "
        "tensorflow-tpu==2.19.1 'keras>=3.10' tensorflow-datasets importlib_resources absl-py pillow, then use "
        "tpu/bin/python",
    ),
    ("Colab TPU", "gpu", "--strategy=gpu: expected an NVIDIA GPU and its driver, found none; use --strategy=cpu"),
    (
        "Colab TPU",
        "multiworker workers=a:1,b:1 worker_index=0",
        "--strategy=multiworker: JAX cannot form a cluster on Colab; use --strategy=auto",
    ),
    (
        "Kaggle TPU, newer libtpu",
        "tpu backend=tensorflow",
        "--strategy=tpu: tensorflow-tpu 2.19.1 needs libtpu 0.0.10, found 0.0.21; run pip install libtpu==0.0.10",
    ),
    (
        "Kaggle TPU, newer libtpu",
        "tpu",
        "--strategy=tpu: JAX is not installed, and tensorflow-tpu 2.19.1 needs libtpu 0.0.10, found 0.0.21; "
        "run pip install libtpu==0.0.10",
    ),
    (
        "TPU VM without libtpu",
        "tpu",
        "--strategy=tpu: JAX is not installed, and tensorflow-tpu 2.20.0 needs libtpu, found none; "
        "run pip install tensorflow-tpu==2.20.0",
    ),
    (
        "TPU VM without libtpu.so",
        "tpu",
        "--strategy=tpu: JAX is not installed, and libtpu 0.0.10 is installed without its file libtpu.so; "
        "run pip install --force-reinstall libtpu==0.0.10",
    ),
    (
        "TPU VM, both with TensorFlow's libtpu",
        "tpu backend=jax",
        "--strategy=tpu: libtpu 0.0.10 belongs to tensorflow-tpu, JAX needs another version; "
        "run pip install -U 'jax[tpu]'",
    ),
    (
        "TPU VM with plain TensorFlow",
        "tpu",
        "--strategy=tpu: tensorflow 2.21.0 is built without TPU support, and JAX is not installed; "
        "run pip install -U 'jax[tpu]'",
    ),
    (
        "TPU VM with plain TensorFlow and JAX",
        "tpu",
        "--strategy=tpu: tensorflow 2.21.0 is built without TPU support, and JAX 0.10.2 is installed without "
        "libtpu; run pip install -U 'jax[tpu]'",
    ),
    (
        "TPU VM with tensorflow-tpu",
        "tpu backend=jax",
        "--strategy=tpu: JAX is not installed; run pip install -U 'jax[tpu]'",
    ),
    (
        "TPU VM with both wheels",
        "tpu",
        "--strategy=tpu: JAX is not installed, and tensorflow and tensorflow-tpu are both installed and overwrite each "
        "other; run pip uninstall -y tensorflow tensorflow-tpu, then pip install tensorflow-tpu==2.19.1",
    ),
    (
        "TPU VM with nothing",
        "tpu",
        "--strategy=tpu: TensorFlow is not installed, and JAX is not installed; run pip install -U 'jax[tpu]'",
    ),
    (
        "TPU wheel without a TPU",
        "tpu",
        "--strategy=tpu: no TPU is attached to this machine; use --strategy=cpu",
    ),
    (
        "JAX for TPUs without a TPU",
        "tpu",
        "--strategy=tpu: no TPU is attached to this machine; use --strategy=cpu",
    ),
    (
        "both wheels",
        "auto",
        "JAX is not installed, and tensorflow and tensorflow-tpu are both installed and overwrite each other; "
        "run pip uninstall -y tensorflow tensorflow-tpu, then pip install 'tensorflow>=2.18'",
    ),
    (
        "TensorFlow missing",
        "cpu backend=tensorflow",
        "--strategy=cpu: TensorFlow is not installed; run pip install 'tensorflow>=2.18'",
    ),
    (
        "both missing",
        "auto",
        "JAX is not installed, and TensorFlow is not installed; run pip install 'tensorflow>=2.18'",
    ),
    ("Keras missing", "cpu backend=tensorflow", "--strategy=cpu: Keras is not installed; run pip install -U keras"),
    (
        "old TensorFlow",
        "cpu backend=tensorflow",
        "--strategy=cpu: expected TensorFlow 2.18 or newer, found 2.17.1; run pip install 'tensorflow>=2.18'",
    ),
    (
        "old Keras",
        "auto",
        "JAX is not installed, and expected Keras 3.10 or newer, found 2.15.0; run pip install -U keras",
    ),
    (
        "legacy Colab TPU",
        "tpu",
        "--strategy=tpu: no TPU chip is attached; COLAB_TPU_ADDR names a remote TPU; use --tpu=grpc://10.0.0.2:8470",
    ),
    (
        "chip held",
        "tpu",
        "--strategy=tpu: process 4711 is using the TPU, which serves one process at a time; run kill 4711",
    ),
    (
        "Colab chip held",
        "tpu",
        "--strategy=tpu: process 99 is using the TPU, which serves one process at a time; "
        "choose Runtime → Restart session",
    ),
    (
        "laptop",
        "cpu workers=a:1 worker_index=0",
        "--workers and --worker_index need --strategy=multiworker; add it, or omit them",
    ),
    (
        "laptop",
        "multiworker workers=a:1 worker_index=0 replicas=2",
        "--replicas cannot be combined with --strategy=multiworker, where each worker decides for itself; omit it",
    ),
]


@pytest.mark.parametrize("machine, request_, words", REFUSED)
def test_refusals_name_one_remedy(machine, request_, words):
    with pytest.raises(UserError) as caught:
        choose(asked(request_), MACHINES[machine])
    assert str(caught.value) == words


def test_auto_says_why_a_device_that_is_there_is_not_used():
    def notes(machine):
        return choose(Request(), MACHINES[machine]).notes

    assert notes("laptop") == notes("one GPU") == notes("Colab TPU") == ()
    assert notes("four GPUs") == ("4 GPUs are visible, only one of them is used; --strategy=mirrored uses all",)
    (gpu,) = notes("GPU without CUDA libraries")
    assert gpu.startswith("a GPU is attached but not used: ") and gpu.endswith("'tensorflow[and-cuda]>=2.18'")
    (tpu,) = notes("TPU VM with plain TensorFlow")
    assert tpu.endswith("JAX is not installed; run pip install -U 'jax[tpu]'")  # the remedy of --strategy=tpu
    (tpu,) = notes("chip held")
    assert (
        tpu == "a TPU is attached but not used: process 4711 is using the TPU, which serves one process at a time; "
        "run kill 4711"
    )


def test_the_environment_that_each_plan_sets():
    def environment(machine, request_):
        return choose(asked(request_), MACHINES[machine]).environment

    assert environment("one GPU", "cpu") == {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    assert environment("four GPUs", "gpu replicas=2")["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert environment("second of two GPUs", "gpu")["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment("Colab TPU", "tpu") == {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "tpu"}
    assert environment("Colab TPU", "cpu") == {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    assert environment("four GPUs, JAX", "gpu")["JAX_PLATFORMS"] == "cuda"
    recipe = environment("TPU VM with tensorflow-tpu", "tpu")
    assert (recipe["PJRT_DEVICE"], recipe["TF_PLUGGABLE_DEVICE_LIBRARY_PATH"]) == ("TPU", LIBTPU)
    wheel = choose(Request("cpu"), MACHINES["TPU wheel without a TPU"])
    assert wheel.environment["TPU_SKIP_MDS_QUERY"] == "1" and not wheel.xla
    wheel = environment("TPU wheel without a TPU", "multiworker workers=a:1,b:2 worker_index=1")
    assert wheel["TPU_SKIP_MDS_QUERY"] == "1"
    worker = environment("laptop", "multiworker workers=a:1,b:2 worker_index=1")
    assert json.loads(worker["TF_CONFIG"])["task"] == {"type": "worker", "index": 1}


def test_detect_reads_gpus_from_device_files(tmp_path, monkeypatch):
    found = detect(tmp_path, {})
    assert found == Machine(installed=found.installed, libtpu=found.libtpu)
    monkeypatch.setattr(sys, "path", [])  # nor the CUDA libraries of this machine
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / name).touch()
    seen = detect(tmp_path, {"CUDA_VISIBLE_DEVICES": "1"})
    assert (seen.gpus, seen.cuda_visible_devices, seen.cuda_libraries) == (2, "1", False)
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    assert detect(tmp_path, {}).gpus == 1  # the driver's own list comes first
    (tmp_path / "usr/local/cuda-12.4/lib64").mkdir(parents=True)
    (tmp_path / "usr/local/cuda-12.4/lib64/libcudnn.so.9").touch()
    assert detect(tmp_path, {}).cuda_libraries


def test_detect_reads_tpus_from_the_pci_bus(tmp_path):
    for index, (vendor, device) in enumerate([("0x1ae0", "0x0063"), ("0x1ae0", "0x0042"), ("0x8086", "0x0063")]):
        place = tmp_path / f"sys/bus/pci/devices/0000:0{index}:00.0"
        place.mkdir(parents=True)
        (place / "vendor").write_text(vendor + "\n")
        (place / "device").write_text(device + "\n")
    seen = detect(tmp_path, {})
    assert (seen.tpu_chips, seen.tpu_kind, seen.tpu_holder) == (1, "v5e", None)  # 0x0042 is a network card
    for process in (4711, os.getpid()):
        (tmp_path / f"proc/{process}/fd").mkdir(parents=True)
    os.symlink("/dev/vfio/0", tmp_path / f"proc/{os.getpid()}/fd/9")
    assert detect(tmp_path, {}).tpu_holder is None  # this process itself
    os.symlink("/dev/vfio/0", tmp_path / "proc/4711/fd/7")
    assert detect(tmp_path, {}).tpu_holder == 4711


@pytest.mark.parametrize(
    "environ, host, chips",
    [
        ({}, "", 0),
        ({"COLAB_TPU_1VM": "", "COLAB_GPU": "0"}, "colab", 0),
        ({"COLAB_TPU_1VM": "1", "TPU_ACCELERATOR_TYPE": "v5e-1"}, "colab", 1),
        ({"ISTPUVM": "1"}, "kaggle", 1),
        ({"COLAB_TPU_ADDR": "10.0.0.2:8470"}, "colab", 0),
    ],
)
def test_detect_knows_its_host(environ, host, chips, tmp_path):
    seen = detect(tmp_path, environ)
    assert (seen.host, seen.tpu_chips) == (host, chips)


@pytest.mark.parametrize(
    "tf_config, words",
    [
        ("", "--workers=HOST:PORT,HOST:PORT --worker_index=0"),
        ("{", "TF_CONFIG: expected"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "the cluster has no worker 1"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "HOST:PORT, received 'a'"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "chief and worker"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}', "received a:1 twice"),
        ("[]", "TF_CONFIG: expected"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1e999}}', "TF_CONFIG: expected"),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": -1}}', "no worker -1"),
        ('{"cluster": {"worker": ["a..b:1"]}, "task": {"type": "worker", "index": 0}}', "HOST:PORT, received 'a..b:1'"),
        ('{"cluster": {"worker": ["http://a:1"]}, "task": {"type": "worker", "index": 0}}', "received 'http://a:1'"),
    ],
)
def test_bad_clusters_are_refused(tf_config, words):
    with pytest.raises(UserError) as caught:
        choose(Request("multiworker"), dataclasses.replace(MACHINES["laptop"], tf_config=tf_config))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_spaces_between_addresses_are_no_part_of_them():
    found = choose(Request("multiworker", workers="a-1.b:1, [::1]:2", worker_index=0), MACHINES["laptop"])
    assert found.workers == ("a-1.b:1", "[::1]:2")


def test_a_chief_stands_before_the_workers():
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    text = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}})
    found = choose(Request("multiworker"), dataclasses.replace(MACHINES["laptop"], tf_config=text))
    assert (found.workers, found.worker_index, found.chief) == (("a:1", "b:1", "c:1"), 2, False)


@pytest.mark.parametrize(
    "visible, found",
    [("2,0", ["2", "0"]), ("2,9,0", ["2"]), ("GPU-8f2a", ["GPU-8f2a"]), ("NoDevFiles", []), ("--1", []), ("²", [])],
)
def test_visible_gpus_end_at_the_first_bad_name(visible, found):
    assert visible_gpus(Machine(gpus=4, cuda_visible_devices=visible)) == found


def test_a_request_takes_what_the_program_has():
    assert Request.of(Config(strategy="cpu", replicas=2)) == Request("cpu", replicas=2)
    assert plan(Config(strategy="cpu", backend="tensorflow")).strategy == "cpu"


def test_processor_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU @ 3 GHz\n")
    assert processor_name(tmp_path / "cpuinfo").startswith("Some CPU @ 3 GHz, ")
    assert processor_name(tmp_path / "absent").startswith("processor, ")
