"""The cache's Redis Cluster under load for minutes: every primary is killed, hung and moved
away from in turn; no request fails, none shows what was before its user's own write, and the
cache is in use again five seconds after a promotion."""

import os
import signal
import sys
import time

import pytest
from redis_cluster import RedisCluster
from services import wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "integration/scale"))
from test_redis_cluster import (  # noqa: E402
    check_log, check_tags, counter, hit_rate, node_states, users_at_work)

USERS = 24
WITHIN_S = 5


@pytest.fixture
def cluster(folder):
    made = RedisCluster(folder + "/cluster")
    yield made
    made.stop()


@pytest.fixture
def stack(make_stack, cluster):
    return make_stack(workers=2, redis_more=cluster.settings(), log='level = "info"; access = false;')


def back_within(stack, before, what):
    """Hits are as frequent as before, seen over the second that ends in time."""
    began = time.monotonic()
    rate = wait_until(lambda: (now := hit_rate(stack, 0.5)) > 0.8 * before and now, 30, "hits again")
    took = time.monotonic() - began
    print(f"{what}: hit rate {before:.2f}, again {rate:.2f} after {took:.1f} s")
    assert took < WITHIN_S, f"{took:.1f} s"


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_every_primary_in_turn(stack, cluster, how):
    with users_at_work(stack, users=USERS) as load:
        before = hit_rate(stack, 3)
        for victim in cluster.primaries():
            heir = cluster.replicas_of(victim)[0]
            if how == "killed":
                victim.kill()
            else:
                victim.server.signal(signal.SIGSTOP)
            others = [node for node in cluster.running() if node is not victim]

            def promoted():
                state = cluster.state(others[0])
                return "master" in state[heir.port][1] and state[heir.port][3] > 0
            wait_until(promoted, 60, "its replica is promoted")
            back_within(stack, before, f"{victim.place} {how}")
            if how == "killed":
                victim.start()
            else:
                victim.server.signal(signal.SIGCONT)
            cluster.wait_settled(3, seconds=60)
            load.wait_for(500)
        print(f"{load.requests} requests, slowest {load.slowest:.3f} s, "
              f"{counter(stack, 'cache_cluster_errors_total')} commands without an answer")
    check_tags(cluster)
    check_log(stack)


def test_a_thousand_slots_move_around(stack, cluster):
    with users_at_work(stack, users=USERS) as load:
        before = hit_rate(stack, 3)
        for _ in range(2):
            primaries = cluster.primaries()
            for source, target in zip(primaries, primaries[1:] + primaries[:1]):
                cluster.move_slots(source, target, 1000)
                load.wait_for(200)
        back_within(stack, before, "6,000 slots moved")
        print(f"{load.requests} requests, slowest {load.slowest:.3f} s, "
              f"{counter(stack, 'cache_cluster_redirects_total')} redirections, "
              f"{counter(stack, 'cache_cluster_retries_total')} commands put off")
    assert counter(stack, "cache_cluster_redirects_total") > 0
    check_tags(cluster)
    check_log(stack)


def test_a_kill_while_slots_move(stack, cluster):
    """Both at once: the target of a move is killed in the middle of it."""
    with users_at_work(stack, users=USERS) as load:
        source, target = cluster.primaries()[:2]
        users = [cluster.slot(f"{{u{client.user['id']}}}") for client in stack.clients if client.user]
        slot = next(slot for slot in users if cluster.owner_of_slot(slot) is source)
        target.call("CLUSTER SETSLOT", slot, "IMPORTING", source.id())
        source.call("CLUSTER SETSLOT", slot, "MIGRATING", target.id())
        keys = source.call("CLUSTER GETKEYSINSLOT", slot, 1)
        source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        load.wait_for(500)
        target.kill()
        load.wait_for(1000)
        source.call("CLUSTER SETSLOT", slot, "STABLE")
        target.start()
        cluster.wait_settled(3, seconds=60)
        load.wait_for(500)
    check_log(stack)


def test_each_slot_by_itself_may_be_away(stack, cluster):
    """A primary without a replica: its users do without, the others notice nothing."""
    client = stack.client().sign_up()
    others = [stack.client().sign_up() for _ in range(12)]
    victim = cluster.owner(f"{{u{client.user['id']}}}")
    for replica in cluster.replicas_of(victim):
        replica.kill()
    for node in cluster.running():
        node.call("CONFIG SET", "cluster-require-full-coverage", "no")
    for each in (client, *others):
        each.save("http://example.invalid/a")
        assert each.get("/api/bookmarks").json()["total"] == 1
    victim.kill()
    wait_until(lambda: client.get("/api/bookmarks").ok and node_states(stack)[victim.place]["away"], 20,
               "it is seen to be away")
    slowest = 0
    for number in range(20):
        began = time.monotonic()
        client.save(f"http://example.invalid/b{number}")
        assert client.get("/api/bookmarks").json()["total"] == number + 2
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2, slowest
    # A session that ends now ends: PostgreSQL knows.
    gone = stack.client()
    gone.headers.update(client.headers)
    assert client.post("/api/auth/logout").status_code < 300
    wait_until(lambda: gone.get("/api/bookmarks").status_code == 401, 10, "the session has ended")
    hits = counter(stack, "cache_hit_total")
    unharmed = [each for each in others if cluster.slot(f"{{u{each.user['id']}}}")
                not in slots_of(cluster, victim)]
    assert unharmed
    for each in unharmed:
        for _ in range(3):
            assert each.get("/api/bookmarks").ok
    assert counter(stack, "cache_hit_total") >= hits + 2 * len(unharmed)
    # It comes back with what it knew: nothing of that is shown.
    victim.start()
    client.log_in(client.user["username"])
    for _ in range(100):
        assert client.get("/api/bookmarks").json()["total"] == 21
        time.sleep(0.02)
    check_log(stack)


def slots_of(cluster, node):
    return {slot for first, last, (_, port, *_), *_ in cluster.raw_slots() if port == node.port
            for slot in range(first, last + 1)}
