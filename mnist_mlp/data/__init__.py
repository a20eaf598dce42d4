"""The data sets: loading, verification by content hash, the batches of an epoch, and pictures of your own."""

from mnist_mlp.data.dataset import Dataset, Split, load

__all__ = ["Dataset", "Split", "load"]
