"""`python -m mnist_mlp.lab.explain`: the claims of the lecture, each checked by a measurement."""
