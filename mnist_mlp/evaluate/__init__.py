"""`python -m mnist_mlp.evaluate`: score the saved model of a run."""
