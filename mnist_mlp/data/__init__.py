"""Data sets: loading, verification by content hash, batch indices, and your own pictures."""

from mnist_mlp.data.array_files import NotFound
from mnist_mlp.data.dataset import Dataset, Split, checked_own, load

__all__ = ["Dataset", "NotFound", "Split", "checked_own", "load"]
