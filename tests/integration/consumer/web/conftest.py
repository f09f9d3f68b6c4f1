"""The page over real parts: a private Redis, SQLite, a folder, a file of announcements."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from consumer.web.access import Access
from consumer.web.app import make_app
from consumer.web.live.live import Live
from support import page as page_

LOOPBACK = "http://127.0.0.1:8780"


@pytest.fixture(scope="package")
def page(tmp_path_factory: pytest.TempPathFactory) -> page_.Page:
    return page_.create(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="package")
def client(page: page_.Page) -> Iterator[TestClient]:
    app = make_app(Live(page.sources()), Access("127.0.0.1"))
    with TestClient(app, base_url=LOOPBACK, follow_redirects=False) as opened:
        yield opened
