"""Pictures of a person's own digits: from a file of any kind to a digit in MNIST's frame."""
