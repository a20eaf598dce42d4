"""`python -m mnist_mlp.report`: the page of a run, and of several runs side by side."""
