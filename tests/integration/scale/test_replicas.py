"""Read replicas: reads are spread, nobody misses their own writes, failures stay unseen."""

import concurrent.futures

import pytest
import requests
from pages import article
from pgbouncer import PgBouncer
from replica_load import (Reader, queries, read_all, served_by, servers, state_of,
                          wait_for_state)
from services import wait_until

# Every read is to reach PostgreSQL.
NO_CACHE = "cache: { enabled = false; };"
# Longer than any test here: whoever has written reads from replicas because they have it.
LAG = "max_lag = 30;"


@pytest.mark.long
def test_reads_are_spread_and_writes_go_to_the_primary(cluster, make_replicated):
    stack = make_replicated(cluster, more=NO_CACHE, database_more=LAG, consumers=0,
                            jobs="scheduler = false;")
    for replica in cluster.replicas:
        wait_for_state(stack, replica, "up")
    client = stack.client().sign_up()
    for number in range(20):
        client.save(f"http://example.invalid/{number}")
    wait_until(lambda: served_by(stack, client, cluster.replicas), 30, "the replicas have it")
    everybody = [cluster.primary, *cluster.replicas]
    before = {server: queries(stack, server) for server in everybody}
    read_all(client, 400)
    reads = [queries(stack, server) - before[server] for server in everybody]
    assert reads[0] < 20 and sum(reads) >= 400, reads
    assert min(reads[1:]) >= 0.8 * max(reads[1:]), f"spread unevenly: {reads}"

    # The servers themselves say the same, once their counters are written.
    written = [0, 0, 0]

    def counted():
        found = [cluster.transactions(server, stack.database) for server in everybody]
        written[:] = [rows for _, rows in found]
        return min(count for count, _ in found[1:]) >= 50 and written[0] >= 60
    wait_until(counted, 30, "pg_stat_database has them")
    assert written[1:] == [0, 0], written
    text = client.get("/metrics").text
    for server in everybody:
        assert f'forkmark_database_server_queries_total{{server="{server.folder}:5432"' in text
    assert text.count('forkmark_database_server_lag_seconds{') == 2


def write_then_read(client):
    """Ten pairs, each on new connections: by another worker, as often as not."""
    headers = {"Authorization": f"Bearer {client.token}", "Connection": "close"}
    for number in range(10):
        saved = requests.post(client.base + "/api/bookmarks", headers=headers, timeout=60,
                              json={"url": f"http://example.invalid/{number}"})
        assert saved.status_code == 201, saved.text
        found = requests.get(client.base + "/api/bookmarks", headers=headers, timeout=60).json()
        assert found["total"] == number + 1
        assert found["bookmarks"][0]["id"] == saved.json()["bookmark"]["id"]
    gone = saved.json()["bookmark"]["id"]
    assert requests.delete(f"{client.base}/api/bookmarks/{gone}", headers=headers,
                           timeout=60).status_code == 200
    found = requests.get(client.base + "/api/bookmarks", headers=headers, timeout=60).json()
    assert found["total"] == 9
    return True


@pytest.fixture
def poolers(cluster, session_folder):
    """A PgBouncer in transaction mode before each of the servers."""
    made = [PgBouncer(f"{session_folder}/pool{number}", server)
            for number, server in enumerate([cluster.primary, *cluster.replicas])]
    yield made
    for pooler in made:
        pooler.stop()


@pytest.mark.parametrize("behind", ["none", pytest.param("poolers", marks=pytest.mark.long)])
def test_own_writes_are_seen_while_replay_is_paused(cluster, make_replicated, request, behind):
    poolers = request.getfixturevalue("poolers") if behind == "poolers" else None
    primary, *replicas = poolers or [cluster.primary, *cluster.replicas]
    stack = make_replicated(cluster, start=False, workers=2, more=NO_CACHE, consumers=0,
                            jobs="scheduler = false;", pooler=poolers and primary)
    stack.write_config(database_more=cluster.option(stack.database, replicas) + LAG)
    stack.start()
    for replica in replicas:
        wait_for_state(stack, replica, "up")
    clients = [stack.client().sign_up() for _ in range(4)]
    try:
        for replica in cluster.replicas:
            replica.pause()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert all(pool.map(write_then_read, clients))
        # Others see what the replicas have: nobody asks the primary without need.
        assert stack.sql("SELECT count(*) FROM saved_content") == [(36,)]
        assert cluster.replicas[0].ask("SELECT count(*) FROM saved_content", stack.database) == 0
    finally:
        for replica in cluster.replicas:
            replica.resume()
    cluster.caught_up()
    before = queries(stack, primary)
    wait_until(lambda: served_by(stack, clients[0], replicas), 30, "replicas serve them again")
    assert queries(stack, primary) >= before


def test_a_job_that_writes_is_seen_at_once(cluster, make_replicated, pages):
    stack = make_replicated(cluster, more=NO_CACHE, database_more=LAG)
    pages.put("/a", article("A page", "word " * 80))
    for replica in cluster.replicas:
        wait_for_state(stack, replica, "up")
    client = stack.client().sign_up()
    for replica in cluster.replicas:
        replica.pause()
    try:
        number = client.save(pages.url("/a"))
        wait_until(lambda: stack.sql("SELECT scrape_status FROM saved_content WHERE id = %s", number)
                   == [("SUCCESS",)], 30, "the job has run")
        # The consumer has told Redis right behind its commit.
        wait_until(lambda: client.bookmark(number)["scrape_status"] == "SUCCESS", 5, "its write is seen")
    finally:
        for replica in cluster.replicas:
            replica.resume()


def test_a_replica_beyond_max_lag_is_not_used(cluster, make_replicated):
    stack = make_replicated(cluster, more=NO_CACHE, database_more="max_lag = 1;", consumers=0,
                            jobs="scheduler = false;")
    one, other = cluster.replicas
    client = stack.client().sign_up()
    wait_for_state(stack, one, "up")
    one.pause()
    try:
        client.save("http://example.invalid/a")
        wait_for_state(stack, one, "behind")
        wait_until(lambda: served_by(stack, client, cluster.replicas), 30, "the other has it")
        before = queries(stack, one), queries(stack, other)
        read_all(client, 40)
        assert queries(stack, one) == before[0]
        # (A machine that is busy may let the other one seem old for a moment, too.)
        assert queries(stack, other) >= before[1] + 20
    finally:
        one.resume()
    wait_for_state(stack, one, "up")


def test_a_replica_is_killed_and_nobody_notices(cluster, make_replicated):
    lost = cluster.add()
    try:
        stack = make_replicated(cluster, more=NO_CACHE, database_more=LAG, consumers=0,
                                jobs="scheduler = false;")
        client = stack.client().sign_up()
        client.save("http://example.invalid/a")
        wait_for_state(stack, lost, "up")
        readers = [Reader(client) for _ in range(6)]
        wait_until(lambda: queries(stack, lost) > 50, 30, "it is read from")
        lost.server.process.kill()
        wait_for_state(stack, lost, "down")
        for reader in readers:
            reader.stop()
        assert [reader.failed for reader in readers if reader.failed] == []
        assert all(reader.done > 10 for reader in readers)
    finally:
        lost.server.end()
        cluster.replicas.remove(lost)


@pytest.mark.long
def test_replicas_come_and_go_by_reload_under_load(cluster, make_replicated):
    one = cluster.replicas[0]
    stack = make_replicated(cluster, more=NO_CACHE, database_more=LAG, consumers=0,
                            jobs="scheduler = false;")
    client = stack.client().sign_up()
    client.save("http://example.invalid/a")
    readers = [Reader(client) for _ in range(3)]
    try:
        def reload(replicas):
            stack.write_config(database_more=cluster.option(stack.database, replicas) + LAG)
            return stack.ctl("reload", "--wait")
        assert reload([]).returncode == 0
        wait_until(lambda: set(servers(stack)) == {cluster.primary.folder}, 20, "the primary alone")
        # One that does not answer is told, and no reason to refuse.
        nobody = Nobody(cluster.folder + "/nobody")
        done = reload([one, nobody])
        assert done.returncode == 0
        assert "database.replicas: [ ] -> [ (set), (set) ]" in done.stdout, done.stdout
        assert f"the replica {nobody.folder}:5432 does not answer" in stack.log_text()
        wait_for_state(stack, nobody, "down")
        wait_for_state(stack, one, "up")
        # One that cannot be an address is.
        stack.write_config(database_more='replicas = [ "postgresql://user:geheim@[::1/x" ];')
        bad = stack.ctl("reload", "--wait")
        assert bad.returncode == 1 and "`database.replicas` must hold URLs" in bad.stderr, bad.stderr
        assert "geheim" not in stack.log_text() + bad.stderr + bad.stdout
        # Each has room of its own, which is counted.
        small = cluster.add("-c", "superuser_reserved_connections=290")
        refused = reload([one, small])
        assert refused.returncode == 1
        assert (f"the workers keep 15 connections to the replica {small.folder}:5432 open "
                "(3 workers (one more while they are replaced) x 5)") in refused.stderr, refused.stderr
    finally:
        for replica in cluster.replicas[2:]:
            replica.server.end()
        del cluster.replicas[2:]
        for reader in readers:
            reader.stop()
    assert [reader.failed for reader in readers if reader.failed] == []
    assert all(reader.done > 20 for reader in readers)


class Nobody:
    """A replica that is not there."""

    def __init__(self, folder):
        self.folder = folder

    def url(self, database):
        return f"postgresql://forkmark@/{database}?host={self.folder}"
