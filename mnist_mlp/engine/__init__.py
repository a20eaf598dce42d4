"""Train and score a model on a device that holds the model, its optimizer and the data."""
