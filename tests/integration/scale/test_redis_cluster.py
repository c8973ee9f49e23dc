"""The cache in a Redis Cluster of six: nodes are killed, added and removed, and slots moved,
under load; no request fails, and nobody is shown what was before his own write."""

import re
import subprocess
import time
from contextlib import contextmanager

import pytest
from redis_cluster import RedisCluster
from services import wait_until
from stack import BINARY
from user_load import UserLoad

USERS = 12


@pytest.fixture(scope="module")
def six_nodes(session_folder):
    made = RedisCluster(session_folder + "/cluster")
    yield made
    made.stop()


@pytest.fixture
def cluster(six_nodes):
    """The same one for all: each test leaves it whole. Its users are of another database."""
    six_nodes.flush()
    return six_nodes


@pytest.fixture
def stack(make_stack, cluster):
    return make_stack(redis_more=cluster.settings())


def counter(stack, name):
    text = stack.client().get("/metrics").text
    found = re.search(rf"^\w*{name} (\d+)$", text, re.MULTILINE)
    assert found, f"no {name} in\n{text}"
    return int(found.group(1))


def node_states(stack):
    """{place: {state: processes}} as /metrics tells."""
    found = {}
    text = stack.client().get("/metrics").text
    for place, state, count in re.findall(
            r'^\w*redis_server_processes\{server="([^"]+)",use="cache cluster",role="\w+",state="(\w+)"\} (\d+)$', text, re.MULTILINE):
        found.setdefault(place, {})[state] = int(count)
    return found


def hit_rate(stack, seconds):
    hits, misses = counter(stack, "cache_hit_total"), counter(stack, "cache_miss_total")
    time.sleep(seconds)
    hits, misses = counter(stack, "cache_hit_total") - hits, counter(stack, "cache_miss_total") - misses
    return hits / max(1, hits + misses)


@contextmanager
def users_at_work(stack, users=USERS, pause=0.01):
    load = UserLoad([stack.client().sign_up() for _ in range(users)], pause=pause)
    try:
        load.wait_for(20 * users)
        yield load
    finally:
        load.stop()
    assert not load.failures, load.failures[:5]
    assert not load.stale, f"{len(load.stale)} of {load.requests}: {load.stale[:5]}"


def check_tags(cluster):
    """All keys of a user (or an address) lie in its tag's slot, on one node."""
    seen, tags = {}, {}
    for node, keys in cluster.keys().items():
        for key in keys:
            tag = re.search(r"\{([^}]+)\}", key)
            assert tag, f"{key} has no tag"
            tags[key] = tag.group(1)
            seen.setdefault(tag.group(1), set()).add(node.port)
    slots = cluster.slots([*tags, *set(tags.values())])
    assert all(slots[key] == slots[tag] for key, tag in tags.items())
    assert all(len(ports) == 1 for ports in seen.values()), seen
    return seen


def check_log(stack):
    text = stack.log_text()
    for word in ("CROSSSLOT", "lie in several slots", "refuses the access script"):
        assert word not in text, text[-4000:]


def test_users_are_spread_and_each_is_on_one_node(stack, cluster):
    with users_at_work(stack):
        assert hit_rate(stack, 1) > 0.3
    seen = check_tags(cluster)
    users = {tag for tag in seen if tag.startswith("u")}
    assert len(users) == USERS
    assert any(tag.startswith("ip") for tag in seen), "limits of those without a token are there too"
    assert len({port for tag in users for port in seen[tag]}) >= 2, "more than one node has users"
    # Nothing of it is in the queue's Redis.
    assert not [key for key in stack.redis.keys("fm:*") if b"{u" in key]
    assert counter(stack, "cache_cluster_errors_total") == 0
    status = stack.ctl("status").stdout
    assert "cache: cluster of 3 primaries and 3 replicas\n" in status, status
    # A session that ends is known on its node at once.
    client = stack.clients[0]
    assert client.post("/api/auth/logout").status_code < 300
    assert client.get("/api/bookmarks").status_code == 401
    check_log(stack)


def test_a_primary_is_killed_under_load(stack, cluster):
    with users_at_work(stack) as load:
        before = hit_rate(stack, 2)
        victim = cluster.owner(f"{{u{stack.clients[0].user['id']}}}")
        heir = cluster.replicas_of(victim)[0]
        quiet = next(client for client in iter(lambda: stack.client().sign_up(), None)
                     if cluster.owner(f"{{u{client.user['id']}}}") is victim)
        ended = stack.client().log_in(quiet.user["username"])
        generation = f"fm:{{u{quiet.user['id']}}}:gen"
        quiet.save("http://example.invalid/a")
        assert ended.get("/api/bookmarks").json()["total"] == 1  # cached, under this generation:
        old = victim.call("GET", generation)
        quiet.save("http://example.invalid/b")
        wait_until(lambda: heir.connect().dbsize() and heir.info("master_link_status") == "up", 10, "it follows")
        victim.kill()
        assert ended.post("/api/auth/logout").status_code < 300  # which nobody of Redis hears
        wait_until(lambda: node_states(stack).get(victim.place, {}).get("away"), 20, "it is seen to be away")
        wait_until(lambda: heir in cluster.primaries() and cluster.is_ok(), 40, "its replica is promoted")
        promoted = time.monotonic()
        # As if the replica had lost its primary's last words: they are not believed.
        heir.call("SET", generation, old)
        assert heir.call("KEYS", f"fm:{{u{quiet.user['id']}}}:{old[:16]}:*"), "the old list is there"
        assert [quiet.get("/api/bookmarks").json()["total"] for _ in range(5)] == [2] * 5
        assert ended.get("/api/bookmarks").status_code == 401
        load.wait_for(300)
        wait_until(lambda: node_states(stack).get(heir.place, {}).get("up"), 20, "the heir is in use")
        rate = wait_until(lambda: (now := hit_rate(stack, 0.5)) > 0.8 * before and now, 20, "hits again")
        print(f"hit rate {before:.2f}, again {rate:.2f} {time.monotonic() - promoted:.1f} s after the promotion, "
              f"slowest request {load.slowest:.3f} s")
        victim.start()  # as a replica now
        cluster.wait_settled(3)
        load.wait_for(300)
    check_tags(cluster)
    check_log(stack)


def test_slots_move_and_nodes_come_and_go_under_load(stack, cluster):
    with users_at_work(stack) as load:
        first, second = cluster.primaries()[:2]
        cluster.move_slots(first, second, 1000)
        load.wait_for(300)
        new = cluster.add_primary()
        # The slots of those who are at work, one by one, there and back.
        slots = {client.user["id"]: cluster.slot(f"{{u{client.user['id']}}}") for client in stack.clients
                 if client.user}
        for number, slot in slots.items():
            cluster.move_slot(slot, cluster.owner(f"{{u{number}}}"), new)
        load.wait_for(300)
        wait_until(lambda: node_states(stack).get(new.place, {}).get("up"), 20, "the new node is in use")
        for slot in slots.values():
            cluster.move_slot(slot, new, first)
        cluster.remove(new)
        load.wait_for(300)
        wait_until(lambda: new.place not in node_states(stack), 30, "it is forgotten")
    assert counter(stack, "cache_cluster_redirects_total") > 0
    assert counter(stack, "cache_cluster_refreshes_total") > 0
    check_tags(cluster)
    check_log(stack)


@pytest.mark.long
def test_cached_answers_are_read_from_replicas(make_stack, cluster):
    stack = make_stack(redis_more=cluster.settings("read_replicas = true;"))
    with users_at_work(stack) as load:
        def count(node, command):
            stats = node.connect().info("commandstats")
            return stats.get(f"cmdstat_{command}", {"calls": 0})["calls"]
        replicas = [node for node in cluster.running() if node not in cluster.primaries()]
        assert sum(count(node, "get") for node in replicas) > 100
        assert sum(count(node, "evalsha") + count(node, "eval") for node in replicas) == 0, \
            "limits, revocations and generations are the primary's"
        # A replica that is lost costs nothing but speed.
        replicas[0].kill()
        load.wait_for(300)
    replicas[0].start()
    cluster.wait_settled(3)
    check_log(stack)


@pytest.mark.long
def test_a_reload_moves_the_cache_into_the_cluster(make_stack, cluster):
    stack = make_stack()
    with users_at_work(stack, users=4) as load:
        workers = stack.children("worker")
        stack.reload(redis_more=cluster.settings())
        wait_until(lambda: not set(stack.children("worker")) & set(workers), 40, "new workers")
        load.wait_for(200)
        assert len(check_tags(cluster)) >= 4
    check_log(stack)
    assert "warning" not in check_services(stack)
    # A node alone is no cache: one is told so.
    stack.write_config(redis_more=f'cache_url = "redis://{cluster.primaries()[0].place}";')
    assert "name some of its nodes in redis.cache.cluster" in check_services(stack)
    stack.write_config(redis_more='cache: { cluster = [ "127.0.0.1:1" ]; };')
    assert "the cache's Redis does not answer" in check_services(stack)


def check_services(stack):
    return subprocess.run([BINARY, "check", "--services", "--config", stack.config], capture_output=True, text=True,
                          check=False).stderr


@pytest.mark.long
def test_user_password_and_tls_are_every_nodes(make_stack, folder):
    tls = folder + "/tls"
    subprocess.run(["sh", "-e", "-c", f"""
        mkdir -p {tls}; cd {tls}
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=test CA' -keyout ca.key -out ca.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=redis' -keyout redis.key -out redis.csr
        printf 'subjectAltName=IP:127.0.0.1' >ext
        openssl x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out redis.crt
        chmod 644 redis.key"""], check=True, capture_output=True)
    cluster = RedisCluster(folder + "/cluster", replicas=0, tls=tls, auth=("cache", "geheim"))
    try:
        stack = make_stack(start=False, redis_more=cluster.settings(
            'user = "cache"; password = "geheim"; ssl = true;'))
        stack.environ["SSL_CERT_FILE"] = f"{tls}/ca.crt"
        stack.start()
        with users_at_work(stack, users=3) as load:
            load.wait_for(50)
        assert len({port for ports in check_tags(cluster).values() for port in ports}) >= 2
        assert counter(stack, "cache_cluster_errors_total") == 0
        # The password is nobody's to see.
        shown = stack.ctl("show", "config").stdout
        assert "geheim" not in shown and '"cache"' in shown
    finally:
        cluster.stop()
