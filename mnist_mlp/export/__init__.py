"""The model of a run in the formats of other runtimes, each file checked against the trained model."""
