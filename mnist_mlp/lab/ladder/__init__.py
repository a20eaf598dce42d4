"""`python -m mnist_mlp.lab.ladder`: from a straight line to a convolution, step by step."""
