"""The page in Chromium: accessible by axe-core's rules, by keyboard alone, on a phone; live, and never owned."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from playwright.sync_api import Page as Tab

from support import page as page_
from support.page import SLUG, Page, Served
from support.services import missing

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        missing(f"no Chromium: none of {', '.join(_PROGRAMS)} is on PATH")
    with sync_playwright() as playwright:
        # Whoever tests may be root, and the pages are our own.
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_.create(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def url(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Served(page, tmp_path_factory.mktemp("served") / "log") as served:
        served.says("/changes", "comment-created 5")
        yield str(served.client.base_url).rstrip("/")


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    context = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    with watched(context) as opened:
        yield opened


@contextmanager
def watched(context: BrowserContext) -> Iterator[Tab]:
    """A tab in which nothing may go wrong, and that asks nobody else for anything."""
    faults: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: faults.extend([request.url] * ("//127.0.0.1:" not in request.url)))
    yield opened
    assert faults == []
    context.close()


def owned(opened: Tab) -> bool:
    return opened.title() == "owned"


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)])
def test_every_page_is_accessible_and_fits(
    browser: Browser, url: str, page: Page, scheme: str, size: dict[str, int]
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    with watched(context) as opened:
        opened.goto(f"{url}/profiles")
        card = opened.get_by_role("link", name=f"{page.ann} in").get_attribute("href")
        ways = ["/", "/profiles", "/groups", "/changes", card]
        ways += [str(card).replace("/profile?", f"{path}?") for path in ("/history", "/compare")]
        ways += [str(card).replace("/profile?", "/why?number=link&value=https://a.org/x?a=1%26b=&")]
        for way in ways:
            opened.goto(f"{url}{way}")
            found = Axe().run(opened, options={"runOnly": RULES})
            assert found.violations_count == 0, f"{way}: {found.generate_report()}"
            assert opened.evaluate("document.documentElement.scrollWidth") <= size["width"], way
            assert not owned(opened)


def focus(opened: Tab, text: str) -> None:
    """Press Tab until what begins with this text is focused; what is focused on the way is marked as such."""
    for _ in range(60):
        opened.keyboard.press("Tab")
        what = "(document.activeElement.innerText || document.activeElement.getAttribute('name') || '')"
        if opened.evaluate("document.activeElement === document.body"):  # between the last and the first
            continue
        assert opened.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if " ".join(str(opened.evaluate(what)).split()).startswith(text):
            return
    raise AssertionError(f"{text} was never focused")


def test_from_the_status_to_the_reason_of_a_number_by_keyboard(tab: Tab, url: str) -> None:
    tab.goto(url)
    focus(tab, "Skip to the content")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.goto(f"{url}/groups")
    focus(tab, "Profiles")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/profiles")
    focus(tab, "q")
    tab.keyboard.type("food")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**q=food**")
    focus(tab, "1")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/profile?**")
    focus(tab, "why? link")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/why?**")
    assert "quoted" in tab.inner_text("main")


def test_changes_come_while_one_looks_and_can_be_paused(tab: Tab, url: str, page: Page) -> None:
    tab.goto(f"{url}/changes")
    tab.get_by_text("Following.").wait_for()
    tab.get_by_role("button", name="Pause").click()
    page.comment(f"{page_.SCRIPT}\n(Reactions: Ann <b>\u202e)")
    page.catch_up()
    tab.get_by_text("Paused; 1 new.").wait_for(timeout=120_000)
    assert tab.locator("#changes > li").count() == 3
    tab.get_by_role("button", name="Pause").click()
    newest = tab.locator("#changes > li").first
    assert "reaction_counts <b>\\u{202e}: 1" in newest.inner_text()
    newest.get_by_role("link").click()
    tab.wait_for_url("**/profile?**")
    assert SLUG.split("\n", maxsplit=1)[0].replace("\u202e", "\\u202e") in tab.inner_text("h1")
    assert not owned(tab)


def test_the_status_is_renewed(tab: Tab, url: str) -> None:
    tab.goto(url)
    seen = tab.locator("text=As of").inner_text()
    expect(tab.locator("text=As of")).not_to_have_text(seen, timeout=120_000)
    assert "no consumer is at work" in tab.inner_text("main")


def test_it_reads_without_scripts(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    for way, text in (("/", "no consumer is at work"), ("/profiles", "3 profiles"), ("/changes", "message_count")):
        opened.goto(f"{url}{way}")
        assert text in opened.locator("main").inner_text()
    context.close()
