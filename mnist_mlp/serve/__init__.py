"""`python -m mnist_mlp.serve`: serve the model of a run over HTTP, with a page to draw on."""
