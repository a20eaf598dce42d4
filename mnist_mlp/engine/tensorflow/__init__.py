"""The compiled engine on TensorFlow; the same four files as in the folder jax."""
