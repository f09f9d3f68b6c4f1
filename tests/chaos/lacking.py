"""What this machine would need for a run."""

import shutil

from chaos.traits import Mode
from projections.errors import OperatorError
from projections.store.redis.embedded import server_binary
from support.postgres_server import binary


def lacking(mode: Mode) -> str | None:
    """Say what is not there; None: nothing."""
    programs = ["java", "mvn"] if mode == "kafka" else []
    missing = [name for name in programs if shutil.which(name) is None]
    missing += [name for name in ("initdb", "postgres") if binary(name) is None]
    try:
        server_binary()
    except OperatorError as error:
        missing.append(str(error))
    return f"not found: {', '.join(missing)}" if missing else None
