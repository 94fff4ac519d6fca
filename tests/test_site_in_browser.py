"""The built site in a real browser: every page, the search, no error on the console.

It is asked where the site has been built (`build/site`) and a Chromium is installed.
"""

import functools
import http.server
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

SITE = Path(__file__).parent.parent / "build" / "site"
BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None or not (SITE / "index.html").exists(), reason="needs the built site and a Chromium"
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="module")
def address():
    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_every_page_opens_without_an_error(browser, address):
    page, errors, paints = browser.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", lambda response: errors.append(response.url) if response.status >= 400 else None)
    page.goto(address)
    links = page.eval_on_selector_all(".md-nav--primary a.md-nav__link[href]", "links => links.map(a => a.href)")
    pages = sorted({link.split("#")[0] for link in links})
    assert len(pages) > 35
    for link in pages:
        page.goto(link)
        assert page.locator("h1").first.inner_text(), link
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"))
    assert errors == []
    assert sorted(paints)[len(paints) // 2] < 1000


def test_the_search_finds_a_name_and_opens_it(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.locator(".md-search__input").fill("schedule_free_adamw")
    hit = page.locator(".md-search-result__link").first
    hit.wait_for(timeout=20_000)
    hit.click()
    page.wait_for_url(re.compile("reference|guide"))
    assert "schedule_free_adamw" in page.inner_text("article")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("my loss is nan after a few steps", "my-loss-is-nan"),
        ("read the current learning rate in the training loop", "how-do-i-read-the-current-learning-rate"),
        ("continue an optax checkpoint", "how-do-i-continue-from-a-checkpoint"),
    ],
)
def test_the_search_answers_questions(browser, address, question, answer):
    page = browser.new_page()
    page.goto(address)
    page.locator(".md-search__input").fill(question)
    first = page.locator(".md-search-result__item").first
    first.locator(f"a[href*='guide/faq/'][href*='#{answer}']").wait_for(state="attached", timeout=20_000)


def test_formulas_and_a_phone(browser, address):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(address + "reference/optimizers/")
    assert page.locator("math mfrac").count() > 50
    page.evaluate("window.scrollTo(0, 2000)")
    time.sleep(0.2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390  # nothing wider than the screen


def test_size():
    assert sum(file.stat().st_size for file in SITE.rglob("*") if file.is_file()) < 30e6
