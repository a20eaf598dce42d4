"""The notebook for Colab: what is committed, and a run from top to bottom in Colab's versions, without a network."""

import ast
import base64
import json
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import ROOT
from helpers.fork_server import QUICKLY
from test_without_tensorflow import WITHOUT_TPU, colab_environment, colab_python

from mnist_mlp.cli.flags import given_flags
from mnist_mlp.config import PRESETS, Config, with_preset

FILE = ROOT / "notebooks" / "colab_tpu.ipynb"
NOTEBOOK = json.loads(FILE.read_text(encoding="utf-8"))
TEXTS = {cell["id"]: "".join(cell["source"]) for cell in NOTEBOOK["cells"]}
CODE = {cell["id"]: TEXTS[cell["id"]] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"}
STRATEGY = 'STRATEGY = "tpu"'

# Runs a notebook in a kernel of its own Python and writes it with its outputs, also if a cell fails.
DRIVER = """
import sys

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

file, output, place = sys.argv[1:]
notebook = nbformat.read(file, as_version=4)
nbformat.validate(notebook)
try:
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": place}}).execute()
except CellExecutionError:
    pass
nbformat.write(notebook, output)
"""
# Runs the cells of standard input one after the other, as a kernel does, but in its own process and up to the first
# error; prints what each has printed, and the cell of the error with the lines that a kernel would show.
SHELL = """
import contextlib, io, json, sys

from IPython.core.interactiveshell import InteractiveShell

shell, said, errors = InteractiveShell.instance(), {}, []
shell._showtraceback = lambda kind, error, lines: errors.append(lines)
for name, code in json.load(sys.stdin).items():
    with contextlib.redirect_stdout(io.StringIO()) as words:
        shell.run_cell(code)
    said[name] = words.getvalue()
    if errors:
        break
print(json.dumps([said, name, *errors]))
"""
LAST = "import sys; print('frameworks in the kernel:', sorted({'jax', 'keras', 'tensorflow'} & set(sys.modules)))"


def plain(code):
    """The code of a cell with `pass` in the place of its commands."""
    return re.sub(r"^(\s*)!.*$", r"\1pass", code, flags=re.MULTILINE)


def commands():
    """The shell commands of all cells."""
    return [line for code in CODE.values() for line in re.findall(r"^\s*!(.*)$", code, re.MULTILINE)]


def test_it_holds_code_and_no_results():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert NOTEBOOK["metadata"] == {
        "accelerator": "TPU",
        "colab": {"gpuType": "V5E1", "provenance": []},
        "kernelspec": {"display_name": "Python 3", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert len(TEXTS) == len(NOTEBOOK["cells"])  # the identifiers differ
    for cell in NOTEBOOK["cells"]:
        code = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
        assert cell == {
            "cell_type": cell["cell_type"],
            "id": cell["id"],
            "metadata": {},
            "source": cell["source"],
            **code,
        }
    assert FILE.read_text(encoding="utf-8") == json.dumps(NOTEBOOK, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", TEXTS)
def test_it_installs_nothing_and_names_no_machine(name):
    assert not re.search(r"\b(pip|pip3|conda|apt|apt-get|uv)\b", TEXTS[name])
    assert not re.search(r"""(?:^|[\s"'`(=])(?:/|~/|[A-Za-z]:\\)\w""", TEXTS[name]), "an absolute path"


@pytest.mark.parametrize("name", CODE)
def test_cells_compile_and_import_no_framework(name):
    """One process owns a TPU: it must not be the notebook's."""
    tree = ast.parse(plain(CODE[name]))
    compile(tree, name, "exec")
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported <= {"json", "matplotlib", "mnist_mlp", "numpy", "os", "pathlib", "sys", "time"}


def test_programs_run_on_the_kernels_python_and_the_strategy():
    programs = [line for line in commands() if "mnist_mlp." in line]
    names = ("doctor", "train", "evaluate", "predict")
    assert [re.search(r"mnist_mlp\.(\w+)", line)[1] for line in programs] == [*names]
    for line in programs:
        assert line.startswith('"{sys.executable}" -m ') and "--strategy {STRATEGY}" in line
    assert [code.count("STRATEGY = ") for code in CODE.values() if "STRATEGY = " in code] == [1]


def test_flags_to_try_next_exist():
    flags = re.findall(r"`(--[^`]+)`", TEXTS["reading"])
    assert len(flags) >= 5
    for words in flags:
        with_preset(PRESETS, given_flags(Config, shlex.split(words), program="train", about=""))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The address of a repository with the files of this working tree, committed or not."""
    path = tmp_path_factory.mktemp("repository")
    list_files = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    listed = subprocess.run(list_files, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not yet removed from the index
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    probes = path / "mnist_mlp" / "doctor" / "framework_check.py"
    text, count = re.subn(r"^SECONDS = \d+", "SECONDS = 300", probes.read_text(), flags=re.MULTILINE)
    assert count == 1
    probes.write_text(text)  # the doctor waits, however busy the machine is
    person = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for words in (["init", "--quiet"], ["add", "--all"], [*person, "commit", "--quiet", "--message=all"]):
        subprocess.run(["git", *words], cwd=path, check=True, capture_output=True)
    return path.as_uri()


def execute(place, scratch, *, change, **variables):
    """The outputs of the cells, by name, run in a kernel in the directory `place`, and of one that is put at the end;
    `change` replaces one text by another in the one cell where it stands."""
    notebook = json.loads(json.dumps(NOTEBOOK))
    (cell,) = (cell for cell in notebook["cells"] if change[0] in "".join(cell["source"]))
    cell["source"] = "".join(cell["source"]).replace(*change)
    last = {"id": "last", "metadata": {}, "source": LAST, "execution_count": None, "outputs": []}
    notebook["cells"].append({"cell_type": "code", **last})
    before, after = scratch / "before.ipynb", scratch / "after.ipynb"
    before.write_text(json.dumps(notebook), encoding="utf-8")
    done = run([colab_python(), "-c", DRIVER, before, after, place], place, scratch, **variables)
    assert done.returncode == 0, done.stderr
    cells = json.loads(after.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}


def stop(place, scratch, *, cells=tuple(CODE), change=("", ""), **variables):
    """Run the cells in the directory `place` up to their first error: what each has printed, by name; the cell of the
    error; and what it shows."""
    codes = json.dumps({name: CODE[name].replace(*change) for name in cells})
    done = run([colab_python(), "-c", SHELL], place, scratch, words=codes, **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(command, place, scratch, *, words="", **variables):
    environment = {**colab_environment(scratch / "home"), **variables}
    pipes = {"capture_output": True, "text": True}
    return subprocess.run(command, cwd=place, env=environment, input=words, timeout=600, **pipes)


def printed(outputs):
    return "".join("".join(output.get("text", "")) for output in outputs)


def errors(outputs):
    """The errors of all cells: (cell, traceback)."""
    return [
        (name, output["traceback"])
        for name, found in outputs.items()
        for output in found
        if output["output_type"] == "error"
    ]


def pictures(outputs):
    """The PNG files in the outputs of a cell."""
    data = [output["data"] for output in outputs if "data" in output]
    return [base64.b64decode("".join(shown["image/png"])) for shown in data if "image/png" in shown]


@pytest.mark.slow
def test_runs_from_top_to_bottom(repository, tmp_path, full):
    place = tmp_path / "content"
    place.mkdir()
    cpu = STRATEGY.replace("tpu", "cpu")
    quickly = {} if full else {"XLA_FLAGS": QUICKLY}  # compiled quickly, not to run quickly
    outputs = execute(place, tmp_path, change=(STRATEGY, cpu), MNIST_MLP_REPOSITORY=repository, **quickly)
    assert errors(outputs) == []
    (run,) = (place / "mnist_mlp" / "runs").iterdir()
    result = json.loads((run / "result.json").read_text())
    assert (result["backend"], result["versions"]["keras"], result["dataset"]["name"]) == ("jax", "3.13.2", "digits")
    assert "verdict  train --strategy=cpu would run on the CPU, jax" in printed(outputs["doctor"])
    assert "this run uses the embedded digits" in re.sub(r"\s+", " ", printed(outputs["train"]))
    right = f"{result['test']['correct']} of 360 correct = {100 * result['test']['accuracy']:.2f}%"
    for cell in ("train", "evaluate"):
        assert right in printed(outputs[cell])
    assert "asked for cpu, ran on CPU: " in printed(outputs["device"])
    assert "steps on CPU:0, weights on CPU:0" in printed(outputs["device"])
    for cell in ("curves", "mistakes"):
        (picture,) = pictures(outputs[cell])
        assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
    assert printed(outputs["last"]) == "frameworks in the kernel: []\n"


@pytest.mark.slow
def test_without_an_address_one_sentence_says_what_to_do(tmp_path):
    place = tmp_path / "content"
    place.mkdir()
    _, cell, said = stop(place, tmp_path)
    assert cell == "clone"
    assert said == ["Fill in REPOSITORY in the settings above (the address that git clone takes), then run all again."]
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_address_is_said(tmp_path):
    place = tmp_path / "content"
    place.mkdir()
    _, cell, (said,) = stop(place, tmp_path, MNIST_MLP_REPOSITORY=(tmp_path / "nothing").as_uri())
    assert cell == "clone" and said.startswith("Expected a clone of mnist_mlp from REPOSITORY = file:")


@pytest.mark.slow
@WITHOUT_TPU
def test_as_it_is_it_stops_where_there_is_no_tpu(repository, tmp_path):
    """And inside a clone it takes that clone, without an address."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", repository, clone], check=True, capture_output=True)
    printed, cell, said = stop(clone / "notebooks", tmp_path)
    assert printed["clone"] == f"the code is in {clone}\n"
    assert "would not run: no TPU is attached" in re.sub(r"\s+", " ", printed["doctor"])
    assert "error: --strategy=tpu: no TPU is attached" in printed["train"]
    assert cell == "train"
    assert said == ["Training ended with exit code 2: the lines above say why, and what to do."]
    assert not (clone / "runs").exists()


@pytest.mark.slow
def test_a_run_on_another_device_stops_it(repository, trained, tmp_path):
    """The check of the device is not an ornament: asked for a TPU, it refuses the result of a CPU."""
    place = tmp_path / "content"
    place.mkdir()
    (train,) = (line for line in commands() if "mnist_mlp.train" in line)
    _, cell, (said,) = stop(
        place,
        tmp_path,
        cells=("settings", "clone", "train", "device"),
        change=(train, f"mkdir runs && cp -r '{trained}' {{RUN}}"),
        MNIST_MLP_REPOSITORY=repository,
    )
    assert cell == "device" and said.startswith("Expected the run on TPU, received CPU: ")
