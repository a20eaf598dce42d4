"""Small faults in the package, drawn by a seed over all its folders, and which tests find each.

usage: python tests/helpers/mutants.py draw FILE.json [--count=60] [--seed=0]
       python tests/helpers/mutants.py run FILE.json FOUND.json [--tests=TESTS.json] [--most=60] [--limit=120] …
                                   [-- OPTIONS and tests of pytest]

`draw` writes mutants: a comparison, a constant, a sign or an operator changed, a call dropped, two arguments swapped.
`run` tries each in a copy of the project, with pytest until the first failure, and writes what was found by which
test. TESTS.json, {"mnist_mlp/FILE.py": {"LINE": [tests, the quickest first]}}, says which tests reach a line; the first
`--most` of them are run and no others. Tests that take over `--limit` seconds print TOO LONG. `--part=0/2` and
`--part=1/2` share the work. Example, with the Python of .venv after a call of scripts/test:

python tests/helpers/mutants.py draw mutants.json --count=3
python tests/helpers/mutants.py run mutants.json found.json -- --fast tests/stats/test_metrics.py tests/export
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//"}
TRIED = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "mnist_mlp",
    "scripts",
    "tests",
    "notebooks",
    ".ci",
    ".github",
)


class Sites(ast.NodeVisitor):
    """The places of one file where a mutant can stand: (kind, node, what stands there instead)."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[tuple[str, ast.AST, str]] = []
        self.visit(ast.parse(source))

    def text(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.source, node) or ""

    def add(self, kind: str, node: ast.AST, replacement: str) -> None:
        self.found.append((kind, node, replacement))

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in self.text(node.test):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations decide nothing."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        node.returns = None
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Python 3.10 and 3.11 do not know where its parts stand."""

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1:
            other = COMPARISONS[type(node.ops[0])]
            self.add("comparison", node, f"{self.text(node.left)} {other} {self.text(node.comparators[0])}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.add("constant", node, str(not node.value))
        elif isinstance(node.value, int):
            self.add("constant", node, str(node.value + 1))
        elif isinstance(node.value, float):
            self.add("constant", node, repr(node.value * 1.25 + (node.value == 0)))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, (ast.USub, ast.Not)):
            self.add("sign", node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = OPERATORS.get(type(node.op))
        strings = any(
            isinstance(each, ast.JoinedStr) or isinstance(each, ast.Constant) and isinstance(each.value, str)
            for each in (node.left, node.right)
        )
        if other and not strings:
            self.add("operator", node, f"({self.text(node.left)}) {other} ({self.text(node.right)})")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.add("dropped call", node, "None")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        given = [each for each in node.args if not isinstance(each, ast.Starred)]
        if len(given) >= 2:
            first, second = given[0], given[1]
            between = self.between(first, second)
            if self.text(first) != self.text(second):
                both = ast.copy_location(ast.Tuple([first, second], ast.Load()), first)
                both.end_lineno, both.end_col_offset = second.end_lineno, second.end_col_offset
                self.add("swapped arguments", both, f"{self.text(second)}{between}{self.text(first)}")
        elif len(given) == 1 and not node.keywords:
            self.add("dropped call", node, f"({self.text(given[0])})")
        self.generic_visit(node)

    def between(self, first: ast.expr, second: ast.expr) -> str:
        span = ast.copy_location(ast.Pass(), first)
        span.lineno, span.col_offset = first.end_lineno, first.end_col_offset
        span.end_lineno, span.end_col_offset = second.lineno, second.col_offset
        return ast.get_source_segment(self.source, span) or ", "


def draw(count: int, seed: int) -> list[dict]:
    """So many mutants, one folder after the other, each at a random place."""
    rng = random.Random(seed)
    folders: dict[Path, list[Path]] = {}
    for file in sorted((ROOT / "mnist_mlp").rglob("*.py")):
        folders.setdefault(file.parent, []).append(file)
    found: list[dict] = []
    while len(found) < count:
        for folder in sorted(folders):
            file = rng.choices(folders[folder], [each.stat().st_size + 1 for each in folders[folder]])[0]
            sites = Sites(file.read_text()).found
            if not sites or len(found) == count:
                continue
            kind = rng.choice(sorted({site[0] for site in sites}))
            _, node, replacement = rng.choice([site for site in sites if site[0] == kind])
            found.append(
                {
                    "file": str(file.relative_to(ROOT)),
                    "kind": kind,
                    "lines": [node.lineno, node.end_lineno],
                    "columns": [node.col_offset, node.end_col_offset],
                    "was": ast.get_source_segment(file.read_text(), node),
                    "is": replacement,
                }
            )
    return found


def mutated(source: str, mutant: dict) -> str:
    """The file with the mutant; `ValueError` where its place holds something else by now."""
    lines = source.encode().splitlines(keepends=True)
    (first, last), (start, end) = mutant["lines"], mutant["columns"]
    before = b"".join(lines[: first - 1]) + lines[first - 1][:start]
    after = lines[last - 1][end:] + b"".join(lines[last:])
    was = source.encode()[len(before) : len(source.encode()) - len(after)].decode()
    if was != mutant["was"]:
        raise ValueError(f"{mutant['file']}:{first} holds {was!r}")
    text = (before + mutant["is"].encode() + after).decode()
    ast.parse(text)
    return text


def reaching(mutant: dict, tests: dict) -> list[str]:
    """The tests that reach the lines of a mutant, the quickest first."""
    lines = tests.get(mutant["file"], {})
    found: dict[str, None] = {}
    for line in range(mutant["lines"][0], mutant["lines"][1] + 1):
        found |= dict.fromkeys(lines.get(str(line), []))
    return list(found)


def copy_project(scratch: Path) -> None:
    for name in TRIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, scratch / name)


def try_one(mutant: dict, scratch: Path, tests: list[str], options: list[str], limit: float) -> dict:
    """What pytest says of one mutant: {"found": bool, "by": test, "seconds": float}."""
    file = scratch / mutant["file"]
    source = file.read_text()
    file.write_text(mutated(source, mutant))
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options, *tests]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, [str(scratch), os.environ.get("PYTHONPATH")]))}
    process = subprocess.Popen(
        command, cwd=scratch, env=os.environ | paths | {"PYTHONDONTWRITEBYTECODE": "1"}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said, _ = process.communicate(timeout=limit)
        code: int | str = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        code = "time"
    finally:
        file.write_text(source)
    if "ERROR: file or directory not found" in said or "ERROR: not found" in said:
        raise SystemExit(said)  # of other tests than there are
    failed = [line.split(" ")[1] for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    found = code not in (0, 5, "time")
    return {
        "found": found,
        "code": code,
        "by": failed[0] if failed else said.strip().splitlines()[-1][:200] if found else "",
        "tests": len(tests),
        "seconds": round(time.monotonic() - began, 1),
    }


def check_options(scratch: Path, options: list[str]) -> None:
    """`SystemExit` where pytest is missing, or finds no tests with these options: that is not a mutant's doing."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stderr}{done.stdout}pytest finds no tests to run: {' '.join(options)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("file", type=Path)
    drawing.add_argument("--count", type=int, default=60)
    drawing.add_argument("--seed", type=int, default=0)
    running = commands.add_parser("run")
    running.add_argument("file", type=Path)
    running.add_argument("found", type=Path)
    running.add_argument("--tests", type=Path)
    running.add_argument("--limit", type=float, default=120)
    running.add_argument("--most", type=int, default=60, help="tests for one mutant")
    running.add_argument("--part", default="0/1")
    argv = sys.argv[1:]
    end = argv.index("--") if "--" in argv else len(argv)
    asked, options = parser.parse_args(argv[:end]), argv[end + 1 :]
    if asked.command == "draw":
        asked.file.write_text(json.dumps(draw(asked.count, asked.seed), indent=1))
        return
    tests = json.loads(asked.tests.read_text()) if asked.tests else None
    part, parts = map(int, asked.part.split("/"))
    results = {}
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        copy_project(scratch)
        check_options(scratch, options)
        for number, mutant in list(enumerate(json.loads(asked.file.read_text())))[part::parts]:
            chosen = reaching(mutant, tests)[: asked.most] if tests is not None else []
            if tests is not None and not chosen:
                result = {"found": False, "by": "", "tests": 0, "seconds": 0.0}
            else:
                result = try_one(mutant, scratch, chosen, options, asked.limit)
            results[number] = mutant | result
            verdict = "found" if result["found"] else "TOO LONG" if result.get("code") == "time" else "NOT FOUND"
            where = f"{mutant['file']}:{mutant['lines'][0]}"
            print(f"{number:3d} {verdict:9} {where} {mutant['kind']} {result['by']}", flush=True)
            asked.found.write_text(json.dumps(results, indent=1))
    print(f"{sum(row['found'] for row in results.values())} of {len(results)} found")


if __name__ == "__main__":
    main()
