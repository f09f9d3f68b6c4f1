"""There were analyses, and their database is missing: the daemon waits and says so, commands exit with 2."""

import json
from pathlib import Path

from support.commands import Started, on, run
from support.whiteballoon import WhiteBalloon, file_of

CATCH_UP = ("snapshot-consumer", "--until-caught-up")
SAID = "it is missing; restore it, or confirm with --prune-all"


def tags(storage: Path) -> list[str]:
    [place] = (storage / "signal_profiles").glob("*.json")
    return [tag["label"] for tag in json.loads(place.read_text(encoding="utf-8"))["top_tags"]]


def test_it_is_waited_for_until_it_is_there_again_or_confirmed_to_be_gone(tmp_path: Path) -> None:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, [user] = wb.add_group("elm", "Elm St")
    wb.analyse(wb.comment(user, request), tags=["first"])
    env, storage = on(tmp_path / "data", tmp_path / "storage"), tmp_path / "storage"
    assert run(*CATCH_UP, env=env).returncode == 0
    assert tags(storage) == ["first"]
    path = file_of(wb.insights_url)
    path.rename(away := path.with_suffix(".away"))

    for words in (("snapshot-rebuild", "--all"), ("wb", "signal-profile", "snapshot", "--all")):
        ended = run(*words, env=env)
        assert (ended.returncode, SAID in ended.stderr) == (2, True), ended.stderr
        assert "Traceback" not in ended.stderr
    with Started("snapshot-consumer", env=env, log=tmp_path / "log") as daemon:
        daemon.until(lambda: SAID in daemon.said())
        wb.comment(user, request)
        away.rename(path)
        wb.analyse(2, tags=["second"])
        daemon.until(lambda: sorted(tags(storage)) == ["first", "second"])
        assert daemon.terminate(10) == 0
    assert "Traceback" not in daemon.said()

    path.unlink()
    confirmed = run(*CATCH_UP, "--prune-all", env=env)
    assert confirmed.returncode == 0, confirmed.stderr
    assert tags(storage) == []
    assert run("snapshot-rebuild", "--all", env=env).returncode == 0, "it is confirmed once"
