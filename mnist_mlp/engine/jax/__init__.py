"""The compiled engine on JAX; the same four files as in the folder tensorflow."""
