"""`python -m mnist_mlp.lab`: the lecture's Playground as a local page, which works offline."""
