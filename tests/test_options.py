"""Options are declared once: their tags, and the lists of names that follow from them."""

import dataclasses

import pytest

from mnist_mlp import config
from mnist_mlp.cli import flags
from mnist_mlp.config import Config
from mnist_mlp.options import AFFECTS, GROUPS, option, option_of, tagged


def extended(name, **fields):
    """The options of a run, and others."""
    return dataclasses.make_dataclass(
        name, [(key, object, field) for key, field in fields.items()], bases=(Config,), frozen=True
    )


def test_every_option_of_a_run_has_its_tags():
    by_group = [tagged(Config, group=group) for group in GROUPS]
    by_effect = [tagged(Config, affects=effect) for effect in AFFECTS]
    names = sorted(field.name for field in dataclasses.fields(Config))
    for parts in (by_group, by_effect):
        assert all(parts) and sorted(sum(parts, ())) == names


@pytest.mark.parametrize("tags", [{}, {"group": "model"}, {"affects": "result"}])
def test_an_option_without_its_tags_is_refused(tags):
    """As `config.py` makes lists when it is imported, nobody can forget the tags of a new option."""
    new = extended("New", dropout=option(0.0, "fraction of the units dropped", **tags))
    with pytest.raises(TypeError, match="option 'dropout' of New needs the tags group=… and affects=…"):
        tagged(new, may_differ="resume")


def test_an_unknown_tag_is_refused():
    with pytest.raises(ValueError, match="unknown tags: modle"):
        option(0, "help", group="modle")


def test_an_option_of_another_program_keeps_its_tags():
    evaluate = dataclasses.make_dataclass("Evaluate", [("tpu", str, option_of(Config, "tpu"))])
    assert tagged(evaluate, group="device", affects="machine") == ("tpu",)


def test_the_lists_that_follow_from_the_tags():
    assert config.RECIPE == ("schedule", "warmup", "weight_decay", "label_smoothing", "ema", "augment")
    assert config.DATA == ("dataset", "data_dir", "data_source")
    assert config.DEVICE[:2] == ("strategy", "backend") and "worker_index" in config.DEVICE
    assert {"epochs", "dataset", "strategy", "keep", "json"} <= set(config.FREE)
    assert not {"preset", "seed", "engine", *tagged(Config, group="model")} & set(config.FREE)
    assert tagged(Config, affects="process") == ("config", "worker_index", "resume", "run_dir", "json", "quiet")
    assert {"data_dir", "workers", "keep", "json"} <= set(tagged(Config, may_differ="workers"))
    assert not {"checkpoint_every", "seed", "strategy"} & set(tagged(Config, may_differ="workers"))


def test_many_flags_stand_under_headings():
    page = flags.help_text(list(dataclasses.fields(Config)), "train", "About.")
    sections = dict(part.split(":\n", 1) for part in page.split("\n\n")[2:])
    assert list(sections) == list(GROUPS.values())
    assert "--schedule=" in sections["training recipe"] and "--schedule=" not in sections["training"]
    for group, heading in GROUPS.items():
        shown = [line.split()[0] for line in sections[heading].splitlines() if line.startswith("  --")]
        assert [flag.lstrip("-").partition("=")[0] for flag in shown] == list(tagged(Config, group=group))


def test_flags_of_one_program_come_before_those_it_shares():
    options = extended("Options", topology=option("", "what to compile for"))
    page = flags.help_text(list(dataclasses.fields(options)), "tpu_compile", "About.")
    assert page.index("\nflags:\n  --topology=TEXT") < page.index("\nmodel:\n")
