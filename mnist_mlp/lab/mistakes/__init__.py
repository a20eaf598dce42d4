"""`python -m mnist_mlp.lab.mistakes`: the classic mistakes, made on purpose and diagnosed."""
