"""A small WhiteBalloon and its profiles, for the commands that look at one: made by the fixture `community`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support.commands import on, run
from support.whiteballoon import WhiteBalloon

LINK = "https://a.org/"
HOSTILE = "\x1b]0;owned\x07\u202e"


class Community(NamedTuple):
    """Its commands' environment, its database, and who is in it: `ann` in elm and oak, `ben` in elm."""

    env: Mapping[str, str]
    balloon: WhiteBalloon
    storage: Path
    ann: int
    ben: int
    elm: int

    def admin(self, *words: object, code: int | None = 0) -> str:
        """Run `snapshot-admin`; what it printed. The exit code may be any where it is None."""
        ended = run("snapshot-admin", *map(str, words), env=self.env)
        assert code in {None, ended.returncode}, ended.stderr + ended.stdout
        assert not any(one in ended.stdout + ended.stderr for one in "\x1b\x07\u202e")
        if code == 2:
            assert ended.stdout == ""
            assert ended.stderr.count("\n") == 1
            return ended.stderr
        return ended.stdout

    def admin_json(self, *words: object, code: int | None = 0) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.admin(*words, "--json", code=code))

    def catch_up(self) -> None:
        for program in ("snapshot-relay", "snapshot-consumer")["KAFKA_BOOTSTRAP_SERVERS" not in self.env :]:
            ended = run(program, "--until-caught-up", env=self.env)
            assert ended.returncode == 0, ended.stderr


def create(tmp_path: Path, **settings: str) -> Community:
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    elm, (ann, ben) = balloon.add_group("elm", "Elm", members=2)
    oak = balloon.add_request("[Signal] Oak")
    balloon.join(ann, "oak", "Oak")
    first = balloon.comment(ann, elm, f"{HOSTILE} see {LINK}\n> {LINK}\n(Reactions: Ben 👍)\n[attachments: a.png]")
    balloon.analyse(first, tags=["food", HOSTILE])
    balloon.soft_delete(balloon.comment(ann, elm, LINK))
    balloon.comment(ann, oak, LINK)
    balloon.comment(ben, elm, "hello")
    made = Community(
        on(tmp_path / "data", tmp_path / "storage", **settings), balloon, tmp_path / "storage", ann, ben, elm
    )
    made.catch_up()
    return made
