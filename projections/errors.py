"""Errors that reach the person who runs a command. Here, so that a command without a database needs no SQLAlchemy."""


class OperatorError(Exception):
    """Something that only the operator can fix: a missing server, a wrong URL, an unknown group, a read-only folder.

    The text names the thing, its value and the fix, in one line. A command prints it to standard error and ends with
    exit code 2, without a traceback.
    """


class DatabaseUnavailableError(Exception):
    """The database cannot be read just now: locked, restarting, being replaced. Trying again later is right."""


class UnreachableError(OperatorError):
    """A server does not answer: it may not have started yet, or its address is wrong."""


class NotMadeYetError(OperatorError):
    """A server's database has no table of WhiteBalloon's: it may not have made them yet, or it is another database."""
