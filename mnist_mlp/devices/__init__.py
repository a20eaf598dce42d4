"""Device selection: what the machine has, which device a run takes, and how several processes start together."""

from mnist_mlp.devices.strategy import Plan, acquainted, plan

__all__ = ["Plan", "acquainted", "plan"]
