"""What a device offers: a model, an optimizer and the data set, resident, and whole epochs compiled."""
