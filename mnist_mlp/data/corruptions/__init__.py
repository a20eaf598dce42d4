"""Corrupted images: the fifteen kinds of MNIST-C, and ten others to choose options on (see kinds.py)."""
