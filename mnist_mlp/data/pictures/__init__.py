"""Your own digits: pictures of any kind, brought into MNIST's frame."""
