"""`python -m mnist_mlp.export`: export the model of a run to other runtimes, and verify each file."""
