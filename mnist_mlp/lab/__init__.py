"""The lecture, runnable: each program here puts a question to the software and gets a measured answer."""
