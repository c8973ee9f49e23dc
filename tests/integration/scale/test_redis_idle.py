"""Idle connections to Redis that somebody cuts: nobody notices."""

import time

import pytest
from pages import article
from proxy import Proxy
from services import wait_until
from stack import Stream


@pytest.fixture
def proxy(redis_server):
    made = Proxy(redis_server.socket)
    yield made
    made.close()


def timed(call):
    began = time.monotonic()
    value = call()
    return value, time.monotonic() - began


def is_quiet(stack):
    text = stack.log_text()
    return not any(words in text for words in ("connection lost", "is not in Redis yet", "overdue",
                                               "cannot be used"))


def through(stack, proxy, monkeypatch, more=""):
    monkeypatch.setattr(stack.redis_server, "settings",
                        lambda: f'url = "redis://127.0.0.1:{proxy.port}"; {more}', raising=False)
    return stack.start()


def test_a_server_that_closes_what_is_idle(make_stack, pages, redis_server):
    redis_server.connect().config_set("timeout", 1)
    stack = make_stack(workers=2, jobs="outbox_age = 60;")
    client = stack.client().sign_up()
    for number in range(2):
        time.sleep(2.2 if number else 1.2)  # Redis looks for idle clients now and then
        saved, took = timed(lambda: client.save(pages.put(f"/{number}", article(f"P {number}", "word " * 60))))
        assert saved and took < 2, took
        assert client.get("/health/readiness").json()["status"] == "ready"
    wait_until(lambda: stack.sql("SELECT count(*) FROM saved_content WHERE analysis_status = 'SUCCESS'") == [(2,)],
               20, "each was in Redis at once")
    assert is_quiet(stack), stack.log_text()[-3000:]


@pytest.mark.long
def test_connections_forgotten_on_the_way(make_stack, pages, proxy, monkeypatch):
    stack = through(make_stack(start=False, workers=1, jobs="outbox_age = 60;"), proxy, monkeypatch)
    client = stack.client().sign_up()
    stream = Stream(client)
    client.save(pages.put("/warm", article("Warm", "word " * 60)))
    stream.until("bookmark.pipeline.analysis.completed", 20)

    # The next request finds out before it needs the connection.
    time.sleep(1.5)
    assert proxy.forget() >= 3
    saved, took = timed(lambda: client.save(pages.put("/next", article("Next", "word " * 60))))
    assert saved and took < 2, took
    assert "is not in Redis yet" not in stack.log_text(), stack.log_text()[-3000:]
    # Consumers find theirs dead at the next overdue answer, streams at theirs.
    stream.until("bookmark.pipeline.analysis.completed", 40)
    stream.close()


def test_connections_found_dead_while_idle(make_stack, pages, proxy, monkeypatch):
    stack = through(make_stack(start=False, workers=1, consumers=0, jobs="outbox_age = 60;"), proxy,
                    monkeypatch, more="ping_after = 1;")
    client = stack.client().sign_up()
    client.save(pages.put("/a", article("A", "word " * 60)))
    proxy.forget()
    wait_until(lambda: "worker 1 redis 127.0.0.1" in stack.log_text() and
               "a silent connection was dead: it is replaced" in stack.log_text(), 20, "it is found")
    saved, took = timed(lambda: client.save(pages.put("/b", article("B", "word " * 60))))
    assert saved and took < 1, took
    assert "is not in Redis yet" not in stack.log_text()
    assert stack.redis.llen("rq:queue:default") + stack.redis.llen("rq:queue:high") + \
        stack.redis.llen("rq:queue:low") == 2
