"""A run as a web page: one file that opens anywhere, without a network, a library or a script in it."""
