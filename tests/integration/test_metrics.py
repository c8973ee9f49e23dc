"""GET /metrics, as Prometheus reads it: one tree's numbers from any of its workers."""

import math
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services import wait_until
from stack import BINARY

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? '
                    r'([0-9.]+(?:e[+-]?[0-9]+)?|\+Inf|-Inf|NaN)$')


def scrape(client):
    """name -> {labels: value}; the format is checked more strictly than the parser does."""
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/plain; version=0.0.4"
    assert answer.text.endswith("\n")
    heads, at = set(), None
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            at = line.split()[2]
            assert at not in heads, f"{at} is begun twice"
            heads.add(at)
        elif line.startswith("# TYPE "):
            assert line.split()[2] == at and line.split()[3] in ("counter", "gauge", "histogram")
        else:
            assert SAMPLE.match(line), line
            name = SAMPLE.match(line).group(1)
            assert name == at or name in (f"{at}_bucket", f"{at}_sum", f"{at}_count"), f"{line} below {at}"
    found, counters = {}, set()
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        if family.type == "histogram":
            check_histogram(family)
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            values = found.setdefault(sample.name, {})
            assert labels not in values, f"{sample.name}{labels} twice"
            assert math.isfinite(sample.value) and sample.value >= 0, sample
            values[labels] = sample.value
            if family.type in ("counter", "histogram"):
                counters.add(sample.name)
    return Page(found, counters)


def check_histogram(family):
    buckets = [(float(s.labels["le"]), s.value) for s in family.samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets) and buckets[-1][0] == math.inf
    assert all(a[1] <= b[1] for a, b in zip(buckets, buckets[1:]))
    assert buckets[-1][1] == next(s.value for s in family.samples if s.name.endswith("_count"))


class Page:
    def __init__(self, found, counters):
        self.found, self.counters = found, counters

    def __call__(self, name, **labels):
        return self.found["forkmark_" + name][tuple(sorted(labels.items()))]

    def values(self, name):
        return {dict(labels).popitem()[1] if labels else "": value
                for labels, value in self.found["forkmark_" + name].items()}

    def must_not_fall_behind(self, before):
        for name in before.counters:
            for labels, value in before.found[name].items():
                assert self.found[name][labels] >= value, (name, labels)


def test_every_part_is_there(make_stack):
    stack = make_stack(workers=3)
    client = stack.client().sign_up()
    client.get("/api/nothing")
    for _ in range(3):
        assert client.get("/api/bookmarks").status_code == 200
    page = scrape(client)
    assert page("http_responses_total", **{"class": "2xx"}) >= 4 and page("http_responses_total", **{"class": "4xx"}) == 1
    assert sum(page.values("http_responses_total").values()) == page("http_requests_total")
    assert page("http_request_duration_seconds_count") == page("http_requests_total")
    assert page("cache_miss_total") >= 1 and page("cache_hit_total") >= 1
    assert page("children", role="worker") == 3 and page("children", role="consumer") == 1
    names = {"worker 1", "worker 2", "worker 3", "consumer default 1", "scheduler"}
    assert set(page.values("child_start_time_seconds")) == names
    assert set(page.values("child_busy_ratio")) == names
    assert abs(page("process_start_time_seconds") - time.time()) < 300
    for name in ("child_resident_memory_bytes", "child_proportional_memory_bytes"):
        sizes = page.values(name)
        assert set(sizes) == names | {"master"} and all(1e5 < size < 4e9 for size in sizes.values()), sizes
    assert page.values("listen_backlog") == {f"127.0.0.1:{stack.port}": 0}
    assert page.values("listen_backlog_limit") == {f"127.0.0.1:{stack.port}": 1024}
    assert page("busy_seconds_total", role="worker") >= 0


def test_any_worker_answers_for_all(make_stack):
    stack = make_stack(workers=3)
    with ExitStack() as keep:
        clients = [keep.enter_context(stack.client()) for _ in range(6)]
        for client in clients:
            client.get("/health/liveness")
        page = scrape(clients[0])
        connections = page.values("worker_connections")
        assert sum(connections.values()) == 6 and set(connections) == {"1", "2", "3"}
        assert page("worker_connections_spread") == max(connections.values()) - min(connections.values())
        seen = [scrape(client) for client in clients]
        for before, after in zip(seen, seen[1:]):
            after.must_not_fall_behind(before)
        # An answer is counted once it has left, which its reader may be ahead of.
        sent = 6 + 1 + len(seen)

        def all_are_counted():
            nonlocal sent
            sent += 1
            return scrape(clients[0])("http_requests_total") == sent - 1
        wait_until(all_are_counted, 5, "every request is counted once")


def wait_for_workers(stack, count, without=()):
    def are_there():
        workers = stack.children("worker")
        return len(workers) == count and not set(without) & set(workers)
    wait_until(are_there, 20, f"{count} workers")


def test_counters_outlive_the_process_that_counted(make_stack):
    stack = make_stack(workers=2)
    client = stack.client()
    for _ in range(20):
        stack.client().get("/health/liveness")
    before = scrape(client)
    assert before("http_requests_total") >= 20
    victims = list(stack.children("worker"))
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    client.close()
    wait_for_workers(stack, 2, victims)
    after = wait_until(lambda: page_with(stack, "worker", "killed", 2), 10, "two were killed")
    after.must_not_fall_behind(before)

    # As a reload replaces them, and as they have had enough requests.
    stack.reload(server="max_requests = 10; keepalive = 1;")
    reloaded = wait_until(lambda: page_with(stack, "worker", "reload", 2), 30, "two were replaced by the reload")
    reloaded.must_not_fall_behind(after)
    for _ in range(30):
        requests_of_its_own(stack)
    worn = wait_until(lambda: page_with(stack, "worker", "max_requests", 1), 30, "one had enough requests")
    worn.must_not_fall_behind(reloaded)


def requests_of_its_own(stack):
    client = stack.client()
    client.get("/health/liveness", headers={"Connection": "close"})
    client.close()


def page_with(stack, role, reason, least):
    """A page that counts so many replacements, or None."""
    client = stack.client()
    page = scrape(client)
    client.close()
    return page if page("child_restarts_total", role=role, reason=reason) >= least else None


def test_a_crash_is_told_from_a_kill_and_an_end(make_stack):
    stack = make_stack(workers=2, consumers=1, pool="max_jobs = 1;", jobs="test_functions = true;")
    worker = next(iter(stack.children("worker")))
    os.kill(worker, signal.SIGABRT)
    wait_until(lambda: page_with(stack, "worker", "crash", 1), 10, "a crash")
    assert stack.ctl("kill", str(next(iter(stack.children("worker"))))).returncode == 0
    wait_until(lambda: page_with(stack, "worker", "operator", 1), 10, "an operator's kill")
    enqueue(stack, "forkmark.test.echo", "1")
    page = wait_until(lambda: page_with(stack, "consumer", "ended", 1), 20, "a consumer that has run its job")
    assert page("jobs_total", outcome="finished") == 1 and page("jobs_done_total") == 1
    assert page("child_restarts_total", role="worker", reason="killed") == 0


def enqueue(stack, *arguments):
    done = subprocess.run([BINARY, "jobs", "--config", stack.config, "enqueue", *arguments],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_jobs_and_queues(make_stack):
    stack = make_stack(consumers=1, jobs="test_functions = true;")
    enqueue(stack, "forkmark.test.echo", "1")
    enqueue(stack, "forkmark.test.fail", "boom")

    def are_done():
        page = scrape(stack.client())
        return page if page("jobs_total", outcome="failed") + page("jobs_total", outcome="finished") == 2 else None
    page = wait_until(are_done, 20, "both jobs ended")
    assert page("jobs_total", outcome="failed") == 1
    assert page("rq_registry_jobs", queue="default", registry="failed") == 1
    assert page("rq_registry_jobs", queue="default", registry="finished") == 1
    assert page("rq_queue_depth", queue="default") == 0

    stack.redis.sadd("rq:workers:suspended-test", "x")
    stack.redis.set("rq:suspended", "1")
    time.sleep(1.2)
    for _ in range(4):
        enqueue(stack, "forkmark.test.echo", "1")
    assert scrape(stack.client())("rq_queue_depth", queue="default") == 4
    stack.redis.delete("rq:suspended")


def test_pool_waits_are_counted(make_stack):
    stack = make_stack(workers=1, database_more="pool_size = 1; max_overflow = 0; pipelines = 0;")
    client = stack.client().sign_up()
    def load():
        own = stack.client()
        own.headers["Authorization"] = f"Bearer {client.token}"
        for i in range(20):
            own.get(f"/api/bookmarks?q=none{i}&search=x{i}")
    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page = scrape(client)
    assert page("database_waits_total") > 0 and page("database_wait_seconds_total") > 0


def edit_config(stack, part, by):
    """In the file, whenever it is written."""
    write = stack.write_config

    def write_edited(**changes):
        write(**changes)
        with open(stack.config, encoding="utf-8") as file:
            text = file.read()
        assert part in text
        with open(stack.config, "w", encoding="utf-8") as file:
            file.write(text.replace(part, by))
    stack.write_config = write_edited


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_backlog_is_seen_while_nobody_accepts(make_stack, kind):
    """A stopped worker cannot tell; another one, that takes no more connections, can."""
    stack = make_stack(workers=1, server="worker_connections = 1;", start=False)
    path = f"{stack.folder}/http"
    if kind == "unix":
        edit_config(stack, f'"127.0.0.1:{stack.port}"', f'"127.0.0.1:{stack.port}", "unix:{path}"')
    stack.start()
    client = stack.client()
    client.get("/health/liveness")  # the one connection it takes
    with ExitStack() as keep:
        for _ in range(3):
            if kind == "unix":
                waiting = keep.enter_context(socket.socket(socket.AF_UNIX))
                waiting.connect(path)
            else:
                keep.enter_context(socket.create_connection(("127.0.0.1", stack.port)))
        name = f"unix:{path}" if kind == "unix" else f"127.0.0.1:{stack.port}"
        wait_until(lambda: scrape(client).values("listen_backlog")[name] == 3, 5, "three wait")


def test_names_of_queues_cannot_break_the_format(make_stack):
    stack = make_stack(consumers=0, start=False)
    edit_config(stack, '"high", "default", "low"', '"a\\"} 1\\nb\\\\c"')
    stack.start()
    assert scrape(stack.client())("rq_queue_depth", queue='a"} 1\nb\\c') == 0
