"""Read replicas over minutes: what tests/integration/scale tries shortly, at full length."""

import concurrent.futures
import os
import signal
import tempfile
import time

import pytest
import requests
from primary import none_half_done, signal_all
from replica_load import (Reader, Writer, queries, read_all, served_by, servers,
                          wait_for_state)
from replication import Cluster
from services import wait_until

NO_CACHE = "cache: { enabled = false; };"
PAIRS = 1000
PAUSE_S = 10
OUTAGE_S = 10


@pytest.fixture
def make(session_folder, postgres, template, make_stack):
    clusters = []

    def made(count=2, hosts=False, database_more="", **options):
        folder = tempfile.mkdtemp(dir=session_folder)
        os.chmod(folder, 0o755)
        cluster = Cluster(folder, count, source=(postgres, template))
        clusters.append(cluster)
        if hosts:
            cluster.hosts = [cluster.primary, *cluster.replicas]
        stack = make_stack(start=False, more=NO_CACHE, **options)
        cluster.create(stack.database, "migrated")
        cluster.caught_up()
        stack.postgres = cluster
        stack.write_config(database_more=cluster.option(stack.database) + database_more)
        stack.start()
        for replica in cluster.replicas:
            wait_for_state(stack, replica, "up")
        return cluster, stack
    yield made
    for cluster in clusters:
        cluster.stop()


def test_a_thousand_writes_are_seen_by_their_writers(make):
    """Check 1: replay paused on both replicas; each pair's read is another worker's, often."""
    cluster, stack = make(workers=4, consumers=0, jobs="scheduler = false;", database_more="max_lag = 60;")
    clients = [stack.client().sign_up() for _ in range(10)]
    for replica in cluster.replicas:
        replica.pause()
    began = time.monotonic()

    def pairs(client):
        headers = {"Authorization": f"Bearer {client.token}", "Connection": "close"}
        each = PAIRS // len(clients)
        for number in range(each):
            # So that they last for the whole pause.
            time.sleep(max(0, began + PAUSE_S * number / each - time.monotonic()))
            saved = requests.post(client.base + "/api/bookmarks", headers=headers, timeout=60,
                                  json={"url": f"http://example.invalid/{number}"})
            assert saved.status_code == 201, saved.text
            found = requests.get(client.base + "/api/bookmarks?per_page=5", headers=headers, timeout=60).json()
            assert found["total"] == number + 1
            assert found["bookmarks"][0]["id"] == saved.json()["bookmark"]["id"]
        return each
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        done = sum(pool.map(pairs, clients))
    lasted = time.monotonic() - began
    behind = [replica.ask("SELECT count(*) FROM saved_content", stack.database) for replica in cluster.replicas]
    assert behind == [0, 0], "replay was paused all the time"
    for replica in cluster.replicas:
        replica.resume()
    cluster.caught_up()
    wait_until(lambda: served_by(stack, clients[0], cluster.replicas), 30, "replicas serve them again")
    print(f"\n{done} pairs in {lasted:.1f} s by {len(stack.children('worker'))} workers: each read saw its write")


def test_reads_are_spread_within_a_fifth(make):
    cluster, stack = make(consumers=0, jobs="scheduler = false;", database_more="max_lag = 1;")
    clients = [stack.client().sign_up() for _ in range(4)]
    for client in clients:
        for number in range(20):
            client.save(f"http://example.invalid/{number}")
    time.sleep(4)
    everybody = [cluster.primary, *cluster.replicas]

    def counted():
        return [cluster.transactions(server, stack.database) for server in everybody]
    time.sleep(2)  # a backend writes its counters once a second
    before, asked = counted(), [queries(stack, server) for server in everybody]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda client: read_all(client, 2000), clients))
    time.sleep(2)
    after = counted()
    reads = [now[0] - then[0] for now, then in zip(after, before)]
    rows = [now[1] - then[1] for now, then in zip(after, before)]
    asked = [queries(stack, server) - then for server, then in zip(everybody, asked)]
    print(f"\n8000 lists: transactions {reads}, queries as forkmark counts {asked}, rows written {rows}")
    assert asked[0] == 0 and min(asked[1:]) >= 0.8 * max(asked[1:])
    assert rows[1:] == [0, 0]


def test_a_replica_is_killed_under_load(make):
    cluster, stack = make(consumers=0, jobs="scheduler = false;", database_more="max_lag = 1;")
    client = stack.client().sign_up()
    client.save("http://example.invalid/a")
    time.sleep(4)
    readers = [Reader(client) for _ in range(16)]
    for _ in range(5):
        lost = cluster.replicas[0]
        asked = queries(stack, lost)
        wait_until(lambda: queries(stack, lost) > asked + 50, 30, "it is read from")
        lost.server.process.kill()
        lost.server.wait()
        wait_for_state(stack, lost, "down")
        time.sleep(1)
        lost.start()
        wait_for_state(stack, lost, "up")
    stopped = cluster.pids(cluster.replicas[1])  # and one hangs
    signal_all(stopped, signal.SIGSTOP)
    wait_for_state(stack, cluster.replicas[1], "down")
    time.sleep(3)
    signal_all(stopped, signal.SIGCONT)
    wait_for_state(stack, cluster.replicas[1], "up")
    for reader in readers:
        reader.stop()
    failed = [what for reader in readers for what in reader.failed]
    retries = {name[-3:]: row["retries"] for name, row in servers(stack).items()}
    print(f"\n{sum(reader.done for reader in readers)} reads over 5 kills and a hang, {len(failed)} failed, the "
          f"slowest {max(reader.slowest for reader in readers):.1f} s; asked elsewhere: {retries}")
    assert not failed, failed[:3]


def test_ten_seconds_without_the_primary(make, pages):
    """Check 2, first half."""
    cluster, stack = make(consumers=2, database_more="max_lag = 1;")
    clients = [stack.client().sign_up() for _ in range(3)]
    paths = ["/api/bookmarks", "/api/bookmarks?search=example", "/api/bookmarks/dashboard/stats",
             "/api/auth/verify"]
    for client in clients:
        client.save("http://example.invalid/a")
    workers, consumers = stack.children("worker"), stack.children("consumer")
    readers = [Reader(client, path) for client in clients for path in paths]
    writers = [Writer(client) for client in clients]
    time.sleep(3)
    cluster.primary.server.process.kill()
    cluster.primary.server.wait()
    lost = time.monotonic()
    time.sleep(OUTAGE_S)
    health = clients[0].get("/health/readiness")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    cluster.primary.start()
    back = time.monotonic()
    wait_until(lambda: all(writer.saved_since(back) for writer in writers), 20, "writes go on")
    resumed = max(min(writer.saved_since(back)) for writer in writers) - back
    time.sleep(3)
    for thread in [*readers, *writers]:
        thread.stop()
    failed = [what for reader in readers for what in reader.failed]
    refused = [after for writer in writers for _, after in writer.refused]
    print(f"\n{sum(r.done for r in readers)} reads, {len(failed)} failed, the slowest "
          f"{max(r.slowest for r in readers):.1f} s; {sum(len(w.saved) for w in writers)} writes answered, "
          f"{len(refused)} refused over {back - lost:.1f} s, again after {resumed:.2f} s")
    assert not failed, failed[:3]
    assert [writer.failed for writer in writers if writer.failed] == []
    assert refused and all(refused), "each 503 has its Retry-After"
    assert stack.children("worker") == workers and stack.children("consumer") == consumers
    none_half_done(stack, writers)
    # No job has failed for it: those links lead nowhere, and say so only.
    reasons = stack.sql("SELECT DISTINCT error ->> 'error_code' FROM bookmark_events WHERE error IS NOT NULL")
    assert reasons in ([], [("FETCH_FAILED",)]), reasons


def test_a_promotion_is_found_within_five_seconds(make):
    """Check 2, second half; the time that is promised, where the machine is ours."""
    cluster, stack = make(hosts=True, consumers=1, database_more="max_lag = 1;")
    old, heir, other = cluster.primary, *cluster.replicas
    client = stack.client().sign_up()
    workers = stack.children("worker")
    readers, writers = [Reader(client) for _ in range(4)], [Writer(client)]
    time.sleep(3)
    cluster.caught_up()
    old.server.process.kill()
    old.server.wait()
    time.sleep(3)
    heir.promote()
    promoted = time.monotonic()
    cluster.primary = heir
    wait_until(lambda: writers[0].saved_since(promoted), 30, "writes go on")
    resumed = min(writers[0].saved_since(promoted)) - promoted
    other.follow(heir)
    wait_for_state(stack, heir, "promoted")
    wait_for_state(stack, other, "up")
    time.sleep(2)
    for thread in [*readers, *writers]:
        thread.stop()
    failed = [what for reader in readers for what in reader.failed]
    print(f"\nwrites resumed {resumed:.2f} s after the promotion; {sum(r.done for r in readers)} reads, "
          f"{len(failed)} failed; {len(writers[0].refused)} writes refused meanwhile")
    assert not failed and not writers[0].failed
    assert resumed < 5
    assert stack.children("worker") == workers


def test_a_primary_that_is_silent_is_given_up(make):
    """Its connections stay open, and nothing comes: a machine that hangs."""
    cluster, stack = make(count=1, consumers=0, jobs="scheduler = false;", workers=1, database_more="max_lag = 1;")
    client = stack.client().sign_up()
    client.save("http://example.invalid/a")
    reader = Reader(client)
    pids = cluster.pids(cluster.primary)
    signal_all(pids, signal.SIGSTOP)
    try:
        wait_for_state(stack, cluster.primary, "down")
        began = time.monotonic()
        assert client.get("/api/bookmarks").json()["total"] == 1
        saved = client.post("/api/bookmarks", json={"url": "http://example.invalid/b"})
        assert saved.status_code == 503 and saved.headers["Retry-After"]
        assert client.get("/health/readiness").json()["status"] == "degraded"
        print(f"\nanswered within {time.monotonic() - began:.2f} s once it was known")
    finally:
        signal_all(pids, signal.SIGCONT)
    wait_for_state(stack, cluster.primary, "up")
    wait_until(lambda: client.post("/api/bookmarks", json={"url": "http://example.invalid/b"}).status_code
               in (200, 201), 20, "writes go on")
    assert reader.stop().failed == []


def test_a_primary_that_turns_read_only_is_left(make):
    """No connection breaks: the server says 25006, and the other host takes writes."""
    cluster, stack = make(count=1, hosts=True, consumers=0, jobs="scheduler = false;")
    old, heir = cluster.primary, cluster.replicas[0]
    client = stack.client().sign_up()
    client.save("http://example.invalid/a")
    cluster.caught_up()
    old.ask("ALTER SYSTEM SET default_transaction_read_only = on")
    old.ask("SELECT pg_reload_conf()")
    heir.promote()
    cluster.primary = heir

    def is_saved():
        answer = client.post("/api/bookmarks", json={"url": "http://example.invalid/b"})
        assert answer.status_code in (201, 503), answer.text
        assert answer.status_code == 201 or answer.headers["Retry-After"]
        return answer.status_code == 201
    wait_until(is_saved, 20, "writes find the other host")
    assert heir.ask("SELECT count(*) FROM saved_content", stack.database) == 2
    assert client.get("/api/bookmarks").json()["total"] == 2


def test_redis_goes_away_and_nobody_misses_a_write(make, redis_server):
    """Positions cannot be told to Redis: the primary, and what is owed is told later."""
    cluster, stack = make(consumers=0, jobs="scheduler = false;", database_more="max_lag = 30;")
    client = stack.client().sign_up()
    client.save("http://example.invalid/0")
    cluster.caught_up()
    wait_until(lambda: served_by(stack, client, cluster.replicas), 60, "replicas serve")
    for replica in cluster.replicas:
        replica.pause()
    redis_server.server.signal(signal.SIGSTOP)
    for number in range(1, 6):
        client.save(f"http://example.invalid/{number}")
        for _ in range(4):
            fresh = {"Authorization": f"Bearer {client.token}", "Connection": "close"}
            found = requests.get(client.base + "/api/bookmarks", headers=fresh, timeout=60).json()
            assert found["total"] == number + 1
    redis_server.server.signal(signal.SIGCONT)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        found = requests.get(client.base + "/api/bookmarks", timeout=60, headers={
            "Authorization": f"Bearer {client.token}", "Connection": "close"}).json()
        assert found["total"] == 6
    for replica in cluster.replicas:
        replica.resume()


def hang(stack, server, load, seconds=10):
    """The server stops in the middle of `load`; how long each answer then took."""
    pids = stack.postgres.pids(server)
    signal_all(pids, signal.SIGSTOP)
    began = time.monotonic()
    try:
        wait_for_state(stack, server, "down")
        known = time.monotonic() - began
        time.sleep(max(0, seconds - known))
    finally:
        signal_all(pids, signal.SIGCONT)
    wait_for_state(stack, server, "up")
    for thread in load:
        thread.stop()
    print(f"\nknown after {known:.1f} s, slowest answer {max(thread.slowest for thread in load):.1f} s")


@pytest.mark.parametrize("overflow", [10, 0])
def test_a_replica_hangs_with_all_its_connections_taken(make, overflow):
    """Slow reads have connections of their own, and none is left for who looks whether it answers."""
    cluster, stack = make(count=1, consumers=0, jobs="scheduler = false;", workers=1,
                          database_more=f"max_lag = 30; max_overflow = {overflow};")
    client = stack.client().sign_up()
    client.save("http://example.invalid/a")
    wait_until(lambda: served_by(stack, client, cluster.replicas), 60, "the replica serves")
    load = [Reader(client, "/api/bookmarks?search=example") for _ in range(20)] + [Reader(client)]
    time.sleep(1)
    hang(stack, cluster.replicas[0], load)
    assert [reader.failed for reader in load if reader.failed] == []
    assert max(reader.slowest for reader in load) < 8


def test_the_primary_hangs_with_all_its_connections_taken(make):
    cluster, stack = make(count=1, consumers=0, jobs="scheduler = false;", workers=1,
                          database_more="max_lag = 1;")
    client, reading = stack.client().sign_up(), stack.client().sign_up()
    reading.save("http://example.invalid/a")
    time.sleep(3)
    writers = [Writer(client, pause=0.01) for _ in range(20)]
    load = [Reader(reading, "/api/bookmarks?search=example") for _ in range(4)] + writers
    time.sleep(1)
    hang(stack, cluster.primary, load)
    assert [each.failed for each in load if each.failed] == []
    assert all(after for writer in writers for _, after in writer.refused)
    assert max(each.slowest for each in load) < 12
    wait_until(lambda: client.post("/api/bookmarks", json={"url": "http://example.invalid/b"}).status_code
               in (200, 201), 20, "writes go on")
