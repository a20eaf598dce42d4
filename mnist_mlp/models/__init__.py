"""The networks, their initial weights, and the files that hold them."""
