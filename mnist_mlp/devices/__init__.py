"""Which device computes: what the machine has, the choice among it, and several processes."""

from mnist_mlp.devices.strategy import Plan, plan

__all__ = ["Plan", "plan"]
