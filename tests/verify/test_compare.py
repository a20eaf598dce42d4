"""Two reports compared: what is noise, what is not, and files that are no reports."""

import copy
import json
import os

import pytest
from helpers.verification import batches, quantity, report, stage

from mnist_mlp.errors import Refuted, UserError
from mnist_mlp.files.atomic import write_json
from mnist_mlp.verify import command, compare


def changed(change, **changes):
    """A report in which the function `change` has changed details of the stages, by name."""
    made = report(**changes)
    change(lambda name: stage(made, name)["details"])
    return made


def differences(one, other):
    """What differs: (stage, what, one, other)."""
    found = compare.compare(one, other)
    json.dumps(found, allow_nan=False)
    return [(row["stage"], row["what"], row["one"], row["other"]) for row in found["differences"]]


def test_a_report_is_the_same_as_itself():
    found = compare.compare(report(), report(date="2027-01-01T00:00:00+0000", seconds=9.0))
    assert (found["verdict"], found["differences"], found["within_noise"]) == ("same", [], {})
    assert found["summary"] == "the same: both passed, and nothing differs beyond noise"
    assert found["equal"]["parity"] == 5 and found["equal"]["throughput"] == 11  # the figures were looked at
    assert compare.text(found) == f"{found['summary']}\n\nequal: {sum(found['equal'].values())} facts and figures"


def test_machines_versions_and_options_are_compared_exactly():
    def change(of):
        doctor = of("machine")["doctor"]
        doctor["machine"]["environment"] = {"CUDA_VISIBLE_DEVICES": "1", "TF_XLA_FLAGS": "x"}
        doctor["software"]["installed"] = {"tensorflow": "2.21.1"}
        doctor["probes"]["tensorflow"]["devices"] = ["GPU:0"]
        doctor["problems"] = []

    other = changed(change, seed=1, version="0.3.0", device={"strategy": "cpu", "start_timeout": 9})
    assert differences(report(), other) == [
        ("setup", "version", "0.2.0", "0.3.0"),
        ("setup", "seed", 0, 1),
        ("setup", "--strategy", "gpu", "cpu"),
        ("setup", "--backend", "auto", "absent"),
        ("setup", "--tpu", "", "absent"),
        ("machine", "package tensorflow", "2.21.0", "2.21.1"),
        ("machine", "package keras", "3.15.1", "absent"),
        ("machine", "environment CUDA_VISIBLE_DEVICES", "0", "1"),
        ("machine", "devices of tensorflow", "GPU:0, CPU:0", "GPU:0"),
        ("machine", "known problem no ptxas", "found", "absent"),
        ("machine", "environment TF_XLA_FLAGS", "absent", "x"),
    ]


def test_refuting_what_the_other_passed_is_told_with_its_reason():
    details = {"difference": {"tensor": "kernel"}}
    bad = report(verdict="refuted", determinism={"status": "refuted", "reason": "bits differ", "details": details})
    found = compare.compare(report(), bad)
    assert (found["verdict"], found["refuted"]) == ("refuted", ["determinism"])
    assert found["summary"] == "the second refutes what the first passed: determinism"
    assert compare.compare(bad, report())["summary"] == "the first refutes what the second passed: determinism"
    assert found["reasons"] == [{"report": "other", "stage": "determinism", "reason": "bits differ"}]
    shown = compare.text(found, "a.json", "b.json").splitlines()
    assert shown[2].split() == ["stage", "what", "first:", "a.json", "second:", "b.json"]
    assert shown[3].split() == ["determinism", "outcome", "passed", "refuted"]
    assert "determinism, second: bits differ" in shown
    # Both refute it: they agree, and neither is worse than the other.
    both = compare.compare(bad, copy.deepcopy(bad))
    assert both["summary"] == "the same: both are refuted, and nothing differs beyond noise" and both["refuted"] == []


def test_only_refuting_what_the_other_passed_is_exit_code_4(tmp_path, capsys):
    """That two machines differ is no mistake of either."""
    details = {"difference": {"tensor": "kernel"}}
    bad = {"verdict": "refuted", "determinism": {"status": "refuted", "reason": "bits differ", "details": details}}
    reports = {
        "good": report(),
        "other": report(seed=1),
        "bad": report(**bad),
        "untried": report(verdict="error", training={"status": "error", "reason": "no memory"}),
    }
    files = {name: str(tmp_path / f"{name}.json") for name in reports}
    for name, made in reports.items():
        write_json(tmp_path / f"{name}.json", made)
    for other in ("good", "other", "untried"):
        command.main(["--compare", files["good"], files[other]])  # exit code 0
        assert capsys.readouterr().out.startswith("the same: " if other == "good" else "")
    for both in (("good", "bad"), ("bad", "good")):
        with pytest.raises(Refuted) as said:
            command.main(["--compare", *(files[name] for name in both)])
        assert said.value.exit_code == 4 and "determinism" in str(said.value)
        heading = capsys.readouterr().out.splitlines()[2]
        assert [name in heading for name in (f"/{both[0]}.json", f"/{both[1]}.json")] == [True, True]


@pytest.mark.parametrize("status", ["error", "skipped"])
def test_what_could_not_be_tried_refutes_nothing(status):
    other = report(verdict="error", training={"status": status, "reason": "no memory"})
    found = compare.compare(report(), other)
    assert found["verdict"] == "differs"
    assert found["summary"] == "the first passed, the second has no verdict; 1 difference beyond noise"
    assert differences(report(), other) == [("training", "outcome", "passed", status)]


@pytest.mark.parametrize("share, differs", [(0.29, False), (0.0031, False), (0.31, True), (0.0029, True), (1.5, True)])
def test_shares_of_a_bound_may_differ_by_less_than_ten_times(share, differs):
    other = changed(lambda of: of("parity").update(quantities=[quantity("loss", share), quantity("logits", 0.12)]))
    expected = [("parity", "share of the bound, loss", 0.03, share)] if differs else []
    assert differences(report(), other) == expected


def test_tiny_shares_are_all_alike():
    one, other = (
        changed(lambda of, share=share: of("replicas").update(quantities=[quantity("loss", share)]))
        for share in (0.0, 0.0009)
    )
    assert differences(one, other) == []
    assert compare.compare(one, other)["within_noise"] == {"replicas": 1}


@pytest.mark.parametrize("bits, differs", [(17.5, False), (16.9, True), (23.5, False), (24.0, True)])
def test_correct_bits_of_a_product(bits, differs):
    other = changed(lambda of: of("operations")["operations"][1]["figures"].update({"[1, 2]": bits}))
    assert differences(report(), other) == ([("operations", "products: [1, 2]", 20.3, bits)] if differs else [])


def test_an_operation_that_promises_something_else_or_fails():
    def change(of):
        of("operations")["operations"][0].update(expected="any", passed=False)

    assert differences(report(), changed(change)) == [
        ("operations", "integer sum", "passed", "failed"),
        ("operations", "integer sum, expected", "2147483547", "any"),
    ]


def count(correct, **changes):
    return changed(lambda of: of("training")["gate"]["right"].update(observed=correct), **changes)


def test_the_same_program_with_the_same_seed_counts_the_same():
    assert differences(report(), count(350)) == [("training", "correct images", 351, 350)]


@pytest.mark.parametrize("correct, differs", [(365, False), (337, False), (366, True), (336, True)])
@pytest.mark.parametrize("changes", [{"seed": 1}, {"determinism": {"status": "skipped"}}])
def test_other_programs_count_within_the_spread_of_correct_runs(correct, differs, changes):
    """4 standard deviations of a difference of two are 4 · √2 · 2.5 = 14.1 images."""
    found = differences(report(), count(correct, **changes))
    assert [row for row in found if row[0] == "training"] == (
        [("training", "correct images", 351, correct)] if differs else []
    )


def test_losses_within_the_spread():
    def change(of):
        of("training")["gate"]["losses"][0]["observed"] = 1.3627 + 0.33  # 4 · √2 · 0.06 = 0.339
        of("training")["gate"]["losses"][1]["observed"] = 0.42 + 0.35

    found = differences(report(), changed(change, seed=1))
    assert [row for row in found if row[0] == "training"] == [("training", "loss of epoch 2", 0.42, 0.77)]


@pytest.mark.parametrize("milliseconds, differs", [(0.065, False), (0.055, False), (0.0667, True), (0.05, True)])
def test_step_times_may_differ_by_a_tenth(milliseconds, differs):
    other = changed(lambda of: of("throughput").update(batches=batches({32: milliseconds, 2048: 0.12, 65536: 1.9})))
    expected = [("throughput", "step at batch size 32", 0.06, milliseconds)] if differs else []
    assert differences(report(), other) == [
        (stage, what, pytest.approx(one), pytest.approx(other)) for stage, what, one, other in expected
    ]


def test_step_times_whose_calls_overlap_are_noise():
    def change(of):
        of("throughput")["batches"][0].update(step_seconds=0.08e-3, step_seconds_min=0.0611e-3, step_seconds_max=1e-3)

    assert differences(report(), changed(change)) == []  # the other's slowest call took 0.0612 ms
    row = {"step_seconds": 0.08e-3, "step_seconds_min": 0.0613e-3}
    assert len(differences(report(), changed(lambda of: of("throughput")["batches"][0].update(row)))) == 1


def test_rates_of_the_device_and_of_the_cpu_beside_it():
    def change(of):
        of("throughput")["matrix_product"]["flops_per_second"] = 4.5e13
        of("throughput")["copy_to_device"]["bytes_per_second"] = 1.6e10
        of("throughput")["cpu_beside"]["batches"] = batches({32: 0.2, 2048: 8.2})

    assert differences(report(), changed(change)) == [
        ("throughput", "matrix product", 51_000, 45_000),
        ("throughput", "CPU beside it, step at batch size 2,048", pytest.approx(4.1), pytest.approx(8.2)),
        ("throughput", "CPU beside it, step at batch size 65,536", pytest.approx(120), "absent"),
    ]


def test_exports_and_soak():
    def change(of):
        of("exports")["formats"][0].update(agreements=359, bytes=440_100, largest_difference=9e-6)
        of("exports")["formats"][0]["milliseconds"] = {"1": 0.09, "256": 0.029}
        of("soak")["devices"][0].update(differences=2, temperature_c={"low": 30.0, "high": 75.5})

    assert differences(report(), changed(change)) == [
        ("exports", "onnx, agreements", 360, 359),
        ("exports", "onnx, largest difference", 8e-7, 9e-6),
        ("exports", "onnx, image of 1", 0.057, 0.09),
        ("soak", "GPU 0, differences", 0, 2),
    ]
    assert compare.compare(report(), changed(change))["within_noise"] == {"exports": 2, "soak": 1}


def test_many_figures_that_one_lacks_are_one_line():
    many = [quantity(f"q{number}", 0.1) for number in range(40)]
    found = compare.compare(report(), changed(lambda of: of("parity").update(quantities=many)))
    lines = compare.text(found).splitlines()
    assert len(found["differences"]) == 42
    assert [line.split() for line in lines if "40 facts and figures" in line] == [
        ["parity", "40", "facts", "and", "figures", "absent", "there"]
    ]
    assert len(lines) == 8  # summary, head, three differences, closing, and two empty lines between


@pytest.mark.parametrize("made", [{}, {"stages": [None, {"name": 3}]}, {"verdict": [], "device": 2, "stages": 1}])
def test_reports_with_little(made):
    for one, other in ((made, report()), (report(), made), (made, made)):
        found = compare.compare(one, other)
        assert found["verdict"] == ("same" if one is other else "differs")
        assert compare.text(json.loads(json.dumps(found)))


def test_hostile_names_stay_on_their_line():
    other = report()
    other["stages"][0]["details"]["doctor"]["machine"]["environment"] = {"A\x1b[31m": "b\nc\u202e"}
    other["stages"].append({"name": "x\ny", "status": "refuted", "reason": "\x1b]0;title\x07\nnext"})
    shown = compare.text(compare.compare(report(), other), "a\nb", "\x00")
    assert all(line.isprintable() for line in shown.split("\n"))


# Files


def test_reading_a_file_or_its_directory(tmp_path):
    write_json(tmp_path / "verify.json", report())
    assert compare.read(tmp_path / "verify.json") == report() == compare.read(str(tmp_path))


def refusal(path, content=None):
    if isinstance(content, dict):
        write_json(path, content)
    elif content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        compare.read(path)
    assert str(caught.value).startswith(f"--compare={path}: expected ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_reports_are_refused(tmp_path):
    file = tmp_path / "verify.json"
    assert f"there is no file {file}; name that file or its directory" in refusal(file)
    assert f"there is no file {file}" in refusal(tmp_path)
    damaged = "received a damaged or another file"
    assert damaged in refusal(file, "") and damaged in refusal(file, "\x00\x01") and damaged in refusal(file, "[1]")
    assert damaged in refusal(file, json.dumps(report()))  # without a checksum: not all of it may be there
    write_json(file, report())
    assert damaged in refusal(file, file.read_text().replace('"seed": 0', '"seed": 1'))
    assert "received another file of mnist_mlp" in refusal(file, {"accuracy": 0.98})
    assert "expected format 1 of verify.json, received –, written by mnist_mlp 0.2.0" in refusal(
        file, {key: value for key, value in report().items() if key != "format"}
    )
    assert "received 2, written by mnist_mlp 9.9;" in refusal(file, report(format=2, version="9.9"))


def test_a_pipe_is_not_said_to_be_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pipe is a device or a pipe; name a file, or its directory"):
        compare.read(tmp_path / "pipe")
    (tmp_path / "report" / compare.NAME).mkdir(parents=True)
    with pytest.raises(UserError, match=r"verify.json is a directory; name a file, or its directory"):
        compare.read(tmp_path / "report")
