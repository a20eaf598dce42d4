"""What a program reports, kept for a test."""

from mnist_mlp.cli.terminal import Reporter


class Lines(Reporter):
    """Keeps each line that is reported, in `lines`."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        self.lines.append(text)
