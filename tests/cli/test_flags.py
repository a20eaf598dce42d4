"""Command-line flags: what they accept, and the answer to each mistake."""

import dataclasses
import os
import re
import time

import pytest
from helpers.fork_server import run_code

from mnist_mlp import predict
from mnist_mlp.cli import flags
from mnist_mlp.config import PRESETS, Config, with_preset
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import command as evaluate
from mnist_mlp.export import command as export
from mnist_mlp.lab.explain import command as explain
from mnist_mlp.lab.playground import command as playground
from mnist_mlp.options import check, option
from mnist_mlp.parity import command as parity
from mnist_mlp.serve import command as serve
from mnist_mlp.text import ELSEWHERE
from mnist_mlp.tune import command as tune


def parse(*argv):
    return with_preset(PRESETS, flags.given_flags(Config, argv, program="train", about="About."))


def test_flags_override_the_preset_in_any_order():
    assert parse() == Config()
    assert parse("--preset", "lecture") == PRESETS["lecture"]
    assert parse("--epochs=1", "--preset=smoke") == dataclasses.replace(PRESETS["smoke"], epochs=1)
    assert parse("--pixels=unit", "--preset=lecture").pixels == "unit"


def test_spellings():
    config = parse("--learning_rate", "1", "--json", "--optimizer=Adam", "--model", "CNN", "--seed=7")
    assert (config.learning_rate, config.json, config.optimizer, config.model) == (1.0, True, "adam", "cnn")
    assert parse("--json", "--nojson").json is False
    assert parse("--epochs=1", "--epochs=2").epochs == 2


def test_every_option_is_a_flag_and_survives_json():
    page = flags.help_text(list(dataclasses.fields(Config)), "train", "About.")
    for field in dataclasses.fields(Config):
        assert f"  --{field.name}" in page
        assert field.metadata["help"][:20] in " ".join(page.split())
    assert Config.from_dict(PRESETS["lecture"].to_dict()) == PRESETS["lecture"]
    assert max(map(len, page.splitlines())) <= 100
    assert "(default: 0)" in page and "schedulefreeadamw" in page


MISTAKES = [
    ("--modle=mlp", "unknown flag --modle; did you mean '--model'?"),
    ("--nothing_like_it", "unknown flag --nothing_like_it (all flags: --help)"),
    ("--model=mpl", "--model: expected one of softmax, mlp, "),
    ("--model=mpl", "did you mean 'mlp'?"),
    ("--preset=lectur", "did you mean 'lecture'?"),
    ("--dataset=minst", "did you mean 'mnist'?"),
    ("--optimizer=adm", "did you mean 'adam'?"),
    ("--strategy=cuda", "--strategy: expected one of auto, cpu, gpu, tpu, mirrored, multiworker; received 'cuda'"),
    ("--engine=eager", "--engine: expected one of compiled, fit"),
    ("--precision=float16", "--precision: expected one of float32, bfloat16; received 'float16'"),
    ("--batch_size=0", "--batch_size: expected a whole number from 1 to 2,147,483,647, received 0"),
    ("--batch_size=3.5", "--batch_size: expected a whole number from 1 to 2,147,483,647, received '3.5'"),
    ("--batch_size=", "received ''"),
    ("--epochs=-1", "--epochs: expected a whole number from 0 to 1,000,000, received -1"),
    ("--epochs=ten", "received 'ten'"),
    ("--learning_rate=nan", "--learning_rate: expected a number from 1.2e-38 to 3.4e+38, received nan"),
    ("--learning_rate=inf", "--learning_rate: expected a number from 1.2e-38 to 3.4e+38, received inf"),
    ("--learning_rate=0", "--learning_rate: expected a number from 1.2e-38 to 3.4e+38, received 0.0"),
    ("--learning_rate=-0.1", "received -0.1"),
    ("--validation_fraction=1.5", "--validation_fraction: expected a number from 0 to 0.9, received 1.5"),
    ("--seed=-1", "--seed: expected a whole number from 0 to 4,294,967,295, received -1"),
    ("--learning_rate=1e-300", "received 1e-300"),
    ("--epochs=1" + "0" * 400, "--epochs: expected a whole number from 0 to 1,000,000, received 1000"),
    ("--json=maybe", "--json=maybe: expected true or false"),
    ("--nojson=1", "--nojson=1"),
    ("--epochs", "--epochs"),
    ("extra", "expected flags such as --preset=VALUE, received 'extra'"),
    ("smoke", "received 'smoke'; did you mean --preset=smoke?"),
    ("auto", "expected flags such as --preset=VALUE, received 'auto'"),  # a value of several flags
    ("gate", "received 'gate'; did you mean --gate?"),
    ("epochs=3", "received 'epochs=3'; did you mean --epochs=3?"),
    ("true", "received 'true' (write --flag=true or --flag=false)"),
    ("--flagfile=/nowhere", "unknown flag --flagfile"),
    ("--undefok=foo", "unknown flag --undefok"),
    ("--no\nsuch", "unknown flag"),
]


@pytest.mark.parametrize("flag, words", MISTAKES)
def test_mistakes_are_answered_in_one_line(flag, words):
    with pytest.raises(UserError) as caught:
        parse(flag)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        *(("lr", "learning_rate"), ("learning-rate", "learning_rate"), ("bs", "batch_size"), ("batch", "batch_size")),
        *(("epoch", "epochs"), ("num_epochs", "epochs"), ("gpus", "strategy"), ("device", "strategy")),
        *(("lr_schedule", "schedule"), ("lr-scheduler", "schedule"), ("wd", "weight_decay"), ("optim", "optimizer")),
        *(("val_split", "validation_fraction"), ("patience", "early_stopping"), ("data", "data_dir")),
        *(("output_dir", "run_dir"), ("random_state", "seed"), ("fp16", "precision"), ("ckpt", "run_dir")),
    ],
)
def test_names_of_other_programs_lead_to_ours(name, ours):
    with pytest.raises(UserError, match=rf"unknown flag --{name}; did you mean '--{ours}'"):
        parse(f"--{name}=1")
    if "-" not in name:
        with pytest.raises(UserError, match=rf"unknown option '{name}'; did you mean '{ours}'"):
            Config.from_dict({name: 1})


PROGRAMS = (evaluate, predict, export, parity, serve, tune, explain, playground)


def test_the_names_of_other_programs_lead_to_options_that_exist_and_hide_none():
    options = [Config, *(program.Options for program in PROGRAMS)]
    declared = {field.name for each in options for field in dataclasses.fields(each)}
    assert set(ELSEWHERE) <= declared
    names = {name for theirs in ELSEWHERE.values() for name in theirs.split()}
    assert names & declared == {"data", "images", "input"}  # of playground, evaluate and predict alone


def test_each_program_names_its_own_option():
    for declared, name, ours in (
        *((predict.Options, "out", "output"), (Config, "out", "run_dir"), (predict.Options, "image", "input")),
        *((predict.Options, "model_path", "run_dir"), (serve.Options, "cors", "origin")),
        *((serve.Options, "root_path", "behind_proxy"), (serve.Options, "bind", "host")),
        *(
            (tune.Options, "n_jobs", "jobs"),
            (evaluate.Options, "input", "images"),
            (predict.Options, "images", "input"),
        ),
    ):
        with pytest.raises(UserError, match=rf"did you mean '--{ours}'"):
            flags.parse(declared, [f"--{name}=x"], program="x", about="")


def test_a_boolean_takes_its_value_after_an_equals_sign():
    assert parse("--json=true").json and not parse("--json=false").json
    with pytest.raises(UserError, match="write --flag=true or --flag=false"):
        parse("--json", "true")


@pytest.mark.parametrize("value", [True, 1.0, "5", None])
def test_values_of_another_type_are_refused(value):
    with pytest.raises(UserError, match="--epochs"):
        Config(epochs=value)


def test_unknown_keys_are_refused():
    with pytest.raises(UserError, match="unknown option 'epoch'; did you mean 'epochs'"):
        Config.from_dict({"epoch": 3})


def test_the_other_programs_share_the_declarations():
    options = flags.parse(evaluate.Options, ["--run_dir=x", "--batch_size=7"], program="evaluate", about="")
    assert (options.run_dir, options.batch_size, options.strategy) == ("x", 7, "auto")
    with pytest.raises(UserError, match="--format: expected one of csv, jsonl"):
        flags.parse(predict.Options, ["--format=xml"], program="predict", about="")


def test_help_is_printed_at_once(capsys):
    began = time.process_time()
    with pytest.raises(SystemExit) as caught:
        parse("--epochs=3", "--help")
    assert caught.value.code == 0 and time.process_time() - began < 0.3
    assert capsys.readouterr().out.startswith("About.\n\nusage: python -m mnist_mlp.train")


@dataclasses.dataclass(frozen=True)
class Small:
    url: str = option("", "a page", positional=True)
    sweep: tuple = option((), "what to vary", kind=tuple)
    epochs: int = option(0, "how long", low=0)

    def __post_init__(self):
        check(self)


@pytest.mark.parametrize(
    "argv, expected",
    [
        ("page --epochs 3", Small("page", (), 3)),
        ("--epochs=3 page", Small("page", (), 3)),
        ("--url page", Small("page")),
        ("page --sweep a=1,2 b=3 --epochs 2", Small("page", ("a=1,2", "b=3"), 2)),
        ("page --sweep=a=1 --sweep b=3", Small("page", ("a=1", "b=3"))),
        ("", Small()),
    ],
)
def test_positional_arguments_and_flags_of_several_values(argv, expected):
    assert flags.parse(Small, argv.split(), program="x", about="") == expected


@pytest.mark.parametrize(
    "argv, said",
    [
        ("page other", "expected flags such as --url=VALUE, received 'other'"),
        ("--url page other", "received 'other'"),
        ("page --sweep --epochs 2", "--sweep: expected one or more values, received none; try --sweep VALUE"),
    ],
)
def test_values_too_many_or_too_few(argv, said):
    with pytest.raises(UserError, match=said):
        flags.parse(Small, argv.split(), program="x", about="")


def test_help_of_few_flags_is_one_list(capsys):
    with pytest.raises(SystemExit):
        flags.parse(Small, ["--help"], program="x", about="")
    page = capsys.readouterr().out
    assert "usage: python -m mnist_mlp.x [URL] [--flag=value …]" in page and "\nflags:\n" in page
    assert "\n  --sweep VALUE …         what to vary\n  --epochs=N              how long (default: 0)\n" in page


class TestConfigFile:
    """`--config FILE`: where a run starts from."""

    def write(self, tmp_path, text):
        file = tmp_path / "best.json"
        file.write_text(text)
        return file

    def test_flags_override_the_file_and_the_file_its_preset(self, tmp_path):
        file = self.write(tmp_path, '{"preset": "smoke", "learning_rate": 0.01, "epochs": 7, "batch_size": 64}')
        assert parse(f"--config={file}", "--epochs=3") == dataclasses.replace(
            PRESETS["smoke"], learning_rate=0.01, epochs=3, batch_size=64
        )

    def test_the_config_of_a_run_gives_what_it_computed_not_where(self, tmp_path):
        from mnist_mlp.files import atomic

        run = Config(model="wide", seed=4, run_dir="elsewhere", json=True, worker_index=1)
        atomic.write_json(tmp_path / "config.json", run.to_dict())
        assert parse(f"--config={tmp_path}/config.json") == Config(model="wide", seed=4)

    @pytest.mark.parametrize(
        "text, said",
        [
            ('{"learning_rat": 1}', "unknown option 'learning_rat'; did you mean 'learning_rate'"),
            ('{"epochs": "many"}', "--epochs: expected a whole number"),
            ('{"epochs": 1', "expected a JSON file of options"),
            ("[1]", "received: a list"),
            ("\0\1", "expected a JSON file of options"),
            ("[" * 100_000, "expected a JSON file of options"),
        ],
    )
    def test_what_is_wrong_with_it_is_said(self, tmp_path, text, said):
        with pytest.raises(UserError, match=re.escape(said)):
            parse(f"--config={self.write(tmp_path, text)}")

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.json")
        with pytest.raises(UserError, match="received: a pipe"):
            parse(f"--config={tmp_path}/pipe.json")

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(UserError, match="No such file"):
            parse(f"--config={tmp_path}/none.json")


def test_an_interrupt_that_python_drops_is_raised_again():
    """What is raised within a callback of the garbage collector goes nowhere; JAX has one."""
    code = """
import gc, os, signal, time
from mnist_mlp.cli import program
program.REMINDER = 0.2

def main(argv):
    def callback(phase, info):
        if phase == "start":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
    gc.disable()
    gc.callbacks.append(callback)
    gc.collect()
    gc.callbacks.clear()
    time.sleep(5)
    print("went on")

program.run(main)
"""
    done = run_code(code, backend=None)
    assert done.returncode == 143 and "went on" not in done.stdout, done.stderr
    assert done.stderr == "terminated\n"
