"""`python -m mutation`: mutmut's run over the pure rooms and the guard, and what it found.

What is mutated and which tests are run stands in pyproject.toml. Results are kept in mutants/ while code and tests stay
as they are, so that a run that was cut off goes on. Exit code 1 where less than 97 % are killed, or where one that
survived does not stand in docs/dev/mutants.md.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "mutants"
PAGE = ROOT / "docs" / "dev" / "mutants.md"
MUTMUT = Path(sys.executable).with_name("mutmut")
DEMANDED = 0.97
KILLED = (1, 3, 24, -24, 36, 152, 255)
"""mutmut's exit codes where a test failed, or ran for ever; all others survived, or were not run."""


def _state_of_code() -> str:
    """Another one means other mutants, or other tests."""
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for folder in ("consumer", "projections", "snapshot", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _results() -> Iterator[tuple[str, dict[str, int | None]]]:
    """For each module its mutants, with the exit codes of their tests; None for one that was not run."""
    for path in sorted(FOLDER.rglob("*.meta")):
        found = json.loads(path.read_bytes())["exit_code_by_key"]
        if found:
            yield path.relative_to(FOLDER).with_suffix("").as_posix(), found


def _difference(mutant: str) -> tuple[str, str]:
    """The lines that a mutant takes out and puts in."""
    shown = subprocess.run([MUTMUT, "show", mutant], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    old, new = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return " ".join(old), " ".join(new)


def _report() -> int:
    page = PAGE.read_text()
    git = ("git", "-C", ROOT, "log", "-1", "--format=%h")
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    total = lived = 0
    known, unknown = list[str](), list[str]()
    print(f"commit {commit}", "", "| module | mutants | killed | survived |", "|---|---|---|---|", sep="\n")
    for module, found in _results():
        alive = [name for name, code in found.items() if code not in KILLED]
        total, lived = total + len(found), lived + len(alive)
        print(f"| `{module}` | {len(found):,} | {len(found) - len(alive):,} | {len(alive)} |")
        for name in alive:
            old, new = _difference(name)
            (known if f"`{new}`" in page else unknown).append(f"{name}\n  - {old}\n  + {new}")
    share = 1 - lived / total
    print(f"| all | {total:,} | {total - lived:,} ({share:.1%}) | {lived} |\n")
    print(f"{len(known)} survivors stand in {PAGE.relative_to(ROOT)}; {len(unknown)} do not:", *unknown, sep="\n")
    return 1 if unknown or share < DEMANDED else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    state, kept = _state_of_code(), FOLDER / "state"
    if FOLDER.exists() and not (kept.exists() and kept.read_text() == state):
        shutil.rmtree(FOLDER)
    FOLDER.mkdir(exist_ok=True)
    kept.write_text(state)
    code = subprocess.run([MUTMUT, "run", "--max-children", str(options.jobs)], cwd=ROOT, check=False).returncode
    return code or _report()


sys.exit(main())
