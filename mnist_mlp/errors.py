"""The one exception that speaks to the user; every other exception is a bug."""


class UserError(Exception):
    """Something that the user can mend.

    The message is one line: what was expected, what was received, what to type next. A driver prints
    it on standard error without a traceback and exits with code 2 (see `command.run`).
    """
