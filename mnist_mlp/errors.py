"""The exceptions whose message is for the user; any other exception is a bug."""


class UserError(Exception):
    """Something that the user can fix.

    The message is one line. For a value that the user typed: what was expected, what was received, what to try. For
    an event: what happened and what to do. A program prints it on standard error without a traceback and exits with
    `exit_code` (see `cli/program.py`).
    """

    exit_code = 2
    prefix = "error: "


class Diverged(UserError):
    """The loss or a weight became infinite or NaN, and training stopped."""

    exit_code = 3


class Refuted(UserError):
    """A claim that the program tested does not hold. Neither the user nor the program made a mistake."""

    exit_code = 4
    prefix = ""


class Stopped(UserError):
    """The run stopped on request with everything saved; the message says how to resume it."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later
    prefix = ""
