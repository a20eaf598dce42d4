"""`python -m mnist_mlp.serve`: a run as a web server with a page to draw on."""
