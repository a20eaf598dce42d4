"""The compiled engine on JAX. The folder tensorflow has the same four files."""
