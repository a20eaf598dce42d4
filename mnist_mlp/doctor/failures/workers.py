"""Several worker processes that are to find one another."""

from mnist_mlp.doctor.failures.symptom import Symptom

SYMPTOMS = (
    Symptom(
        "worker-unreachable",
        ("failed to connect to all addresses", "Connection refused", "No route to host"),
        "nothing listens at that address and port: the other process has not started or has ended, the name means "
        "another machine, or a firewall is between them",
        "look at the end of the other worker's output first; then run nc -vz HOST PORT from here; all workers need the "
        "same --workers and their own --worker_index",
        "tensorflow#57760, tensorflow#17852",
    ),
    Symptom(
        "workers-waited-too-long",
        (
            "Barrier timed out",
            "heartbeat timeout",
            "Deadline Exceeded",
            "DEADLINE_EXCEEDED",
            "has been set to ERROR in coordination service",
        ),
        "a worker waited for the others in vain: one of them failed, was stopped, or was never started",
        "look for the first error in the output of all workers; start as many as --workers names, within "
        "--start_timeout",
        "jax#23599, ayaka14732/llama-2-jax#20, tensorflow#60706",
    ),
    Symptom(
        "tf-config-wrong",
        (
            "is not a valid task_type in the cluster_spec",
            r"is not set in TF_CONFIG",
            r"Task \d{1,4} was not defined in job",
        ),
        "TF_CONFIG names a worker or an index that its own list of the cluster does not have",
        "run unset TF_CONFIG and use --workers=A:PORT,B:PORT --worker_index=N, or write "
        '{"cluster": {"worker": ["A:PORT", "B:PORT"]}, "task": {"type": "worker", "index": 0}}',
        "tensorflow#17854, kubeflow/trainer#1763",
    ),
)
