"""Errors that reach the person who runs a command."""


class OperatorError(Exception):
    """Something that only the operator can mend: a missing server, a wrong URL, an unknown group, a read-only folder.

    The text names the thing, its value and the way out, in one line. A command prints it to standard error and ends
    with exit code 2; it never shows a traceback.
    """
