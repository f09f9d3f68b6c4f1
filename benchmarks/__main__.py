"""`make bench`: measures the rows of the table in turns, checks each profile, prints, and keeps the figures.

    python -m benchmarks [--quick] [--rows 'GLOB;GLOB'] [--copies N] [--runs N] [--note TEXT]

A row is named as `short stream: consumer, librdkafka` (--list has all). Ratios are of rows of one run: choose a row
together with what it is compared with. Exit code 1 where a profile is wrong or a row failed; a peer that can't
be had is skipped.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from confluent_kafka import KafkaException
from rich.console import Console

from benchmarks import page, peers, report, results, whiteballoon
from benchmarks.peers import MissingPeerError
from benchmarks.results import Name, Results, Run
from benchmarks.table import Scale, Section, sections

_FAILURES = (RuntimeError, OSError, AssertionError, KafkaException)
"""Of a command, a server, or a wait for either: the other rows are measured all the same."""
QUICK = Scale(copies=3, events=15, changes=30, idle_seconds=10.0)


def main() -> None:
    """Measure."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started ends as well
    words = _words()
    scale = QUICK if words.quick else Scale(whiteballoon.COPIES)
    scale = scale._replace(copies=words.copies or scale.copies)
    chosen = _chosen(sections(scale, quick=words.quick), words.rows)
    if words.list:
        print(*(name for section in chosen for name in section.names()), sep="\n")
        return
    run = results.begin(scale.copies, words.note)
    place = results.place(run, quick=words.quick)
    found = results.load(place)
    console = Console()
    whiteballoon.FOLDER.mkdir(parents=True, exist_ok=True)
    for section in chosen:
        work = Path(tempfile.mkdtemp(prefix="run-", dir=whiteballoon.FOLDER))
        try:
            for line in _measure(section, work, words.runs or (1 if words.quick else 3), found, run):
                console.print(line, soft_wrap=True, highlight=False)
                run.load[1] = os.getloadavg()[0]
                run.versions |= peers.installed()
                results.keep(found, place)
        finally:
            shutil.rmtree(work)
    report.show(found, console)
    if not words.quick:
        page.write(found)
    sys.exit(1 if found.wrong or found.failed else 0)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, compare, keep.")
    parser.add_argument(
        "--quick", action="store_true", help="what tells most in three minutes; kept, but not on the page"
    )
    parser.add_argument("--rows", default="*", help="globs of names, with ';' between them; default: all")
    parser.add_argument(
        "--copies", type=int, help=f"of the oracle's rows; default: {whiteballoon.COPIES}, quick: {QUICK.copies}"
    )
    parser.add_argument("--runs", type=int, help="of each row; the median counts; default: 3, quick: 1")
    parser.add_argument("--note", default="", help="what else has to be known of this run; kept with it")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    return parser.parse_args()


def _chosen(every: list[Section], globs: str) -> list[Section]:
    wanted = [one.strip() for one in globs.split(";")]
    left = [one.only(lambda name: any(fnmatch(str(name), glob) for glob in wanted)) for one in every]
    found = [one for one in left if one.rows]
    if not found:
        raise SystemExit(f"no row is named {globs!r}; --list has all of them")
    return found


def _measure(section: Section, work: Path, runs: int, found: Results, run: Run) -> Iterator[str]:
    """Measure the rows of one section in turns; what is found of each. A row that fails is left out from then on."""
    left = list(section.names())
    try:
        with section.opened(work) as ground:
            for name in left * runs:
                if name not in left:
                    continue
                try:
                    figures = section.rows[name.row](ground)
                except (MissingPeerError, *_FAILURES) as error:
                    left.remove(name)
                    yield _left_out(name, error, found)
                    continue
                found.add(name, run, figures)
                yield f"{name}: {', '.join(f'{figure} {value:,.4g}' for figure, value in figures.items())}"
    except _FAILURES as error:
        yield from (_left_out(name, error, found) for name in left)


def _left_out(name: Name, error: Exception, found: Results) -> str:
    """Note why a row was not measured."""
    why = " ".join(str(error).split())[-300:]
    missing = isinstance(error, MissingPeerError)
    (found.skipped if missing else found.failed)[str(name)] = why
    return f"{'skipped' if missing else 'failed'}: {name}: {why}"


if __name__ == "__main__":
    main()
