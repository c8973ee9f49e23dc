"""The queue's master killed, stopped, moved and cut off under load, sentinels too: every
bookmark that was answered 201 is processed, and nobody sees anything twice."""

import signal
import subprocess
import threading
import time

import pytest
from certificates import Authority
from savers import Savers
from sentinel import NAME, Sentinels
from services import wait_until
from stack import BINARY


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
    return sentinels


def kill(sentinels):
    return sentinels.kill_master()


def order(sentinels):
    return sentinels.order_failover()


def stop(sentinels):
    """Hung: its connections stay, and nothing comes. It goes on once it is nobody."""
    old = sentinels.master()
    old.server.signal(signal.SIGSTOP)
    return old


def slow(sentinels):
    """Taken for dead, it goes on in the middle of its replacement, with what it had been
    sent."""
    old = stop(sentinels)

    def is_under_way():
        return any("failover_in_progress" in sentinels.ask(node, "MASTER", NAME)["flags"]
                   for node in sentinels.sentinels)

    def go_on():
        end = time.monotonic() + 10
        while not is_under_way() and time.monotonic() < end:
            time.sleep(0.02)
        old.server.signal(signal.SIGCONT)
    threading.Thread(target=go_on, daemon=True).start()
    return old


def kill_with_a_sentinel(sentinels):
    """The sentinel that is asked first goes, and the master a moment later."""
    sentinels.sentinels[0].server.end(signal.SIGKILL)
    time.sleep(1)
    return sentinels.kill_master()


MOVES = [kill, order, stop, slow, kill_with_a_sentinel]


def ordeal(stack, pages, sentinels, moves, pause=0.05, patience=180):
    """The moves one after the other under load; what has become of the bookmarks."""
    processes = stack.children()
    savers = Savers(stack, pages, count=4, pause=pause)
    try:
        for move in moves:
            before = len(savers.saved)
            wait_until(lambda: len(savers.saved) > before + 50, 60, "bookmarks are saved")
            began = time.monotonic()
            old = move(sentinels)
            sentinels.wait_for_another(old, 60)
            print(f"{move.__name__}: another master after {time.monotonic() - began:.1f} s, {savers}")
            sentinels.restore()
            after = len(savers.saved)
            wait_until(lambda: len(savers.saved) > after + 50, 60, "bookmarks are saved after it")
    finally:
        savers.stop()
    assert savers.failures == [] and savers.slowest < 10
    wait_until(lambda: not savers.unfinished(), patience, lambda: savers.explain(sentinels))
    print(savers)
    assert savers.told_twice() == []
    assert stack.sql("SELECT count(*) FROM outbox") == [(0,)]
    assert stack.children() == processes, "nothing was restarted"
    return savers


@pytest.mark.parametrize("move", MOVES)
def test_each_move(make_stack, pages, sentinels, move):
    stack = make_stack(workers=2, consumers=2)
    ordeal(stack, pages, sentinels, [move])
    # Each process has heard of it, and not only run into it.
    for name in ("worker 1", "worker 2", "consumer default 1", "scheduler"):
        assert any(f" {name} " in line and "the sentinels have made" in line
                   for line in stack.log_text().splitlines()), name


def test_one_after_the_other(make_stack, pages, sentinels):
    stack = make_stack(workers=3, consumers=3, jobs="outbox_age = 3;")
    savers = ordeal(stack, pages, sentinels, MOVES * 2)
    assert len(savers.saved) > 1000


def test_consumers_die_with_the_master(make_stack, pages, sentinels):
    """What was running when both went is found by the sweep, at the latest."""
    stack = make_stack(workers=2, consumers=2, jobs="outbox_age = 2; sweep_age = 15; heartbeat = 2;")
    savers = Savers(stack, pages, count=4)
    try:
        for _ in range(3):
            before = len(savers.saved)
            wait_until(lambda: len(savers.saved) > before + 50, 60, "bookmarks are saved")
            old = sentinels.kill_master()
            for pid in stack.children("consumer"):
                subprocess.run(["kill", "-KILL", str(pid)], check=False)
            sentinels.wait_for_another(old)
            sentinels.restore()
    finally:
        savers.stop()
    assert savers.failures == []
    wait_until(lambda: not savers.unfinished(), 240, lambda: savers.explain(sentinels))
    print(savers)


def test_without_any_sentinel_the_master_serves_on(make_stack, pages, sentinels):
    stack = make_stack(workers=2, consumers=1)
    savers = Savers(stack, pages, count=2, pause=0.2)
    try:
        for node in sentinels.sentinels:
            node.server.end(signal.SIGKILL)
        master = sentinels.nodes[0].connect()
        for _ in range(3):
            master.client_kill_filter(_type="normal", skipme=True)
            before = len(savers.saved)
            wait_until(lambda: len(savers.saved) > before + 20, 60, "bookmarks are saved")
        for node in sentinels.sentinels:
            node.start()
        wait_until(sentinels.is_complete, 60, "they are back")
        old = sentinels.kill_master()
        sentinels.wait_for_another(old)
        before = len(savers.saved)
        wait_until(lambda: len(savers.saved) > before + 20, 60, "bookmarks are saved")
    finally:
        savers.stop()
    assert savers.failures == []
    wait_until(lambda: not savers.unfinished(), 120, lambda: savers.explain(sentinels))
    assert "the last known master is tried" in stack.log_text()


def test_with_tls_and_passwords(make_sentinels, make_stack, pages, folder):
    authority = Authority(f"{folder}/tls")
    sentinels = make_sentinels(password="deep", user="forkmark", sentinel_password="watch",
                               tls=authority.sign("redis", "IP:127.0.0.1"))
    stack = make_stack(start=False, workers=2, consumers=2)
    stack.redis_server = sentinels
    stack.start()

    def check(*sets):
        words = [word for one in sets for word in ("--set", one)]
        return subprocess.run([BINARY, "check", "--services", "--config", stack.config, *words],
                              capture_output=True, text=True, timeout=60, check=False)
    assert (check().stdout, check().stderr) == ("ok\n", "")
    for one, words in (("redis.queue.sentinel_password=wrong", "redis.queue.sentinel_password"),
                       ("redis.queue.sentinel_ssl=false", "speaks TLS on this port"),
                       ("redis.password=wrong", "redis.user and redis.password"),
                       ("redis.ssl=false", "speaks TLS on this port"),
                       ("redis.ssl_ca_file=", "authority unknown here (authority)")):
        told = check(one)
        assert told.returncode == 1 and words in told.stderr, told
    ordeal(stack, pages, sentinels, [kill, order, stop])


def test_a_master_that_nobody_names_any_more_is_left(make_stack, pages, sentinels):
    """It lives and takes writes; at the next connect the sentinels name another."""
    stack = make_stack(workers=2, consumers=1)
    savers = Savers(stack, pages, count=2, pause=0.2)
    try:
        wait_until(lambda: len(savers.saved) > 20, 60, "bookmarks are saved")
        old = sentinels.master()
        new = sentinels.others()[0]
        sentinels.connect_to(new).execute_command("REPLICAOF", "NO", "ONE")
        for node in sentinels.sentinels:
            with node.connect() as client:
                client.execute_command("SENTINEL", "REMOVE", NAME)
                client.execute_command("SENTINEL", "MONITOR", NAME, "127.0.0.1", new.port, "2")
        sentinels.connect_to(old).client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: any(c["name"].startswith("forkmark-worker")
                               for c in sentinels.connect_to(new).client_list()), 60, "workers have followed")
        before = len(savers.saved)
        wait_until(lambda: len(savers.saved) > before + 20, 60, "bookmarks are saved")
    finally:
        savers.stop()
    wait_until(lambda: not savers.unfinished(), 120, lambda: savers.explain(sentinels))
