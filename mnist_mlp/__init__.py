"""MNIST with Keras: trained, evaluated and served with the same numbers on every device.

The package imports nothing at this level, so that `import mnist_mlp` is free. Start reading at `train.py`.
"""

__version__ = "0.1.0"
