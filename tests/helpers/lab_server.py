"""The lab's server as a process, and its page in a browser."""

import contextlib
import signal
import subprocess
import time

from helpers import fork_server


@contextlib.contextmanager
def lab_server(*flags, lines=1, **options):
    """A server on a free port until the end of the block: (process, its first lines)."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with fork_server.start("lab", "--port=0", *flags, backend=None, **pipes, **options) as process:
        try:
            first = [process.stdout.readline() for _ in range(lines)]
            if not first[0]:
                raise AssertionError(process.stderr.read())
            yield process, first
        finally:
            process.kill()


def stop(process, signum=signal.SIGTERM):
    """End it; return its exit code and what it printed last."""
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


class Tab:
    """A page of the lab in a browser, and what went wrong in it."""

    def __init__(self, page, url):
        self.page, self.url, self.wrong, self.foreign = page, url, [], []
        self.events = {
            "console": self.note_message,
            "pageerror": lambda error: self.wrong.append(str(error)),
            "requestfailed": lambda request: self.note_failure(request.url),
            "response": lambda answer: self.note_failure(answer.url) if answer.status >= 400 else None,
            "request": lambda request: self.note_request(request.url),
        }
        for event, heard in self.events.items():
            page.on(event, heard)

    def note_message(self, message):
        if message.type != "log" and "icon" not in message.location.get("url", ""):
            self.wrong.append(message.text)

    def note_failure(self, address):
        if "icon" not in address:  # the browser asks for it late, perhaps after the page was left
            self.wrong.append(address)

    def note_request(self, address):
        if not address.startswith((self.url, "blob:")):
            self.foreign.append(address)

    def close(self):
        """Hear no more of the page."""
        for event, heard in self.events.items():
            self.page.remove_listener(event, heard)

    def open(self, fragment=""):
        """Load the page anew, with this address."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/{fragment}")
        self.until("document.querySelectorAll('.node').length > 0")
        return self

    def until(self, condition, seconds=60):
        """Wait for a condition in JavaScript; Playwright's own way would need eval, which the page's policy forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(20)

    def text(self, selector):
        return self.page.locator(selector).first.inner_text()

    def epoch(self):
        return int(self.text("#epoch").replace(",", ""))

    def loss(self, part="test"):
        return float(self.text(f".losses .{part}-loss"))

    def address(self):
        """The keys of the address, as a dictionary."""
        pairs = self.page.evaluate("location.hash")[1:].split("&")
        return dict(pair.split("=", 1) for pair in pairs)

    def drawn(self):
        """Wait until two frames have been drawn."""
        self.page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")

    def pixel(self, selector, x, y):
        """The colour of a canvas at a place, in shares of its width and height: [red, green, blue]."""
        return self.page.evaluate(
            """([selector, x, y]) => {
                const canvas = document.querySelector(selector);
                const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
                copy.drawImage(canvas, 0, 0);
                const [column, row] = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
                return [...copy.getImageData(column, row, 1, 1).data].slice(0, 3);
            }""",
            [selector, x, y],
        )
