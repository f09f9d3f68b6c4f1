"""The page of `snapshot-admin serve` over a small, hostile WhiteBalloon."""

from pathlib import Path
from typing import NamedTuple, Self

import httpx2

from consumer.web.live.connection import Sources
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import PlaceOptions
from support.commands import Started, on, run
from support.whiteballoon import WhiteBalloon

SCRIPT = "<script>document.title='owned'</script>"
TAG = f"\"'><img src=x onerror=\"document.title='owned'\">{SCRIPT}\0\u202eend"
HUGE = "w" * 40_000
LINK = "https://a.org/x?a=1&b=<i>"
SLUG = "el/m?#&%2F <b>\"'\u202e\nx"
BODY = (
    f"{SCRIPT} \u202e\0 {HUGE} https://a.org/x?a=1&b=<i> \x1b]0;x\x07\n(Reactions: Ann <b>👍</b>)\n[attachments: a.png]"
)


class Page(NamedTuple):
    """What a page is made over: user `ann` is in the group SLUG, `ben` in it and in elm."""

    env: dict[str, str]
    balloon: WhiteBalloon
    storage: Path
    ann: int
    ben: int
    request: int

    def sources(self) -> Sources:
        database = DatabaseOptions(self.env["DATABASE_URL"], self.env["INSIGHTS_DATABASE_URL"])
        return Sources(database, PlaceOptions(self.storage), None)

    def comment(self, body: str = "more") -> int:
        return self.balloon.comment(self.ben, self.request, body)

    def catch_up(self) -> None:
        ended = run("snapshot-consumer", "--until-caught-up", env=self.env)
        assert ended.returncode == 0, ended.stderr


def create(folder: Path) -> Page:
    balloon = WhiteBalloon.in_folder(folder / "data")
    request, (ann, ben) = balloon.add_group(SLUG, "Hostile", members=2)
    elm = balloon.add_request("[Signal] Elm")
    balloon.join(ben, "elm", "Elm")
    balloon.analyse(balloon.comment(ann, request, BODY), tags=[TAG, HUGE, "food"])
    balloon.soft_delete(balloon.comment(ann, request, f"gone {LINK}"))
    balloon.comment(ann, request, f"> {LINK}\nquoted")
    balloon.comment(ben, request, "hello")
    balloon.comment(ben, elm, "hello")
    storage = folder / "storage"
    page = Page(on(folder / "data", storage), balloon, storage, ann, ben, request)
    page.catch_up()
    return page


class Served:
    """A page that is served on a free port."""

    def __init__(self, page: Page, log: Path, **settings: str) -> None:
        self.started = Started("snapshot-admin", "serve", "--port", "0", env={**page.env, **settings}, log=log)

    def __enter__(self) -> Self:
        try:
            self.started.until(lambda: "until Ctrl-C\n" in self.started.said(), timeout=240)
        except AssertionError:
            self.started.__exit__()
            raise
        self.client = httpx2.Client(base_url=self.started.said().split()[1], timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.started.process.poll() is None:  # a killed one would leave its Redis behind
            self.started.terminate(60)

    def says(self, path: str, text: str, code: int = 200) -> None:
        """Wait until a page says something."""

        def said() -> bool:
            answer = self.client.get(path)
            return answer.status_code == code and text in answer.text

        self.started.until(said, timeout=240)
