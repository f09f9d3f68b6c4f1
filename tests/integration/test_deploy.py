"""What lies in deploy/: systemd accepts the units, and what they call exists."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from consumer.daemon.schedule import DEFAULT
from projections import __version__
from snapshot.files.jsonl import append_lines
from snapshot.wb import app
from support.commands import Started, on, run
from support.services import missing

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
PROGRAMS = "/opt/signal-snapshotter/bin"


def commands(text: str) -> list[list[str]]:
    """The words of every command line in a unit or a crontab, from the program on."""
    lines = re.findall(rf"{PROGRAMS}/(.*)", text)
    return [shlex.split(line.partition(">")[0]) for line in lines]


def test_the_image_is_labelled_as_the_package_is() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="(.*?)"', text))
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labels == {
        "title": "Signal Identity Snapshotter",
        "description": package["description"],
        "licenses": package["license"],
        "version": __version__,
        "vendor": package["authors"][0]["name"],
        "url": package["urls"]["WhiteBalloon"],
        "source": "$SOURCE",  # whoever builds it knows
        "revision": "$REVISION",
    }


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


def test_the_units_leave_little_open() -> None:
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze on PATH: install systemd")
    services = [str(unit) for unit in UNITS if unit.suffix == ".service"]
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", *services]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "SYSTEMD_PAGER": ""})
    assert ended.returncode == 0, ended.stdout[-400:] + ended.stderr


def test_a_daemons_unit_waits_for_servers_and_gives_up_on_mistakes() -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        if "Restart=always" in text:
            for line in (
                "Type=notify",
                "Environment=SNAPSHOT_WAIT=1",
                "RestartPreventExitStatus=2",
                "WatchdogSec=5min",
            ):
                assert f"\n{line}\n" in text, (unit.name, line)


def test_there_is_one_storage_folder() -> None:
    deploy = [path.read_text(encoding="utf-8") for path in (ROOT / "deploy").rglob("*") if path.is_file()]
    page = (ROOT / "docs" / "operations" / "scheduling.md").read_text(encoding="utf-8")
    settings = re.findall(r"SNAPSHOT_STORAGE_DIR=(\S+)", "\n".join(deploy))
    assert set(settings) == {"/var/lib/signal-snapshotter"}
    assert len(settings) == 2
    below = re.findall(r"/var/lib/signal-snapshotter/([\w.-]+)", "\n".join([*deploy, page]))
    assert set(below) == {"groups", "signal_profile_snapshot.log", "snapshot-changed.jsonl"}


def test_the_steps_of_the_page_name_what_the_package_brings() -> None:
    page = (ROOT / "docs" / "operations" / "scheduling.md").read_text(encoding="utf-8")
    steps = page.split("```console\n# python3 -m venv")[1].split("```")[0]
    named = re.findall(r"(?:install .*? |cp )((?:systemd|logrotate|environment)[\w./*-]*)", steps)
    assert len(named) == 3
    assert [name for name in named if not list((ROOT / "deploy").glob(name))] == []


def test_logrotate_accepts_its_file_and_the_daemon_goes_on_in_a_new_one(tmp_path: Path) -> None:
    if shutil.which("logrotate") is None:
        missing("no logrotate on PATH: install it")
    text = (ROOT / "deploy" / "logrotate" / "signal-snapshotter").read_text(encoding="utf-8")
    text = text.replace("/var/lib/signal-snapshotter", str(tmp_path)).replace(
        "su signal-snapshotter signal-snapshotter", ""
    )
    (tmp_path / "conf").write_text(text)
    (tmp_path / "conf").chmod(0o644)
    lines = tmp_path / "snapshot-changed.jsonl"
    append_lines(lines, [b"one"])
    tmp_path.chmod(0o755)
    words = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(tmp_path / "conf")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    append_lines(lines, [b"two"])
    assert lines.read_bytes() == b"two\n"
    assert (tmp_path / "snapshot-changed.jsonl.1").read_bytes() == b"one\n"


def test_systemd_hears_what_a_daemon_waits_for(tmp_path: Path) -> None:
    notify = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(notify))
        systemd.settimeout(100)
        url = f"unix://{tmp_path}/nothing.sock"
        env = on(tmp_path, tmp_path, REDIS_URL=url, SNAPSHOT_WAIT="1", NOTIFY_SOCKET=str(notify))
        with Started("snapshot-consumer", env=env, log=tmp_path / "log") as daemon:
            heard = systemd.recv(1_000).decode().splitlines()
            daemon.process.terminate()
            assert daemon.process.wait(60) == 143
    assert heard[:2] == ["READY=1", "WATCHDOG=1"]
    assert heard[2].startswith(f"STATUS=waiting: no Redis answers at {url} (")
    mistaken = run("snapshot-consumer", env=env | {"REDIS_URL": "http://nowhere"})
    assert (mistaken.returncode, mistaken.stderr.count("\n")) == (2, 1)


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
