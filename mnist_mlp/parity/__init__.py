"""Whether a device computes what the formulas say: see `__main__` for the program."""
