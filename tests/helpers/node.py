"""Calls functions of the lab's JavaScript modules in Node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import mnist_mlp

PAGE = Path(mnist_mlp.__file__).parent / "lab/live/page"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def evaluate(script, value=None, timeout=120):
    """Return what the script, the body of an async function of `value`, returns; `page(name)` imports a module.

    Values travel as JSON, so a number that is not finite comes back as None.
    """
    program = f"""
    import {{ readFileSync }} from "node:fs";
    const page = (name) => import({json.dumps(PAGE.as_uri())} + "/" + name);
    const value = JSON.parse(readFileSync(0, "utf8"));
    const result = await (async () => {{ {script} }})();
    process.stdout.write(JSON.stringify(result ?? null));
    """
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", program],
        input=json.dumps(value),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
