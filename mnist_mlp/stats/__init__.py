"""Metrics of a classifier, and the distributions that judge them."""
