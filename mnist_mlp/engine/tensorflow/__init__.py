"""The compiled engine on TensorFlow. The folder jax has the same four files."""
