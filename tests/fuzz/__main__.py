"""`python -m fuzz --minutes 10`: any bytes against everything that reads foreign ones.

With atheris, inputs are led by what they reach; without it, Hypothesis makes them of the target's tokens. What was
found is kept in .cache/fuzz, so that the next run begins there. Exit code 1 where a promise was broken.
"""

import argparse
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz import growth
from fuzz.random_inputs import search
from fuzz.target import Target

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "fuzz"
GUIDED = importlib.util.find_spec("atheris") is not None
_LONGEST = 4096


def targets() -> dict[str, Target]:
    """All targets; imported late, as atheris instruments what is imported."""
    from fuzz.documents import DOCUMENTS  # noqa: PLC0415
    from fuzz.words import WORDS  # noqa: PLC0415

    return {**WORDS, **DOCUMENTS}


def guided(name: str, seconds: float) -> None:
    """Fuzz one target in this process until the time is over, or a promise is broken; never returns."""
    import atheris  # noqa: PLC0415

    (FOLDER / name / "corpus").mkdir(parents=True, exist_ok=True)
    (FOLDER / name / "tmp").mkdir(exist_ok=True)
    tempfile.tempdir = str(FOLDER / name / "tmp")  # libFuzzer ends the process without any clearing up
    with atheris.instrument_imports(include=["projections", "snapshot", "consumer"]):
        target = targets()[name]
    folder = FOLDER / name
    for number, seed in enumerate(target.seeds):
        (folder / "corpus" / f"seed-{number}").write_bytes(seed)
    tokens = ["".join(f"\\x{byte:02x}" for byte in token.encode()[:60]) for token in target.tokens if token]
    (folder / "tokens").write_text("".join(f'"{token}"\n' for token in tokens))
    options = {
        "max_total_time": max(1, round(seconds)),
        "max_len": _LONGEST,
        "rss_limit_mb": 2048,
        "timeout": 60,
        "dict": folder / "tokens",
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    words = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *words, str(folder / "corpus")], lambda data: target.check(data) and None)
    atheris.Fuzz()


def fuzz(name: str, seconds: float) -> tuple[int, str | None]:
    """Fuzz one target: how many inputs, and what was found."""
    if not GUIDED:
        return search(targets()[name], seconds)
    words = [sys.executable, "-m", "fuzz", "--one", name, "--seconds", str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    stats = re.search(r"number_of_executed_units: +(\d+)", done.stderr)
    kept = re.search(r"Test unit written to (\S+)", done.stderr)
    trouble = f"{done.stdout[-2000:]}{done.stderr[-1500:]}" if done.returncode else None
    return int(stats[1]) if stats else 0, trouble and f"{kept[1] if kept else ''}\n{trouble}"


def grow(name: str, seconds: float, source: random.Random) -> tuple[int, str | None]:
    """Look for inputs of one target whose time grows too fast: how many were tried, and the first that was found."""
    target, tried = targets()[name], 0
    end = time.monotonic() + (seconds if target.linear else 0)
    for one in growth.inputs(target, source):
        if time.monotonic() >= end:
            break
        tried += 1
        try:
            ratio = growth.too_fast(target, *one)
        except Exception:  # noqa: BLE001 - a broken promise, of a longer input than those of the search
            return tried, f"{one}\n{traceback.format_exc()[-2000:]}"
        if ratio is not None:
            return tried, f"twice the input takes {ratio:.1f} times as long: {one}"
    return tried, None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", default="", help="names of targets, with commas")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        guided(options.one, options.seconds)
    names = [name for name in targets() if not options.only or name in options.only.split(",")]
    share, source = 60 * options.minutes / len(names), random.Random(options.seed)  # noqa: S311 - no secret
    failed = []
    _say(f"{len(names)} targets, {share:.0f} s each, {'atheris' if GUIDED else 'Hypothesis'}, seed {options.seed}")
    for name in names:
        tried, trouble = fuzz(name, 0.75 * share)
        doubled, fast = grow(name, 0.25 * share, source)
        broken = [f"{name}: {found}" for found in (trouble, fast) if found]
        _say(f"{name:10} {tried:12,} inputs, {doubled:6,} doubled: {'FAILED' if broken else 'ok'}")
        failed += broken
    _say("\n\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
