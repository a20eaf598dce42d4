"""`python -m mnist_mlp.tune`: which method, with which hyper-parameters, predicts best."""
