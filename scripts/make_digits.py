#!/usr/bin/env python3
"""Rebuild mnist_mlp/data/digits.npy, byte for byte, from the optical digits that scikit-learn ships.

The table (1,797 lines of 64 grey levels 0–16 and a label) is read from --csv, or from an installed scikit-learn, or
from the scikit-learn wheel, which pip downloads to a temporary directory. The result is uint8 [1797, 65], the label
first: 1,437 rows for training, then 360 for testing. A fifth of each class, drawn with a fixed seed, is for testing;
both parts keep the order of the table.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parents[1] / "mnist_mlp" / "data" / "digits.npy"
MEMBER = "sklearn/datasets/data/digits.csv.gz"
WHEEL = "scikit-learn==1.7.2"
TABLE_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"  # of the uncompressed text
TEST_SIZE = 360
SEED = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write (default: %(default)s)")
    parser.add_argument("--csv", type=Path, help="the table, digits.csv or digits.csv.gz")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if --output differs")
    args = parser.parse_args()
    built = build(find_table(args.csv))
    if not args.check:
        args.output.write_bytes(built)
        print(f"{args.output}: {len(built)} bytes")
        return 0
    same = args.output.is_file() and args.output.read_bytes() == built
    print(f"{args.output}: {'as rebuilt' if same else 'DIFFERS from what this script builds'}")
    return 0 if same else 1


def find_table(csv: Path | None) -> bytes:
    """Return the text of the table. Exit unless it is the published one."""
    sklearn = importlib.util.find_spec("sklearn")
    if csv is not None:
        data = csv.read_bytes()
    elif sklearn is not None and sklearn.origin is not None:  # its files are read; it is not imported
        data = (Path(sklearn.origin).parents[1] / MEMBER).read_bytes()
    else:
        data = download_table()
    text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    received = hashlib.sha256(text).hexdigest()
    if received != TABLE_SHA256:
        sys.exit(f"expected the table with SHA-256 {TABLE_SHA256}, received {received}; try another with --csv")
    return text


def download_table() -> bytes:
    """Return the table in the scikit-learn wheel."""
    with tempfile.TemporaryDirectory() as scratch:
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--only-binary=:all:"]
        if subprocess.run([*pip, "--dest", scratch, WHEEL]).returncode:
            sys.exit(f"pip could not download {WHEEL}; try --csv=FILE with its digits.csv.gz")
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(MEMBER)


def build(text: bytes) -> bytes:
    """Return the bytes of digits.npy, which depend neither on a clock nor on a compressor."""
    table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8)
    labels = table[:, 64]
    test = test_rows(labels)
    rows = np.concatenate([np.flatnonzero(~test), np.flatnonzero(test)])
    stream = io.BytesIO()
    np.save(stream, np.column_stack([labels, table[:, :64]])[rows])
    return stream.getvalue()


def test_rows(labels: np.ndarray) -> np.ndarray:
    """Return bool [n]: TEST_SIZE rows, with the classes in proportion to the table, by largest remainders."""
    shares = np.bincount(labels) * TEST_SIZE
    counts = shares // len(labels)
    for label in np.argsort(-(shares % len(labels)), kind="stable")[: TEST_SIZE - counts.sum()]:
        counts[label] += 1
    keys = np.random.PCG64(SEED).random_raw(len(labels))  # raw draws are the same in every version of NumPy
    test = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        test[members[np.argsort(keys[members])[:count]]] = True
    return test


if __name__ == "__main__":
    sys.exit(main())
