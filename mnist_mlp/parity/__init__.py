"""`python -m mnist_mlp.parity`: whether a device computes what the formulas say."""
