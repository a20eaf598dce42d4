"""`python -m mnist_mlp.doctor`: what this machine has, what `train` would choose, and known problems."""
