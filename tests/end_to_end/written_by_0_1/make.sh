#!/usr/bin/env bash
# Makes the files beside this one anew, by mnist_mlp 0.1: see README.md.
#
# usage: tests/written_by_0_1/make.sh CHECKOUT      with the root of a checkout of commit 3434853, which has its .venv
set -eu
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
base=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # all places are relative to it, so that no file names it
export PYTHONPATH=$base CUDA_VISIBLE_DEVICES=-1 MNIST_MLP_CACHE=off
python=$base/.venv/bin/python
program() { "$python" -m "mnist_mlp.$1" "${@:2}"; }

# PATCH, and then the program: to stop it at a place of its work instead of at a time.
stopped() {
    status=0
    "$python" -c "
import os, signal, sys
name, patch = sys.argv[1:3]
del sys.argv[1:3]
from mnist_mlp import chatter; chatter.silence()
import importlib
from mnist_mlp import command
main = importlib.import_module('mnist_mlp.' + name).main
exec(patch)
command.run(main)" "$@" || status=$?
    echo "exit code $status"
}

at_a_call='
from mnist_mlp import training
from mnist_mlp.engine import calls
calls.SECONDS_PER_CALL = 1e9  # the length of the calls is not measured, so it is the same on every machine
call = training.Training.call
def counted(self, order):
    if self.done >= STEP:
        os.kill(os.getpid(), signal.SIGNAL)
    call(self, order)
training.Training.call = counted
'
at() { sed "s/STEP/$1/; s/SIGNAL/$2/" <<<"$at_a_call"; }

common=(--dataset=digits --batch_size=64 --epochs=3 --keep=1 --strategy=cpu)
softmax=("${common[@]}" --model=softmax --optimizer=sgd --learning_rate=0.5 --schedule=cosine --warmup=0.2 --ema=0.9
    --checkpoint_every=20steps --backend=jax)

program train "${common[@]}" --model=mlp --optimizer=sgd --learning_rate=0.1 --backend=tensorflow \
    --run_dir=finished_tensorflow
program train "${softmax[@]}" --run_dir=finished_jax
program predict --run_dir=finished_tensorflow --strategy=cpu --backend=tensorflow --output=finished_tensorflow.csv
program predict --run_dir=finished_jax --strategy=cpu --backend=jax --output=finished_jax.csv
program export --run_dir=finished_jax --strategy=cpu --backend=tensorflow

export KERAS_BACKEND=tensorflow
stopped train "$(at 36 SIGINT)" "${common[@]}" --model=softmax --validation_fraction=0.2 --csv \
    --checkpoint_every=20steps --backend=tensorflow --run_dir=stopped_tensorflow
export KERAS_BACKEND=jax
stopped train "$(at 40 SIGKILL)" "${softmax[@]}" --run_dir=killed_jax
unset KERAS_BACKEND

search=(--study_dir=study --dataset=digits --methods=softmax,tree --folds=2 --pruning=none --strategy=cpu
    --backend=tensorflow --space softmax.epochs=1,2 softmax.batch_size=64 softmax.learning_rate=0.003)
program tune --trials=2 "${search[@]}"
stopped tune '
from mnist_mlp.tuning import study
add = study.Trial.add
def killed(self, score):
    add(self, score)
    os.kill(os.getpid(), signal.SIGKILL)
study.Trial.add = killed
' --trials=3 "${search[@]}"

program parity --model=softmax --steps=1 --batch_size=512 --strategy=cpu --backend=tensorflow \
    --write=parity_softmax.npz --certificate=parity_softmax.json

# The pages are of no use here; the checkpoint of the larger network is. The lock names the machine.
rm -r finished_*/report.html finished_tensorflow/checkpoints
rm -f {killed_jax,study}/.mnist_mlp.lock
if grep -rlaF -e "$work" -e "$base" -e " on $(hostname)" .; then
    echo "these files name a place of this machine" >&2
    exit 1
fi
for name in *; do
    rm -rf "${here:?}/$name"
    mv "$name" "$here"
done
