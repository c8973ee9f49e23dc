"""The built-in page in a real browser: sign up, save, see it happen, search, delete, undo."""

import os
import uuid

import pytest
from browser import Page, browser
from pages import article


@pytest.fixture
def page(stack):
    with browser() as driver:
        yield Page(driver, stack)


def test_sign_up_save_watch_and_search(page, stack, pages):
    # Slow enough for the page to be seen queued before it is read.
    url = pages.put("/owls", article("All about owls", "owl feather night " * 100), delay=0.6)
    page.open()
    page.sign_up("ann" + uuid.uuid4().hex[:6])
    page.wait_text("#empty", "Nothing kept yet")

    page.type("#add-url", url + "\n")
    row = page.wait_row(url)
    assert "queued" in row or "reading" in row
    page.wait_row("All about owls")
    page.wait(lambda: "min read" in page.rows()[0], "reading time appears without a reload")

    other = pages.put("/bees", article("Bees at work", "bee honey flower " * 100))
    page.type("#add-url", other + "\n")
    page.wait_row("Bees at work")
    assert len(page.rows()) == 2

    page.type("#search", "owls")
    page.wait(lambda: len(page.rows()) == 1, "only the match is left")
    assert "All about owls" in page.rows()[0]
    page.clear("#search")
    page.wait(lambda: len(page.rows()) == 2, "all are back")
    assert page.console_errors() == []


def test_delete_can_be_undone(page, stack, pages):
    url = pages.put("/a", article("Page A", "word " * 60))
    page.open()
    page.sign_up("bob" + uuid.uuid4().hex[:6])
    page.type("#add-url", url + "\n")
    page.wait_row("Page A")

    page.click(".row .delete")
    page.wait(lambda: page.rows() == [], "the row goes at once")
    page.click(".toast button")
    page.wait_row("Page A")
    assert stack.sql("SELECT count(*) FROM saved_content")[0][0] == 1

    page.click(".row .delete")
    page.wait(lambda: stack.sql("SELECT count(*) FROM saved_content")[0][0] == 0,
              "gone from the database when the undo has passed", seconds=15)


def test_session_survives_a_reload_and_ends_by_sign_out(page, stack):
    page.open()
    page.sign_up("cat" + uuid.uuid4().hex[:6])
    page.driver.refresh()
    page.wait(lambda: page.shown("#library"), "still signed in")
    page.click("#sign-out")
    page.wait(lambda: page.shown("#sign-in"), "signed out")
    page.driver.refresh()
    page.wait(lambda: page.shown("#sign-in"), "and it stays so")


def test_mistakes_are_explained(page, stack):
    page.open()
    page.wait(lambda: page.shown("#sign-in"), "the way in")
    page.type("#in-name", "nobody")
    page.type("#in-password", "Wrong1234\n")
    page.wait_text("#sign-in .problem", "Invalid credentials")
    page.click("[data-show=sign-up]")
    page.type("#up-name", "dora" + uuid.uuid4().hex[:4])
    page.type("#up-email", "dora@example.com")
    page.type("#up-password", "onlyletters\n")
    page.wait_text("#sign-up .problem", "Password must contain at least one number")


@pytest.mark.parametrize("width,height,scheme", [(390, 844, "dark"), (1280, 800, "light")])
def test_nothing_runs_off_the_screen(page, stack, pages, width, height, scheme):
    page.scheme(scheme)
    page.driver.set_window_size(width, height)
    page.open()
    page.sign_up("eve" + uuid.uuid4().hex[:6])
    page.type("#add-url", pages.put("/x", article("W" * 90 + " and a long title", "word " * 80)) + "\n")
    page.wait(lambda: page.rows() and "min read" in page.rows()[0], "saved")
    overflow = page.driver.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    folder = os.environ.get("FORKMARK_SCREENSHOTS")
    if folder:
        page.driver.save_screenshot(os.path.join(folder, f"page-{width}-{scheme}.png"))
