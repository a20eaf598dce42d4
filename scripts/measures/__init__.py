"""What `scripts/benchmark.py` measures, a module for each kind of measure. See there for what each one is."""
