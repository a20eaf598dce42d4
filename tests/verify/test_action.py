"""The action for GitHub: its steps run here as its runner runs them, with a stub in place of Python."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from mnist_mlp.cli import flags
from mnist_mlp.verify.command import Options

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".github/actions/verify/action.yml"
pytestmark = [
    pytest.mark.slow,  # starts processes
    pytest.mark.skipif(not FILE.exists(), reason="the source distribution has no .github"),
]
TABLE = "✓ machine  CPU:0\n`````\nverdict  passed"

# What it is called with goes to `calls`, NUL after each word; verify prints a table and writes its files.
STUB = """#!/usr/bin/env bash
printf '%s\\0' "$PWD" "$@" $'\\n' >>"$CALLS"
case "$*" in
    *"-m mnist_mlp.verify "*)
        for word; do case $word in --output=*) echo '{}' >"${word#*=}/verify.json" ;; esac; done
        echo "$TABLE"
        echo "error: the words on standard error" >&2
        exit "$EXIT" ;;
esac
"""


@pytest.fixture(scope="module")
def action():
    return yaml.safe_load(FILE.read_text())


def value_of(expression, known):
    """The text in which each `${{ … }}` that names an input or an output has its value."""
    return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda found: known[found[1]], expression)


class Runner:
    """The runner of GitHub: it runs the shell steps of an action."""

    def __init__(self, action, place, **environment):
        self.action, self.place, self.status = action, place, 0
        for name in ("temp", "bin", "work"):
            (place / name).mkdir()
        stub = place / "bin/python"
        stub.write_text(STUB)
        stub.chmod(0o755)
        self.environment = {
            **{"PATH": f"{place / 'bin'}:/usr/bin:/bin", "CALLS": str(place / "calls"), "TABLE": TABLE, "EXIT": "0"},
            **{"GITHUB_ACTION_PATH": str(FILE.parent), "RUNNER_TEMP": str(place / "temp")},
            **{"GITHUB_OUTPUT": str(place / "output"), "GITHUB_STEP_SUMMARY": str(place / "summary")},
            **environment,
        }

    def run(self, **inputs):
        """Run the steps until one fails; return what they printed."""
        known = {f"inputs.{name}": row["default"] for name, row in self.action["inputs"].items()}
        known |= {f"inputs.{name.replace('_', '-')}": value for name, value in inputs.items()}
        printed = ""
        for step in self.action["runs"]["steps"]:
            if "run" not in step or self.status:
                continue
            script = self.place / "step.sh"
            script.write_text(value_of(step["run"], known))
            given = {name: value_of(value, known) for name, value in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
                env=self.environment | given,
                cwd=self.place / "work",
                capture_output=True,
                text=True,
            )
            printed, self.status = printed + done.stdout + done.stderr, done.returncode
            known |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in self.outputs().items()}
        return printed

    def outputs(self):
        file = self.place / "output"
        return dict(line.split("=", 1) for line in file.read_text().splitlines()) if file.exists() else {}

    def calls(self):
        """The directory and the words of each call of Python."""
        return [call.split("\0")[:-1] for call in (self.place / "calls").read_text().split("\n\0") if call]


def test_what_it_declares(action):
    assert [*action["inputs"]] == ["python-version", "extras", "strategy", "backend", "tier", "args", "artifact"]
    assert all(row["description"] and isinstance(row["default"], str) for row in action["inputs"].values())
    assert action["runs"]["using"] == "composite"
    text = FILE.read_text()
    for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
        for name in re.findall(r"inputs\.([\w-]+)", expression):
            assert name in action["inputs"]
    for step in action["runs"]["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert "run" not in step or (step["shell"] == "bash" and "${{" not in step["run"])  # no text becomes a script
    # Other actions are named by the same versions as in the workflows of this repository.
    used = {step["uses"] for step in action["runs"]["steps"] if "uses" in step}
    workflows = "".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)
    assert "actions/setup-python@v5" in used and "actions/setup-python@v5" in workflows


def test_it_installs_its_own_checkout_and_verifies(action, tmp_path):
    runner = Runner(action, tmp_path)
    printed = runner.run(strategy="cpu", backend="jax", tier="quick", args="--seed=7  --soak=30s\n--junit=other.xml")
    assert runner.status == 0 and TABLE in printed
    (_, *install), (where, *verify) = runner.calls()
    assert install == ["-m", "pip", "install", "--quiet", f"{ROOT}[export]"] and (ROOT / "pyproject.toml").exists()
    directory = tmp_path / "temp/mnist_mlp-verify"
    assert verify[:2] == ["-m", "mnist_mlp.verify"] and where == str(directory)
    options = flags.parse(Options, verify[2:], program="verify", about="")  # the flags are real
    assert (options.tier, options.strategy, options.backend, options.seed) == ("quick", "cpu", "jax", 7)
    assert (options.soak, options.output, options.junit) == ("30s", str(directory), "other.xml")
    assert runner.outputs() == {"directory": str(directory), "status": "0", "verdict": "passed"}
    assert sorted(path.name for path in directory.iterdir()) == ["table.txt", "verify.json"]
    table = (directory / "table.txt").read_text()
    assert table.startswith(TABLE) and "the words on standard error" in table
    assert (tmp_path / "summary").read_text() == f"### Verification: passed\n\n`````text\n{table}`````\n"


@pytest.mark.parametrize("status, verdict", [(4, "refuted"), (2, "error"), (1, "error"), (137, "error")])
def test_it_fails_with_the_verdict_after_all_is_kept(action, tmp_path, status, verdict):
    runner = Runner(action, tmp_path, EXIT=str(status))
    runner.run(tier="usual", extras="")
    assert runner.status == status and runner.outputs()["verdict"] == verdict
    assert f"### Verification: {verdict}\n" in (tmp_path / "summary").read_text()
    (_, *install), (_, *verify) = runner.calls()
    assert install[-1] == str(ROOT) and flags.parse(Options, verify[2:], program="verify", about="").tier == "usual"


def test_inputs_are_no_code(action, tmp_path):
    hostile = '"; touch pwned; $(touch pwned) `touch pwned`'
    runner = Runner(action, tmp_path)
    runner.run(strategy=hostile, backend=hostile, args="$(touch pwned) `touch", extras=hostile)
    assert [path for path in tmp_path.rglob("pwned")] == []
    assert f"--strategy={hostile}" in runner.calls()[1] and "$(touch" in runner.calls()[1]
    other = tmp_path / "other"
    other.mkdir()
    runner = Runner(action, other)
    assert "::error::tier: expected quick, usual or full, received fast ::x" in runner.run(tier="fast\n::x")
    assert runner.status == 2 and len(runner.calls()) == 1  # nothing was verified
