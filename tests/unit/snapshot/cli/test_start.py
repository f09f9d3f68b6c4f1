"""Ctrl-C in the first second of each program: it ends at once, without a word, and not with another outcome's code."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPTS = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
INTERRUPTED = """
import importlib, os, signal
imported = importlib.import_module
def interrupted(name):
    importlib.import_module = imported
    {interrupt}
    return imported(name)
importlib.import_module = interrupted
"""
NOW = "os.kill(os.getpid(), signal.SIGINT)"


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_while_it_imports(name: str) -> None:
    module, function = SCRIPTS[name].split(":")
    done = run(INTERRUPTED.format(interrupt=NOW) + f"from {module} import {function} as main; main()", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_as_soon_as_it_runs_and_while_python_ends() -> None:
    code = "import os, signal, sys, types\nthere = types.ModuleType('there')\nsys.modules['there'] = there\n"
    code += "from snapshot.cli.start import start\nthere.main = lambda: {main}\nstart('there', 'main')\n"
    done = run(code.format(main=NOW))
    assert (done.returncode, done.stderr) == (130, "")
    done = run(code.format(main="None") + NOW)
    assert (done.returncode, done.stderr) == (-2, "")


def test_where_it_is_ignored_it_stays_so() -> None:
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + INTERRUPTED.format(interrupt=NOW)
    done = run(code + "from snapshot.cli.start import wb; wb()", "signal-profile", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout
