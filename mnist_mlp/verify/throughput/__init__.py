"""The stage that measures how fast a device trains: what it takes, whether that can be true, and whether it pays."""

from mnist_mlp.verify.throughput.stage import measure

__all__ = ["measure"]
