"""`python -m mnist_mlp.tune`: choose a method and its hyper-parameters by cross-validation."""
