"""What lies in deploy/: systemd accepts the units, and what they call exists."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from consumer.daemon.schedule import DEFAULT
from snapshot.wb import app
from support.services import missing

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
PROGRAMS = "/opt/signal-snapshotter/bin"


def commands(text: str) -> list[list[str]]:
    """The words of every command line in a unit or a crontab, from the program on."""
    lines = re.findall(rf"{PROGRAMS}/(.*)", text)
    return [shlex.split(line.partition(">")[0]) for line in lines]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze on PATH: install systemd")
    programs, units = tmp_path / "bin", tmp_path / "units"
    programs.mkdir()
    units.mkdir()
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        (units / unit.name).write_text(text.replace(PROGRAMS, str(programs)))
        for program, *_ in commands(text):  # the units are verified, not the installation
            (programs / program).touch(0o755)
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *sorted(units.iterdir())],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_timer_has_its_service_and_a_service_a_command_of_ours(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    if unit.suffix == ".timer":
        assert unit.with_suffix(".service") in UNITS
        assert "OnCalendar=*-*-* 04:05:00" in text, f"as {DEFAULT}"
        assert "Persistent=true" in text
        return
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    ((program, *_),) = commands(text)
    assert program in scripts


@pytest.mark.parametrize(
    "place",
    [*UNITS, ROOT / "deploy" / "cron" / "signal-profiles", ROOT / "docs" / "operations" / "scheduling.md"],
    ids=lambda place: place.name,
)
def test_the_options_given_to_wb_exist(place: Path) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for program, *words in commands(place.read_text(encoding="utf-8")):
        if program == "wb":
            assert words[:2] == ["signal-profile", "snapshot"]
            group.commands["snapshot"].make_context("snapshot", words[2:])  # reads the flags, and runs nothing


def test_the_environment_names_settings_that_exist() -> None:
    text = (ROOT / "deploy" / "environment.example").read_text(encoding="utf-8")
    names = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "snapshot").rglob("*.py"))
    assert {name for name in names if f'"{name}"' not in source and name not in LATER} == set()


LATER = {"PROFILE_SIGNAL_GLAZE", "SNAPSHOT_SCHEDULE", "KAFKA_BOOTSTRAP_SERVERS"}
"""Named in other ways: the nightly run's by the daemon, Kafka's made from the fields' names."""
