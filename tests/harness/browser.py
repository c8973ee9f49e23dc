"""Headless Chromium, driven through ChromeDriver."""

import contextlib
import tempfile

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from services import wait_until


@contextlib.contextmanager
def browser():
    with tempfile.TemporaryDirectory(prefix="fm-chromium-", ignore_cleanup_errors=True) as profile:
        driver = start(profile)
        try:
            yield driver
        finally:
            driver.quit()


def start(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


class Page:
    def __init__(self, driver, stack):
        self.driver, self.stack = driver, stack

    def open(self):
        self.driver.get(self.stack.url.replace("127.0.0.1", "localhost") + "/")

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector):
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return bool(found) and found[0].is_displayed()

    def wait(self, check, what, seconds=10):
        def safely():
            try:
                return check()
            except StaleElementReferenceException:
                return False
        try:
            return wait_until(safely, seconds, what)
        except AssertionError as error:
            body = self.driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"{error}\npage: {body}\nconsole: {self.console_errors()}") from error

    def wait_text(self, selector, text):
        self.wait(lambda: text in self.find(selector).text, f"{selector} says {text!r}")

    def type(self, selector, text):
        self.wait(lambda: self.shown(selector), f"{selector} is shown")
        self.find(selector).send_keys(text)

    def clear(self, selector):
        self.find(selector).send_keys(Keys.CONTROL + "a", Keys.DELETE)

    def click(self, selector):
        self.wait(lambda: self.shown(selector), f"{selector} is shown")
        self.find(selector).click()

    def rows(self):
        return [row.text for row in self.driver.find_elements(By.CSS_SELECTOR, "#list .row")]

    def wait_row(self, text):
        return self.wait(lambda: next((row for row in self.rows() if text in row), None), f"a row with {text!r}")

    def sign_up(self, name):
        self.wait(lambda: self.shown("#sign-in"), "the way in")
        self.click("[data-show=sign-up]")
        self.type("#up-name", name)
        self.type("#up-email", f"{name}@example.com")
        self.type("#up-password", "Passw0rd!x\n")
        self.wait(lambda: self.shown("#library"), "signed in")

    def scheme(self, value):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": value}]})

    def console_errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE" and "401" not in entry["message"]]
