"""Known failures: which of those in `failures/` a text shows, and which it resembles."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from mnist_mlp.devices.frameworks import jax_problem, overwritten, tpu_tensorflow_problem
from mnist_mlp.devices.machine import Machine
from mnist_mlp.doctor.failures import (
    downloads,
    exports,
    gpus,
    models,
    notices,
    packages,
    starting,
    system,
    tpus,
    training,
    workers,
)
from mnist_mlp.doctor.failures.symptom import HARMLESS, LEVELS, Symptom

GROUPS: dict[str, tuple[Symptom, ...]] = {
    "packages": packages.SYMPTOMS,
    "start": starting.SYMPTOMS,
    "TPU": tpus.SYMPTOMS,
    "GPU": gpus.SYMPTOMS,
    "training": training.SYMPTOMS,
    "model files": models.SYMPTOMS,
    "downloads": downloads.SYMPTOMS,
    "exports": exports.SYMPTOMS,
    "workers": workers.SYMPTOMS,
    "system": system.SYMPTOMS,
    "notices": notices.SYMPTOMS,
}
SYMPTOMS = tuple(row for rows in GROUPS.values() for row in rows)
GROUP_OF = {row.name: group for group, rows in GROUPS.items() for row in rows}
IRRELEVANT_ON_CPU = gpus.IRRELEVANT_ON_CPU

COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")  # notebooks print tracebacks in colour
QUOTES = str.maketrans("‘’‚“”„", "'''\"\"\"")  # typographic ones
MOST_COMMON = 0.08  # a word that more of the symptoms hold does not tell one from another


def keyword(pattern: str) -> str:
    """Return the longest word, in lower case, that a text must hold where a pattern matches.

    To look for it takes a hundredth of the time of the pattern itself, and most patterns need not be tried.

    >>> keyword(r"No module named ['\\"`]?keras")
    'module'
    >>> keyword(r"Unknown flags? in XLA_FLAGS")
    'unknown'
    """
    run = re.match(r"[\w '=:`-]*", pattern.removeprefix("(?-i:")).group()  # type: ignore[union-attr]
    if pattern.removeprefix("(?-i:")[len(run) :][:1] in tuple("?{*"):
        run = run[:-1]  # that character need not be there
    return max(re.findall(r"\w+", run), key=len).lower()


@functools.cache
def compiled() -> tuple[tuple[Symptom, tuple[tuple[str, re.Pattern[str]], ...]], ...]:
    """Return each symptom with the keyword and the regular expression of each of its patterns."""
    return tuple(
        (
            row,
            tuple(
                (keyword(pattern), re.compile(pattern.replace(" ", r"\s{1,9}"), re.IGNORECASE))
                for pattern in row.patterns
            ),
        )
        for row in SYMPTOMS
    )


def explain(text: str) -> list[Symptom]:
    """Return the known failures that a text (an error message, a log) shows, the most causal first.

    What stopped the program comes before warnings and these before harmless notices. Of each kind the earliest comes
    first, since what follows an error is mostly its consequence.

    >>> [row.name for row in explain("ModuleNotFoundError: No module named 'tensorflow'")]
    ['tensorflow-missing']
    >>> explain("ModuleNotFoundError: No module named 'foo'")
    []
    """
    text = plain(text)
    lowered = text.lower()
    found = []
    for row, patterns in compiled():
        matches = [match for word, pattern in patterns if word in lowered and (match := pattern.search(text))]
        if matches:
            found.append((LEVELS.index(row.level), min(match.start() for match in matches), row))
    return [row for *_, row in sorted(found, key=lambda entry: entry[:2])]


def plain(text: str) -> str:
    """Return a text without colours and typographic quotes."""
    return COLOUR.sub("", text).translate(QUOTES)


def likeliest(text: str, count: int = 3) -> list[Symptom]:
    """Return the symptoms that share the most telling words with a text, at most `count`; none if none shares any.

    A word counts the more, the fewer symptoms hold it.

    >>> [row.name for row in likeliest("cuDNN: handle was not created")][0]
    'cudnn-not-started'
    >>> likeliest("hello")
    []
    """
    mine = words(plain(text))
    holders: dict[str, int] = {}
    for held in symptom_words().values():
        for word in held:
            holders[word] = holders.get(word, 0) + 1
    telling = {word: 1 / number for word, number in holders.items() if number <= MOST_COMMON * len(SYMPTOMS)}
    scores = {name: sum(telling.get(word, 0) for word in mine & held) for name, held in symptom_words().items()}
    best = sorted((row for row in SYMPTOMS if scores[row.name] > 0), key=lambda row: -scores[row.name])
    return best[:count]


@functools.cache
def symptom_words() -> dict[str, frozenset[str]]:
    """Return the words of each symptom: of its name, its patterns and its meaning."""
    return {
        row.name: words(" ".join([row.name, row.meaning, *(re.sub(r"\\[a-z]", " ", p) for p in row.patterns)]))
        for row in SYMPTOMS
    }


def words(text: str) -> frozenset[str]:
    """Return the words of a text that are long enough to tell something, in lower case."""
    return frozenset(word.lower() for word in re.findall(r"[A-Za-z]{4,40}", text)) - ORDINARY


ORDINARY = frozenset(  # words that tell nothing
    re.findall(
        r"\w+",
        """
        about after again also anaconda another appdata been before call could does down each else error errors even
        exception expected fail failed failure file files first found from gets give given have here home into just
        know last line lines local long made make many message module more most must name named need needs none only
        other over package packages program python received recent says should site some such take than that their
        them then there these they this time trace traceback true used users uses using value very want were what
        when where which while will with without work works would your
        """,
    )
)


def installed_problems(machine: Machine, installed: Mapping[str, str]) -> list[Symptom]:
    """Return known problems of the installed distributions (name to version), of which `machine` has the frameworks."""
    rows, wheels = [], machine.tensorflows
    if len(wheels) > 1:
        rows.append(
            of_sentence(
                "several-tensorflows", overwritten(wheels, "pip install 'tensorflow>=2.18'"), "observed in this project"
            )
        )
    elif "tensorflow-tpu" in wheels and (text := tpu_tensorflow_problem(machine)):
        rows.append(of_sentence("tensorflow-tpu-unfit", text, "Kaggle/docker-python#1499"))
    if "tensorflow-tpu" in wheels and "jax" in machine.installed and (text := jax_problem(machine, "tpu")):
        rows.append(of_sentence("libtpu-overwritten", text, "jax#29989"))
    if "tensorflow-datasets" in installed and "importlib_resources" not in installed:
        rows += [row for row in SYMPTOMS if row.name == "importlib-resources-missing"]
    return rows


def printed_problems(text: str, device: str) -> list[Symptom]:
    """Return the known failures in what a framework printed, without notices, and without those of GPUs on a CPU."""
    rows = [row for row in explain(text) if row.level != HARMLESS]
    return [row for row in rows if device != "cpu" or row.name not in IRRELEVANT_ON_CPU]


def of_sentence(name: str, text: str, source: str) -> Symptom:
    """Return a problem given as "what is wrong; what to do"."""
    meaning, _, fix = text.partition("; ")
    return Symptom(name, (), meaning, fix, source)
