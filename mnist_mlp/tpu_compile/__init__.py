"""`python -m mnist_mlp.tpu_compile`: compiles a run for TPUs where there is none."""
