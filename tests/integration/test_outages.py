"""PostgreSQL or Redis goes away and comes back: what is answered, and that nothing is lost."""

import signal
import time

import pytest
from pages import article
from services import Postgres, wait_until


@pytest.mark.parametrize("how", ["shut down", "stopped"])
def test_saves_go_on_without_redis(stack, pages, redis_server, how):
    client = stack.client().sign_up()
    for number in range(30):
        pages.put(f"/{number}", article(f"Page {number}", "word " * 60))
    stack.redis.ping()
    if how == "shut down":
        redis_server.stop()
    else:
        redis_server.server.signal(signal.SIGSTOP)
    slowest, ids = 0, []
    for number in range(30):
        began = time.monotonic()
        ids.append(client.save(pages.url(f"/{number}")))
        slowest = max(slowest, time.monotonic() - began)
    health = client.get("/health/readiness")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    if how == "shut down":
        redis_server.start()
    else:
        redis_server.server.signal(signal.SIGCONT)
    assert slowest < 1.0, f"a save took {slowest:.2f} s"

    def all_done():
        rows = stack.sql("SELECT scrape_status, count(*) FROM saved_content GROUP BY 1")
        return rows == [("SUCCESS", 30)]
    wait_until(all_done, 40, "all 30 are processed after Redis is back")
    assert [pages.hits[f"/{number}"] for number in range(30)] == [1] * 30


def test_without_postgres_answers_are_503_and_it_recovers(make_stack, folder, redis_server):
    own = Postgres(folder + "/own")
    try:
        stack = make_stack(start=False)
        own.create(stack.database)
        stack.postgres = own
        stack.start()
        client = stack.client().sign_up()
        own.stop()
        for _ in range(5):
            answer = client.get("/api/bookmarks?page=%d" % (time.monotonic_ns() % 1000 + 1))
            assert answer.status_code == 503 and "Retry-After" in answer.headers, answer.text
        saved = client.post("/api/bookmarks", json={"url": "http://example.org/x"})
        assert saved.status_code == 503 and "Retry-After" in saved.headers
        assert client.get("/health/readiness").status_code == 503
        assert client.get("/health/liveness").status_code == 200
        workers = stack.children("worker")
        own.start()
        wait_until(lambda: client.get("/api/bookmarks").status_code == 200, 10, "it works again")
        assert stack.children("worker") == workers, "no worker was restarted"
        client.save("http://example.org/x")
    finally:
        own.stop(signal.SIGQUIT)
