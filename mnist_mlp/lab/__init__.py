"""The lecture as programs: each answers a question about neural networks by measuring it."""
