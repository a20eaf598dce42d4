"""The device plan for machines that nobody here owns."""

import pytest

from mnist_mlp.devices import Seen, choose, detect, processor_name, visible_gpus
from mnist_mlp.errors import UserError

LAPTOP = Seen(gpus=0, cuda_visible_devices=None, tensorflow="2.21.0")
ONE_GPU = Seen(1, None, "2.21.0")
FOUR_GPUS = Seen(4, None, "2.21.0")
HIDDEN = Seen(2, "", "2.21.0")
HIDDEN_TOO = Seen(2, "-1", "2.21.0")
SECOND = Seen(2, "1", "2.21.0")
NOTHING = Seen(0, None, "")


@pytest.mark.parametrize(
    "request_, seen, strategy, visible",
    [
        ("auto", LAPTOP, "cpu", "-1"),
        ("cpu", LAPTOP, "cpu", "-1"),
        ("auto", ONE_GPU, "gpu", "0"),
        ("gpu", ONE_GPU, "gpu", "0"),
        ("cpu", ONE_GPU, "cpu", "-1"),
        ("gpu", FOUR_GPUS, "gpu", "0"),
        ("auto", HIDDEN, "cpu", "-1"),
        ("auto", HIDDEN_TOO, "cpu", "-1"),
        ("gpu", SECOND, "gpu", "1"),
        ("gpu", Seen(1, "GPU-8f2a", "2.21.0"), "gpu", "GPU-8f2a"),
        ("auto", Seen(1, "NoDevFiles", "2.21.0"), "cpu", "-1"),
        ("auto", Seen(1, "--1", "2.21.0"), "cpu", "-1"),
        ("auto", Seen(1, "²", "2.21.0"), "cpu", "-1"),
        ("cpu", Seen(0, None, "2.18"), "cpu", "-1"),
        ("cpu", Seen(0, None, "3.0.0rc1"), "cpu", "-1"),
    ],
)
def test_plans(request_, seen, strategy, visible):
    plan = choose(request_, seen)
    assert (plan.strategy, plan.requested, plan.backend) == (strategy, request_, "tensorflow")
    assert plan.environment == {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": visible}


def test_more_gpus_than_are_used_are_told():
    assert choose("auto", FOUR_GPUS).notes == ("4 GPUs are visible; this version trains on one, GPU 0",)
    assert choose("auto", ONE_GPU).notes == ()


@pytest.mark.parametrize(
    "request_, seen, words",
    [
        ("tpu", LAPTOP, "not there yet"),
        ("gpu", LAPTOP, "saw none; type --strategy=cpu"),
        ("gpu", HIDDEN, "hides all 2 GPUs; type unset CUDA_VISIBLE_DEVICES"),
        ("gpu", HIDDEN_TOO, "CUDA_VISIBLE_DEVICES='-1'"),
        ("cpu", NOTHING, "pip install 'tensorflow>=2.18'"),
        ("auto", NOTHING, "found none; type pip install 'tensorflow>=2.18'"),
        ("cpu", Seen(0, None, "2.17.1"), "found 2.17.1; type pip install 'tensorflow>=2.18'"),
    ],
)
def test_refusals_name_the_remedy(request_, seen, words):
    with pytest.raises(UserError) as caught:
        choose(request_, seen)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_detect_reads_device_files(tmp_path):
    assert detect(tmp_path, {}).gpus == 0
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev").mkdir(exist_ok=True)
        (tmp_path / "dev" / name).touch()
    assert detect(tmp_path, {"CUDA_VISIBLE_DEVICES": "1"}) == Seen(2, "1", detect().tensorflow)
    (tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0").mkdir(parents=True)
    assert detect(tmp_path, {}).gpus == 1  # the driver's own list comes first


def test_visible_gpus_end_at_the_first_bad_name():
    assert visible_gpus(Seen(4, "2,0", "")) == ["2", "0"]
    assert visible_gpus(Seen(4, "2,9,0", "")) == ["2"]


def test_processor_name(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU @ 3 GHz\n")
    assert processor_name(tmp_path / "cpuinfo").startswith("Some CPU @ 3 GHz, ")
    assert processor_name(tmp_path / "absent").startswith("processor, ")
