"""The server: a trained network behind REST, and a page to draw a digit on."""
