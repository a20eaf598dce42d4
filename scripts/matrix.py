"""Run the tests with every Python and every kind of arithmetic that the README names, one after the other.

usage: python scripts/matrix.py pythons [NAME …] [--whole NAME …] [--place=DIR] [--write]
       python scripts/matrix.py arithmetic [NAME …] [--place=DIR] [--write]

pythons      rows 3.10, 3.11, 3.12 and 3.13 with the versions in constraints.txt, and oldest: the oldest that
             pyproject.toml allows (floors.txt). In each mypy and the tests of `scripts/test --fast`, or those of
             `scripts/test` in the rows that --whole names. Each Python must be on the path
arithmetic   the tests marked `numerics` with other instruction sets, numbers of threads and matrix libraries: rows
             "as the processor has it", SSE4.2, AVX, AVX2, AVX-512, "one thread", "without oneDNN", "with oneDNN"

Without a NAME all rows are run. Environments of 4 to 5 GB each are created in DIR (default: ../mnist_mlp-matrix) and
kept there, with the result of each row; with uv if it is installed, else with pip. `--write` writes all rows with a
result to the README. Exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = {
    **{version: (version, "constraints.txt") for version in ("3.10", "3.11", "3.12", "3.13")},
    "oldest": ("3.10", "floors.txt"),
}
# XLA and oneDNN ask the processor unless these say less; neither can say more than it has.
ARITHMETIC: dict[str, dict[str, str]] = {
    "as the processor has it": {},
    "SSE4.2": {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "AVX": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX", "ONEDNN_MAX_CPU_ISA": "AVX"},
    "AVX2": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX-512": {"XLA_FLAGS": "--xla_cpu_max_isa=AVX512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "one thread": {"threads": "1"},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "with oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"},
}
LIBRARIES = ("tensorflow", "keras", "jax", "numpy")


def run(command: list[object], **more) -> subprocess.CompletedProcess:
    return subprocess.run([*map(str, command)], cwd=ROOT, text=True, capture_output=True, **more)


def interpreter(version: str) -> str:
    """The first Python of this version on the path that starts; a shim of pyenv may not."""
    for folder in os.get_exec_path():
        found = shutil.which(f"python{version}", path=folder)
        if found and run([found, "-c", ""]).returncode == 0:
            return found
    raise SystemExit(
        f"expected a python{version} on the path that starts, found none; install it, or name the rows to run: "
        f"{' '.join(PYTHONS)}"
    )


def environment(place: Path, version: str, constraints: str) -> Path:
    """The Python of an environment with the package and its tests' needs."""
    python = place / "bin" / "python"
    recipe = "\n".join(
        [version, *(file.read_text() for file in (ROOT / "pyproject.toml", ROOT / "scripts" / constraints))]
    )
    if (place / "ready").exists() and (place / "ready").read_text() == recipe:
        return python
    base = interpreter(version)
    wanted = ["--constraint", ROOT / "scripts" / constraints, "--editable", ".[test]"]
    if uv := shutil.which("uv"):
        steps = [[uv, "venv", "--quiet", "--clear", "--seed", "--python", base, place]]  # some tests want pip
        steps += [[uv, "pip", "install", "--quiet", "--python", python, *wanted]]
    else:
        steps = [[base, "-m", "venv", "--clear", place], [python, "-m", "pip", "install", "--quiet", *wanted]]
    for step in steps:
        done = run(step)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    (place / "ready").write_text(recipe)
    return python


def tested(python: Path | str, options: list[str], variables: dict[str, str]) -> dict:
    """What pytest, and before it mypy, came to in an environment."""
    variables = dict(variables)
    cores = sorted(os.sched_getaffinity(0))[: int(variables.pop("threads", 0)) or None]
    began = time.monotonic()
    pytest = [python, "-m", "pytest", "-n", min(4, len(cores)), "--dist=loadfile", "--no-loadscope-reorder", *options]
    done = run(pytest, env=os.environ | variables, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()[-200:]
    told = re.sub(r" in [\d.]+s.*", "", last.strip("= "))
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"good": done.returncode == 0, "told": told, "failed": failed, "seconds": round(time.monotonic() - began)}


def of_python(name: str, place: Path, whole: bool) -> dict:
    version, constraints = PYTHONS[name]
    python = environment(place / name, version, constraints)
    code = (
        "import importlib.metadata as m, sys, platform; print(platform.python_version(), *map(m.version, sys.argv[1:]))"
    )
    versions = run([python, "-c", code, *LIBRARIES]).stdout.split()
    types = run([python, "-m", "mypy", "--cache-dir", place / f"{name}-mypy"])
    row = tested(python, [] if whole else ["--fast"], {})
    if types.returncode:
        row |= {"good": False, "failed": [*types.stdout.splitlines(), *row["failed"]]}
    tier = "`scripts/test`" if whole else "`scripts/test --fast`"
    which = ", the oldest of each" if name == "oldest" else ""
    return row | {"cells": [f"Python {versions[0]}{which}", *versions[1:], tier], "mypy": types.returncode == 0}


def of_arithmetic(name: str, place: Path, whole: bool) -> dict:
    return tested(sys.executable, ["-m", "numerics"], ARITHMETIC[name]) | {"cells": [name, processor()]}


def processor() -> str:
    """What this machine computes with."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"^flags\s*: (.*)", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    best = next(
        (words for flag, words in (("amx_tile", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in has), ""
    )
    return f"{model[1].strip() if model else platform.machine()}{f' ({best})' if best else ''}"


KINDS = {
    "pythons": (PYTHONS, of_python, ["Python", "TensorFlow", "Keras", "JAX", "NumPy", "tests"]),
    "arithmetic": (ARITHMETIC, of_arithmetic, ["arithmetic", "processor"]),
}


def table(kind: str, rows: dict[str, dict]) -> str:
    """The rows as Markdown, in the order in which they are named here."""
    names, _, head = KINDS[kind]
    lines = [[*head, "result", "commit"], ["---"] * (len(head) + 2)]
    for name in names:
        if row := rows.get(name):
            lines.append([*row["cells"], row["told"] if row["good"] else f"**failed**: {row['told']}", row["commit"]])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(kind: str, text: str) -> None:
    """Put the table between the README's two comments."""
    readme = ROOT / "README.md"
    pattern = rf"(<!-- scripts/matrix.py {kind} -->\n).*?(<!-- end -->)"
    content, count = re.subn(
        pattern, lambda found: f"{found[1]}{text}\n{found[2]}", readme.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"README.md has no marker for the table: <!-- scripts/matrix.py {kind} -->")
    readme.write_text(content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="the rows to run; default: all")
    parser.add_argument(
        "--whole", nargs="*", default=[], metavar="NAME", help="rows that run the tests of scripts/test"
    )
    parser.add_argument("--place", type=Path, default=ROOT.parent / "mnist_mlp-matrix")
    parser.add_argument("--write", action="store_true", help="write all rows with a result to the README")
    asked = parser.parse_args()
    names, runner, _ = KINDS[asked.kind]
    if unknown := [name for name in [*asked.names, *asked.whole] if name not in names]:
        parser.error(f"expected rows among {', '.join(names)}; received {', '.join(unknown)}")
    asked.place.mkdir(parents=True, exist_ok=True)
    file = asked.place / f"{asked.kind}.json"
    rows = json.loads(file.read_text()) if file.exists() else {}
    commit = run(["git", "describe", "--always", "--dirty"]).stdout.strip()
    bad = 0
    for name in asked.names or names:
        rows[name] = runner(name, asked.place, name in asked.whole) | {"commit": commit}
        bad += not rows[name]["good"]
        print(f"{name}: {rows[name]['told']}, {rows[name]['seconds']} s", *rows[name]["failed"], sep="\n  ", flush=True)
        file.write_text(json.dumps(rows, indent=1))
    print(table(asked.kind, rows))
    if asked.write:
        write(asked.kind, table(asked.kind, rows))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
