"""Where the oracle is, and its own program: a database of real chat and the profiles it must give."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType


def find() -> Path | None:
    """ORACLE_DIR, else `shared/oracle` beside the checkout or beside a folder above it."""
    if given := os.environ.get("ORACLE_DIR"):
        return Path(given)
    for parent in Path(__file__).resolve().parents:
        if (found := parent / "shared" / "oracle").is_dir():
            return found
    return None


def program(folder: Path) -> ModuleType:
    """`oracle.py` itself, so that a test and a person run the same check."""
    spec = importlib.util.spec_from_file_location("oracle_program", folder / "oracle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
