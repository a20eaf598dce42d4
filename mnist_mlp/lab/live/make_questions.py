"""Write page/questions/questions.json: the lecture's questions with measured answers.

`python -m mnist_mlp.lab.live.make_questions FOLDER [--data_dir=DIR]` runs `lab.explain`, `lab.mistakes` and
`lab.ladder` on MNIST, unless their results are in FOLDER already, and keeps them there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mnist_mlp.devices.machine import processor_name
from mnist_mlp.files import atomic
from mnist_mlp.lab.live.questions import CARDS, MEASUREMENTS, card_json

FILE = Path(__file__).with_name("page") / "questions" / "questions.json"
REFUTED = 4  # exit code of a program that measured something else than is claimed: that is a result, too


def measurement(name: str, folder: Path, flags: list[str]) -> dict[str, Any]:
    """Return {command, machine, date, result}: what was run where and when, and what it printed with --json."""
    file = folder / f"{name}.json"
    if not file.exists():
        command = [*MEASUREMENTS[name], "--dataset=mnist"]
        done = subprocess.run([sys.executable, "-m", *command, *flags, "--json"], stdout=subprocess.PIPE)
        if done.returncode not in (0, REFUTED):
            raise SystemExit(done.returncode)
        found = {
            "command": " ".join(["python -m", *command]),
            "machine": machine_name(),
            "date": time.strftime("%Y-%m-%d"),
        }
        atomic.write_json(file, {**found, "result": json.loads(done.stdout)})
    return json.loads(file.read_text())


def machine_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor with its family, if Linux tells it: names such as "AMD EPYC" stand for several."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    family, name = re.search(r"cpu family\s*:\s*(\d+)", text), processor_name(cpuinfo)
    details = (f" family {family[1]}" if family else "") + " (AVX-512)" * (" avx512f " in text)
    processor, _, cores = name.rpartition(", ")
    return f"{processor}{details}, {cores}"


def provenance(found: dict[str, Any]) -> dict[str, Any]:
    """Return where numbers come from, as the page says it."""
    result = found["result"]
    images = {name: result["dataset"][name] for name in ("name", "train_examples", "test_examples")}
    kept = {name: result[name] for name in ("device", "epochs", "seeds", "versions")}
    return {**{name: found[name] for name in ("command", "machine", "date")}, "dataset": images, **kept}


def page_json(measurements: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the file holds."""
    results = {name: found["result"] for name, found in measurements.items()}
    return {
        "measurements": {name: provenance(found) for name, found in measurements.items()},
        "cards": [card_json(card, results) for card in CARDS],
    }


def main(folder: str, *flags: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    page = page_json({name: measurement(name, Path(folder), list(flags)) for name in MEASUREMENTS})
    parts = [json.dumps(card, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for card in page["cards"]]
    head = json.dumps(page["measurements"], ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    atomic.write_text(FILE, f'{{"measurements":{head},\n"cards":[\n' + ",\n".join(parts) + "\n]}\n")
    print(f"{FILE}: {len(parts)} questions, {FILE.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
