"""The exceptions that speak to the user; every other exception is a bug."""


class UserError(Exception):
    """Something that the user can mend.

    The message is one line: what was expected, what was received, what to type next. A driver prints
    it on standard error without a traceback and exits with `exit_code` (see `cli/program.py`).
    """

    exit_code = 2
    prefix = "error: "


class Diverged(UserError):
    """The loss or a weight is no longer a finite number: training was stopped."""

    exit_code = 3


class Refuted(UserError):
    """What was to be shown does not hold here: no mistake of the user's, and no error of the program's."""

    exit_code = 4
    prefix = ""


class Stopped(UserError):
    """The run was asked to stop, did so in good order, and can go on: the message says how."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later
    prefix = ""
