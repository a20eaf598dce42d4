"""One training: the loop over epochs, optimizers, callbacks, and what is written on the way."""
