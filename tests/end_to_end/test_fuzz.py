"""Files of any bytes give a result or one `UserError`, and headers are not trusted with memory."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import fuzz
from helpers.fork_server import run_code

import mnist_mlp
from mnist_mlp.errors import UserError

PACKAGE = Path(mnist_mlp.__file__).parent
IMPORTS = f"import sys; sys.path[:0] = {[str(Path(fuzz.__file__).parent), str(PACKAGE.parent)]!r}\n"  # `fuzz` and ours


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_valid_files_are_accepted(target, tmp_path):
    """Otherwise every input would be refused for the same reason, and nothing would be tested."""
    seeds, read = fuzz.TARGETS[target]
    for seed in seeds:
        (tmp_path / "file.keras").write_bytes(seed.content())
        read(tmp_path / "file.keras")


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_damaged_files(target):
    tally = fuzz.with_hypothesis(target, 60)
    assert tally.inputs == 60
    assert len(tally.refusals) >= 5
    assert tally.slowest < 5


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_hundreds_of_other_damaged_files(target):
    assert fuzz.with_hypothesis(target, 400, seed=1).inputs == 400


@pytest.mark.full
@pytest.mark.slow
def test_a_hundred_thousand_damaged_files():
    done = subprocess.run([sys.executable, fuzz.__file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = [int(count.replace(",", "")) for count in re.findall(r"([\d,]+) inputs", done.stdout)]
    assert len(counts) == len(fuzz.TARGETS) and sum(counts) > 99_000
    assert all(int(count.replace(",", "")) > 100 for count in re.findall(r"([\d,]+) accepted", done.stdout))


@pytest.mark.slow  # Hypothesis shrinks the input
def test_a_failure_names_the_input_and_its_program_repeats_it(monkeypatch, tmp_path):
    def careless(path):
        if len(path.read_bytes()) < 50:
            raise KeyError("x_train")

    monkeypatch.setitem(fuzz.TARGETS, "idx", (fuzz.TARGETS["idx"][0], careless))
    with pytest.raises(
        fuzz.Failure, match="idx: KeyError: 'x_train'; to repeat, run python tests/helpers/fuzz.py idx --program"
    ) as raised:
        fuzz.with_hypothesis("idx", 100)
    program = bytes.fromhex(str(raised.value).split()[-1])
    with pytest.raises(fuzz.Failure):
        fuzz.feed(fuzz.Tally("idx"), program, tmp_path / "file")


@pytest.mark.parametrize("words", ["two\nlines", "x" * 2000, ""])
def test_a_refusal_is_one_short_line(monkeypatch, tmp_path, words):
    def wordy(path):
        raise UserError(words)

    monkeypatch.setitem(fuzz.TARGETS, "idx", (fuzz.TARGETS["idx"][0], wordy))
    with pytest.raises(fuzz.Failure, match="not one short line"):
        fuzz.feed(fuzz.Tally("idx"), b"", tmp_path / "file")


def test_an_engine_that_is_not_installed_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "idx", "--engine=atheris"])
    monkeypatch.setattr(fuzz.importlib.util, "find_spec", lambda name: None)
    assert fuzz.main() == 2
    assert capsys.readouterr() == ("", "atheris is not installed; run: pip install atheris\n")


# Each file claims 10 GB or more and has a few hundred bytes, or 20 MB if it is compressed. It is read in a process
# whose memory cannot grow by more than 300 MB.
CLAIMS = {
    "IDX": ("array_files.read_images", "idx_claim()", "in a file of"),
    "IDX in gzip": ("array_files.read_images", "gzip.compress(idx_claim() + bytes(20_000_000))", "in a file of"),
    "IDX in gzip, as much as a user's images may have": (
        "array_files.read_images",
        "gzip.compress(idx_claim(1_300_000) + random.Random(0).randbytes(1_000_000))",
        "received only 1000000 of them",
    ),
    "npy": ("array_files.read_images", "npy_claim()", "received 0"),
    "npy with a long header": (
        "array_files.read_images",
        "b'\\x93NUMPY\\x02\\x00' + (2**32 - 1).to_bytes(4, 'little') + bytes(99)",
        "format 1.0, received 2.0",
    ),
    "npz": ("array_files.read_images", "zipped({'images.npy': npy_claim()})", "received 0"),
    "npz of MNIST": ("array_files.read_npz", "zipped({'x_train.npy': npy_claim()})", "received uint8"),
    "npz of MNIST, packed 1:1000": (
        "array_files.read_npz",
        "zipped({'x_train.npy': npy_claim() + bytes(20_000_000)}, zipfile.ZIP_DEFLATED)",
        "received uint8",
    ),
    "npz of many": ("archives.read_arrays", "zipped({'a/kernel.npy': npy_claim()})", "received 0"),
    "npz whose member claims it": ("archives.read_arrays", "longer_member('a.npy')", "larger than the file"),
    "npz whose directory claims it": ("archives.read_arrays", "longer_directory()", "too many members"),
    "Keras' weights": ("check", "longer_member('model.weights.h5')", "claims 4294967294 bytes"),
    "an HDF5 array": ("check", "model(claim=(10**10,))", "claims 10000000000 bytes"),
    "an HDF5 array in pieces": ("check", "model(claim=(10**10,), chunks=(1000,))", "in chunks"),
    "Keras' layers": ("check", "model(units=10**7)", "more weights than the file contains"),
}
PROGRAM = """
import contextlib, gzip, io, json, random, resource, struct, sys, zipfile
import fuzz, h5py
from pathlib import Path
from mnist_mlp.models import file_check; from mnist_mlp.data import array_files; from mnist_mlp.files import archives
from mnist_mlp.errors import UserError

def idx_claim(count=2**24):
    return bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28)

def npy_claim():
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (13000000, 28, 28), }\\n"
    return b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(text)) + text

def zipped(parts, packing=0):
    return fuzz.zipped(parts, packing).content()

def longer_member(name):  # its sizes in the directory are those of a file of 4 GB
    parts = fuzz.model_seed().parts if name.endswith("h5") else {"a.npy": npy_claim()}
    content = zipped(parts)
    at = content.rindex(b"PK\\1\\2")
    return content[: at + 20] + struct.pack("<2I", 2**32 - 2, 2**32 - 2) + content[at + 28 :]

def longer_directory():
    content = zipped({"a.npy": npy_claim()})
    return content[:-10] + struct.pack("<I", 2**32 - 2) + content[-6:]

def model(claim=None, units=2, **options):
    parts = fuzz.model_seed().parts
    stream = io.BytesIO(parts["model.weights.h5"])
    if claim:
        with h5py.File(stream, "a") as file:
            file.create_dataset("layers/dense/vars/2", claim, "u1", **options)
    config = parts["config.json"].replace(b'"units": 2', b'"units": %d' % units)
    return zipped(parts | {"config.json": config, "model.weights.h5": stream.getvalue()})

def check(path):
    return file_check.check(path, "3.15.1")

cases = eval(sys.stdin.read())
for read, content, _ in cases.values():  # first any files, for what is allocated once
    with contextlib.suppress(UserError):
        eval(read)(Path(fuzz.__file__))
files = {case: eval(content) for case, (_, content, _) in cases.items()}
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
for case, content in files.items():
    Path("file.keras").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        eval(cases[case][0])(Path("file.keras"))
    except UserError as error:
        print(json.dumps([case, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, str(error)]))
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """{case: (growth of peak memory in KB, message)} for the CLAIMS."""
    directory = tmp_path_factory.mktemp("claims")
    done = run_code(IMPORTS + PROGRAM, backend=None, input=repr(CLAIMS), cwd=directory)
    assert done.returncode == 0, done.stderr[-3000:]
    return {case: words for case, *words in map(json.loads, done.stdout.splitlines())}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("case", CLAIMS)
def test_ten_gigabytes_are_refused_before_they_are_allocated(refusals, case):
    grown, message = refusals[case]
    assert CLAIMS[case][-1] in message
    assert grown < 20_000


def test_nothing_in_the_package_loads_pickles_or_code():
    """np.load and Keras' safe mode refuse both by default. multiprocessing pickles what it sends; only `tune` uses it,
    for its own child processes, over pipes that no other process has."""
    enabled = r"allow_pickle\s*=\s*(?!False)|safe_mode\s*=\s*(?!True)|unsafe_deserialization|format\.read_array\("
    imported = r"(?:import|from)\s+(?:c?[pP]ickle|dill|cloudpickle|joblib|marshal|shelve|multiprocessing)\b"
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    for file in files:
        text = file.read_text()
        found = set(re.findall(rf"{enabled}|{imported}", text))
        assert found <= ({"from multiprocessing"} if file.parent.name == "tune" else set()), file
        for call in re.findall(r"load_model\([^)]*\)", text):
            assert "safe_mode=True" in call and "compile=False" in call, file
