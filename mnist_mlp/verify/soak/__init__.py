"""Train the same thing again and again on every device, and compare every bit: `python -m mnist_mlp.verify --soak`."""
