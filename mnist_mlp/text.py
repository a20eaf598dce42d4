"""Text for people: quoted values, "did you mean", notes, tables."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from typing import Any


def quoted(value: Any) -> str:
    """Return a value as a message shows it: text in quotes, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def spelled_out(text: str) -> str:
    """Return the text on one line, safe for a terminal and for UTF-8.

    Characters that cannot be printed, such as control and direction marks, are escaped as in Python: \\n, \\x1b,
    \\u202e, \\udcff.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


# Options as other programs call them: of each name, the words for it elsewhere. Where a program has two of the names,
# the first one counts.
ELSEWHERE = {
    "learning_rate": "lr eta step_size base_lr init_lr initial_learning_rate learning_rate_init",
    "batch_size": "bs batch batchsize minibatch minibatch_size mini_batch_size train_batch_size per_device_batch_size",
    "epochs": "epoch ep n_epochs num_epochs nb_epoch nb_epochs max_epochs num_train_epochs",
    "steps": "n_steps num_steps max_steps iterations iters n_iter max_iters",
    "strategy": "device devices gpu gpus cuda use_cuda use_gpu no_cuda no_gpu num_gpus n_gpus accelerator platform mps",
    "replicas": "num_replicas n_replicas world_size nproc nproc_per_node",
    "worker_index": "rank local_rank node_rank task_index",
    "workers": "hosts nodes cluster",
    "backend": "framework keras_backend",
    "schedule": "lr_schedule lr_scheduler lr_decay learning_rate_schedule scheduler sched",
    "warmup": "warmup_ratio warmup_steps warmup_epochs",
    "weight_decay": "wd decay l2",
    "optimizer": "optim opt optimiser solver",
    "label_smoothing": "smoothing",
    "ema": "ema_decay model_ema polyak",
    "augment": "aug augmentation augmentations data_augmentation",
    "model": "arch architecture net network model_name hidden hidden_size hidden_sizes hidden_units hidden_layer_sizes",
    "dataset": "dataset_name data_set",
    "data_dir": "data data_path data_root dataroot datadir dataset_dir dataset_path root path_to_data",
    "validation_fraction": "val_fraction validation_split val_split val_size valid_size validation_size dev_split",
    "precision": "dtype amp fp16 bf16 half mixed_precision",
    "early_stopping": "patience early_stop early_stopping_patience",
    "checkpoint_every": "save_every save_freq save_steps checkpoint_freq checkpoint_interval ckpt_every",
    "keep": "max_to_keep save_total_limit keep_checkpoints",
    "resume": "resume_from resume_from_checkpoint restore continue auto_resume",
    "output": "out o outfile out_file output_file save_to",
    "run_dir": (
        "out outdir out_dir output_dir save_dir logdir log_dir workdir work_dir model_dir save_path checkpoint ckpt "
        "checkpoint_dir checkpoint_path weights model_path load"
    ),
    "seed": "random_seed random_state manual_seed rng_seed",
    "seeds": "repeats n_seeds num_seeds",
    "trials": "n_trials num_trials max_trials",
    "jobs": "n_jobs num_workers n_workers",
    "quiet": "silent q",
    "tensorboard": "tb use_tensorboard",
    "input": "image images img file files picture pictures source src",
    "images": "image img input picture pictures files folder image_dir images_dir img_dir",
    "show": "plot display view visualize",
    "host": "bind address addr ip listen interface server_name",
    "port": "p server_port rest_api_port http_port",
    "origin": "origins cors cors_origin cors_origins allow_origin allow_origins allowed_origin allowed_origins",
    "behind_proxy": "proxy trust_proxy proxy_headers forwarded_allow_ips root_path base_url prefix",
}


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean 'X'?" for the known word that is closest or means the same, or "" if there is none."""
    name = word.lower().lstrip("-").replace("-", "_")
    dashes = "--" if word.startswith("--") else ""
    same = [dashes + ours for ours, theirs in ELSEWHERE.items() if name in theirs.split() and dashes + ours in known]
    bare = {each.lstrip("-"): each for each in known}  # the dashes that all flags share say nothing
    close = same[:1] or [bare[each] for each in difflib.get_close_matches(word.lower().lstrip("-"), bare, 1, 0.6)]
    return f"; did you mean {close[0]!r}?" if close else ""


def remarks(notes: list[str]) -> list[str]:
    """Return notes that must not be overlooked: wrapped, and marked with an exclamation mark."""
    return [textwrap.fill(note, 110, initial_indent="  !      ", subsequent_indent=" " * 9) for note in notes]


def division(examples: int, batch: int, steps: int) -> str:
    """Return the division behind a number of steps: "60000/32 = 1875", rounded up "10000/32 → 313"."""
    return f"{examples}/{batch} {'=' if steps * batch == examples else '→'} {steps}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table: the first column aligned left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
