"""Metrics of a classifier, and the distributions that they are tested by."""
