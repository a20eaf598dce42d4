"""The script by which bash completes commands, flags and choices: `mnist-mlp completion bash`."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence

from mnist_mlp.config import Config

SCRIPT = """\
# Completion of mnist-mlp in bash. To use it: source <(mnist-mlp completion bash)
_mnist_mlp() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} words=
    if [ "$flag" = = ]; then flag=${COMP_WORDS[COMP_CWORD-2]}; elif [ "$cur" = = ]; then cur=; fi
    case "$COMP_CWORD ${COMP_WORDS[1]} ${cur:0:1} $flag" in
        CASES
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace
}
complete -o default -F _mnist_mlp mnist-mlp
"""


def bash(commands: Sequence[str]) -> str:
    """Return the script. It knows the flags of each command; where it knows nothing, bash completes file names."""
    cases = [f'1\\ *) words="{" ".join(commands)}" ;;']
    for name in commands:
        module = importlib.import_module(f"mnist_mlp.{name}")
        if hasattr(module, "__path__"):  # a folder
            module = importlib.import_module(f"mnist_mlp.{name}.command")
        fields = dataclasses.fields(getattr(module, "Options", Config))
        flags = [f"--{field.name}{'' if field.metadata['kind'] in (bool, tuple) else '='}" for field in fields]
        cases.append(f'*\\ {name}\\ -\\ *) words="{" ".join([*flags, "--help"])}" ;;')
        choices = {field.name: " ".join(field.metadata["choices"]) for field in fields if field.metadata["choices"]}
        cases += [f'*\\ {name}\\ *\\ --{flag}) words="{known}" ;;' for flag, known in choices.items()]
    return SCRIPT.replace("CASES", "\n        ".join(cases))
