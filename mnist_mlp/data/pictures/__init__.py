"""Digits of your own: pictures of any kind, brought into MNIST's frame."""
