"""`python -m mnist_mlp.report`: write the page of a run, or compare several runs."""
