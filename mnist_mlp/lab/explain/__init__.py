"""`python -m mnist_mlp.lab.explain`: the lecture's claims, each measured."""
