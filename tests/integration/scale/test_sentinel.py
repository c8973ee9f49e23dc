"""The queue behind sentinels: the master goes, and everything follows the next one."""

import signal
import threading
import time

import pytest
import requests
from pages import article
from sentinel import NAME, Sentinels
from services import wait_until
from stack import Stream

JOBS = "outbox_age = 2; sweep_age = 10;"


@pytest.fixture
def make_sentinels(folder):
    made = []

    def make(**options):
        made.append(Sentinels(f"{folder}/sentinels-{len(made)}", **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def sentinels(make_sentinels):
    return make_sentinels()


@pytest.fixture
def redis_server(sentinels):
    """What make_stack starts with."""
    return sentinels


class Savers:
    """Clients that save bookmarks, each of another page, until stop()."""

    def __init__(self, stack, pages, count=4):
        self.pages, self.stopping, self.lock = pages, threading.Event(), threading.Lock()
        self.saved, self.failures, self.slowest = [], [], 0.0
        first = stack.client().sign_up()
        clients = [first] + [stack.client().log_in(first.user["username"]) for _ in range(count - 1)]
        self.threads = [threading.Thread(target=self.run, args=(number, client), daemon=True)
                        for number, client in enumerate(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number, client):
        count = 0
        while not self.stopping.is_set():
            count += 1
            path = f"/{number}-{count}"
            self.pages.put(path, article(f"Page {number} {count}", "word " * 60))
            began = time.monotonic()
            try:
                answer = client.post("/api/bookmarks", json={"url": self.pages.url(path)})
                with self.lock:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if answer.status_code == 201:
                        self.saved.append((answer.json()["bookmark"]["id"], path))
                    else:
                        self.failures.append(answer.text)
            except requests.RequestException as error:
                self.failures.append(repr(error))
            time.sleep(0.05)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(40)
        return self


def kill(sentinels):
    return sentinels.kill_master()


def order(sentinels):
    return sentinels.order_failover()


def stop(sentinels):
    old = sentinels.master()
    old.server.signal(signal.SIGSTOP)
    return old


def unfinished(stack):
    return stack.sql("""SELECT id, scrape_status, embedding_status, analysis_status FROM saved_content
                        WHERE (scrape_status, embedding_status, analysis_status)
                              IS DISTINCT FROM ('SUCCESS', 'SUCCESS', 'SUCCESS')""")


@pytest.mark.parametrize("how", [kill, order, stop])
def test_every_saved_bookmark_is_processed(make_stack, pages, sentinels, how):
    stack = make_stack(workers=2, consumers=2, jobs=JOBS)
    processes = stack.children()
    savers = Savers(stack, pages)
    try:
        wait_until(lambda: len(savers.saved) > 20, 20, "bookmarks are saved")
        old = how(sentinels)
        sentinels.wait_for_another(old)
        after = len(savers.saved)
        wait_until(lambda: len(savers.saved) > after + 40, 30, "bookmarks are saved after it")
    finally:
        savers.stop()
        if how is stop:
            old.server.signal(signal.SIGCONT)
    assert savers.failures == []
    try:
        wait_until(lambda: not unfinished(stack), 60, "all are processed")
    except AssertionError:
        print(unfinished(stack), stack.log_text()[-6000:])
        raise
    assert stack.sql("SELECT count(*) FROM saved_content") == [(len(savers.saved),)]
    assert stack.sql("SELECT count(*) FROM outbox") == [(0,)]
    assert stack.children() == processes, "nothing was restarted"
    print(how.__name__, len(savers.saved), "saved, slowest", round(savers.slowest, 3))
