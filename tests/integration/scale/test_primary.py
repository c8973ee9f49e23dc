"""The primary is lost, moves, or turns read-only: reads go on, writes say so and come back."""

import time

import pytest
from pages import article
from primary import none_half_done
from replica_load import Reader, Writer, queries, servers, wait_for_state
from services import wait_until

NO_CACHE = "cache: { enabled = false; };"


def test_reads_go_on_without_the_primary_and_writes_say_503(cluster, make_replicated, pages):
    pages.put("/slow", article("Slow", "word " * 80))
    stack = make_replicated(cluster, more=NO_CACHE, database_more="max_lag = 1;")
    client = stack.client().sign_up()
    client.save("http://example.invalid/first")
    other = stack.client().sign_up()  # has not written since: nothing is known of them soon
    for replica in cluster.replicas:
        wait_for_state(stack, replica, "up")
    assert client.get("/health/readiness").json()["status"] == "ready"
    workers = stack.children("worker")
    readers = [Reader(client), Reader(other), Reader(client, "/api/bookmarks?search=first"),
               Reader(client, "/api/auth/verify"), Reader(client, "/api/bookmarks/dashboard/stats")]
    writers = [Writer(client)]
    time.sleep(1)
    cluster.primary.server.process.kill()
    cluster.primary.server.wait()
    lost = time.monotonic()
    wait_until(lambda: len(writers[0].refused) > 3, 30, "writes are refused")
    readiness = client.get("/health/readiness")
    assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded"), readiness.text
    wait_for_state(stack, cluster.primary, "down")
    time.sleep(max(0, lost + 3 - time.monotonic()))
    last = cluster.primary.server
    cluster.primary.start()
    assert last is not cluster.primary.server
    back = time.monotonic()
    wait_until(lambda: writers[0].saved_since(back), 20, "writes go on")
    wait_for_state(stack, cluster.primary, "up")
    for thread in [*readers, *writers]:
        thread.stop()
    assert [reader.failed for reader in readers if reader.failed] == []
    assert all(reader.done > 20 for reader in readers)
    assert writers[0].failed == []
    assert all(after for _, after in writers[0].refused), "each 503 says when to come back"
    assert stack.children("worker") == workers
    none_half_done(stack, writers)
    # Each worker tries by itself, every two seconds at the latest.
    wait_until(lambda: client.post("/api/bookmarks", json={"url": pages.url("/slow")}).status_code == 201,
               20, "every worker is back")
    wait_until(lambda: stack.sql("SELECT scrape_status FROM saved_content WHERE url = %s",
                                 pages.url("/slow")) == [("SUCCESS",)], 40, "jobs are done again")
    failed = stack.sql("SELECT count(*) FROM saved_content WHERE url LIKE %s AND scrape_status = 'FAILED'",
                       pages.url("/") + "%")
    assert failed == [(0,)]


def test_a_promoted_replica_takes_the_writes(make_cluster, make_replicated):
    cluster = make_cluster(2)
    old, heir, other = cluster.primary, *cluster.replicas
    cluster.hosts = [old, heir, other]
    stack = make_replicated(cluster, more=NO_CACHE, database_more="max_lag = 1;", consumers=0,
                            jobs="scheduler = false;")
    client = stack.client().sign_up()
    for replica in cluster.replicas:
        wait_for_state(stack, replica, "up")
    workers = stack.children("worker")
    readers, writers = [Reader(client) for _ in range(2)], [Writer(client)]
    time.sleep(1)
    cluster.caught_up()
    old.server.process.kill()
    old.server.wait()
    wait_until(lambda: writers[0].refused, 30, "writes are refused")
    heir.promote()
    promoted = time.monotonic()
    cluster.primary = heir
    wait_until(lambda: writers[0].saved_since(promoted), 30, "writes go on")
    resumed = min(writers[0].saved_since(promoted)) - promoted
    print(f"writes resumed {resumed:.2f} s after the promotion")
    other.follow(heir)
    wait_until(lambda: queries(stack, other) and servers(stack)[other.folder]["state"] == "up", 30,
               "the other replica follows the new primary")
    wait_for_state(stack, heir, "promoted")
    for thread in [*readers, *writers]:
        thread.stop()
    assert resumed < 10, resumed  # 5 are promised, and asked for where the machine is ours
    assert [reader.failed for reader in readers if reader.failed] == []
    assert writers[0].failed == []
    assert stack.children("worker") == workers, "no worker was restarted"
    wait_until(lambda: client.get("/health/readiness").json()["status"] == "ready", 20, "all is well")
    assert client.get("/api/bookmarks").json()["total"] == heir.ask(
        "SELECT count(*) FROM saved_content", stack.database)


@pytest.mark.long
def test_a_start_without_the_primary_serves_reads(cluster, make_replicated, pages):
    pages.put("/later", article("Later", "word " * 80))
    stack = make_replicated(cluster, more=NO_CACHE)
    client = stack.client().sign_up()
    client.save("http://example.invalid/before")
    cluster.caught_up()
    stack.stop()
    cluster.primary.server.process.kill()
    cluster.primary.server.wait()
    stack.start()
    assert "until it is back reads are served from replicas" in stack.log_text()
    readiness = client.get("/health/readiness")
    assert (readiness.status_code, readiness.json()["status"]) == (200, "degraded"), readiness.text
    assert client.get("/api/bookmarks").json()["total"] == 1
    refused = client.post("/api/bookmarks", json={"url": pages.url("/later")})
    assert refused.status_code == 503 and refused.headers["Retry-After"], refused.text
    children = stack.children()
    cluster.primary.start()
    wait_until(lambda: client.post("/api/bookmarks", json={"url": pages.url("/later")}).status_code == 201,
               30, "writes go on")
    wait_until(lambda: stack.sql("SELECT scrape_status FROM saved_content WHERE url = %s",
                                 pages.url("/later")) == [("SUCCESS",)], 60, "jobs are done")
    assert stack.children() == children, "nothing was restarted"


@pytest.mark.long
def test_a_start_while_no_host_takes_writes_waits_for_one(make_cluster, make_replicated):
    cluster = make_cluster(1)
    old, heir = cluster.primary, cluster.replicas[0]
    cluster.hosts = [old, heir]
    stack = make_replicated(cluster, start=False)
    cluster.caught_up()
    old.server.process.kill()
    old.server.wait()
    stack.start(wait=False)
    wait_until(lambda: "session is read-only" in stack.log_text(), 20, stack.log_text)
    heir.promote()
    cluster.primary = heir
    stack.wait_ready()
    assert stack.client().sign_up().get("/api/bookmarks").json()["total"] == 0


@pytest.mark.long
def test_secrets_are_compared_on_the_host_that_takes_writes(make_cluster, make_replicated):
    cluster = make_cluster(1)
    cluster.hosts = [cluster.replicas[0], cluster.primary]
    stack = make_replicated(cluster, consumers=0)
    stack.reload(workers=1)
    wait_until(lambda: len(stack.children("worker")) == 1, 20, "it is reloaded")
    assert "could not be compared" not in stack.log_text()
