#!/bin/bash
# Open MPI: one training over several processes, on this machine or on those of a host file.
#
#   open_mpi.sh 2 --preset=smoke                                      two processes here
#   MPIRUN='mpirun --hostfile hosts' open_mpi.sh 4 --run_dir=run      four on several machines, this one among them
#
# The first argument is the number of processes, the others are flags of mnist_mlp.train. PYTHON names a Python that has
# mnist_mlp, on every machine; of several machines, this one must come first in the host file. Open MPI only starts the
# processes: nothing else of it is used.
set -eu
processes=${1:?usage: open_mpi.sh PROCESSES [flags of mnist_mlp.train]}
shift
# --bind-to none: otherwise each process computes on one core. When one fails, mpirun ends the others with its exit code.
# shellcheck disable=SC2086  # MPIRUN is a command with its options
exec ${MPIRUN:-mpirun} -n "$processes" --bind-to none \
    "${PYTHON:-python3}" -m mnist_mlp.train --strategy=multiworker "$@"
