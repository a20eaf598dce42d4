"""Networks, their initial weights, and their files."""
