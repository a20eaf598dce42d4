"""`python -m mnist_mlp.lab.mistakes`: classic training mistakes, made on purpose and diagnosed."""
