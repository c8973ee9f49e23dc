"""Debian's python3-rq judges our jobs and workers, and we run its jobs."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from pages import article
from services import wait_until
from stack import BINARY

rq = pytest.importorskip("rq")
from rq import Queue, Retry, Worker  # noqa: E402
from rq.job import Job  # noqa: E402
from rq.registry import FailedJobRegistry, FinishedJobRegistry  # noqa: E402

JOBS = "test_functions = true; heartbeat = 2; outbox_age = 1;"
J1 = "services.bookmark_processing_service.process_bookmark_content_task"
ECHO, SLEEP = "forkmark.test.echo", "forkmark.test.sleep"


def finished(job, seconds=10):
    wait_until(lambda: job.get_status() in ("finished", "failed", "stopped"), seconds,
               f"{job.id} ends (is {job.get_status()})")
    fetched = Job.fetch(job.id, connection=job.connection)
    assert fetched.get_status() == "finished", fetched.exc_info
    return fetched


@pytest.fixture
def jobs_stack(make_stack):
    return make_stack(jobs=JOBS, consumers=2)


@pytest.fixture
def queue(jobs_stack):
    connection = jobs_stack.redis
    wait_until(lambda: len(Worker.all(connection=connection)) == 2, 10, "consumers register")
    return Queue("default", connection=connection)


def test_rq_shows_our_consumers(jobs_stack, queue):
    workers = Worker.all(connection=queue.connection)
    pids = set(jobs_stack.children("consumer"))
    assert {worker.pid for worker in workers} == pids
    for worker in workers:
        assert re.fullmatch("[0-9a-f]{32}", worker.name)
        assert [each.name for each in worker.queues] == ["high", "default", "low"]
        assert worker.python_version.startswith("forkmark ")
    # The command as Debian ships it; it needs croniter only for its scheduler part.
    shown = subprocess.run([sys.executable, "-W", "ignore", "-m", "rq.cli", "info", "-u",
                            jobs_stack.redis_server.url()],
                           capture_output=True, text=True, timeout=60, check=False)
    if "croniter" in shown.stderr:
        pytest.skip("this rq command line needs croniter")
    assert shown.returncode == 0, shown.stderr
    for worker in workers:
        assert worker.name in shown.stdout


def test_rq_reads_the_job_of_a_saved_bookmark(jobs_stack, queue, pages):
    queue.connection.set("rq:suspended", 1)
    wait_until(lambda: all(worker.get_state() == "suspended"
                           for worker in Worker.all(connection=queue.connection)), 5,
               "consumers are suspended")
    client = jobs_stack.client().sign_up()
    url = pages.url("/page")
    number = client.save(url)
    wait_until(lambda: queue.job_ids, 5, "the job waits")
    job = Job.fetch(queue.job_ids[0], connection=queue.connection)
    assert re.fullmatch(f"bookmark_process_{number}_[0-9a-f]{{8}}", job.id)
    assert job.func_name == J1
    assert list(job.args) == [number, url, client.user["id"]]
    assert job.kwargs == {} and job.timeout == 600
    assert job.retries_left == 2 and job.retry_intervals == [60, 300]
    assert job.get_status() == "queued" and job.origin == "default"
    assert job.description == job.get_call_string()
    assert jobs_stack.sql("SELECT job_id FROM outbox") == [(job.id,)]
    queue.connection.delete("rq:suspended")
    wait_until(lambda: jobs_stack.sql("SELECT count(*) FROM outbox") == [(0,)], 10,
               "the job keeps the promise")


@pytest.mark.parametrize("form", ["args", "kwargs"])
def test_a_python_producer_enqueues_the_main_job(jobs_stack, queue, pages, form):
    """As Fuze's own code does: no outbox row, nothing of forkmark's."""
    client = jobs_stack.client().sign_up()
    pages.put("/article", article("A title to find", "word " * 400))
    url = pages.url("/article")
    [(number,)] = jobs_stack.sql(
        "INSERT INTO saved_content (user_id, url, url_norm, page_key, title) "
        "VALUES (%s, %s, %s, %s, 'Untitled Bookmark') RETURNING id",
        client.user["id"], url, url, url)
    values = {"bookmark_id": number, "url": url, "user_id": client.user["id"]}
    call = {"args": tuple(values.values())} if form == "args" else {"kwargs": values}
    job = queue.enqueue_call(J1, timeout=600, **call)
    finished(job)
    assert jobs_stack.sql("SELECT scrape_status, title FROM saved_content WHERE id = %s",
                          number) == [("SUCCESS", "A title to find")]


def test_arguments_and_results_survive(queue):
    values = [None, True, -7, 2 ** 70, 1.5, "caf\u00e9 \U0001f389", b"\x00\xff",
              [1, [2, {"a": (3, 4)}]], {1: "i", (1, 2): "t"}, {1, 2}, frozenset({3})]
    for value in values:
        job = finished(queue.enqueue(ECHO, value))
        got = job.return_value() if hasattr(job, "return_value") else job.result
        assert type(got) is type(value) and got == value
        assert job.id in FinishedJobRegistry(queue=queue).get_job_ids()


def test_a_killed_consumer_costs_its_job_nothing(jobs_stack, queue):
    job = queue.enqueue(SLEEP, 2, retry=Retry(max=1, interval=60))
    wait_until(lambda: job.get_status() == "started", 5, "the job starts")
    first = queue.connection.hget("rq:job:" + job.id, "worker_name").decode()
    [worker] = [each for each in Worker.all(connection=queue.connection) if each.name == first]
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: queue.connection.hget("rq:job:" + job.id, "worker_name").decode() != first
               and job.get_status() == "started", 2, "another consumer runs it")
    assert finished(job).retries_left == 1
    assert queue.connection.zcard("rq:wip:default") == 0
    assert first not in {each.name for each in Worker.all(connection=queue.connection)}


def test_a_job_that_kills_its_consumers_ends_as_failed(jobs_stack, queue):
    job = queue.enqueue(SLEEP, 60)
    kills, end = 0, time.monotonic() + 30
    while job.get_status() != "failed" and time.monotonic() < end:
        busy = [each for each in Worker.all(connection=queue.connection)
                if each.get_current_job_id() == job.id and each.pid in jobs_stack.children("consumer")]
        if busy:
            os.kill(busy[0].pid, signal.SIGKILL)
            kills += 1
            wait_until(lambda: busy[0].pid not in jobs_stack.children(), 5, "it is gone")
        time.sleep(0.05)
    assert kills == 3
    failed = Job.fetch(job.id, connection=queue.connection)
    assert failed.get_status() == "failed" and "max_deliveries" in failed.exc_info
    assert job.id in FailedJobRegistry(queue=queue).get_job_ids()


def test_jobs_lost_with_redis_are_pushed_again(jobs_stack, queue):
    """The outbox: what Redis forgets, the scheduler knows."""
    queue.connection.set("rq:suspended", 1)
    wait_until(lambda: all(worker.get_state() == "suspended"
                           for worker in Worker.all(connection=queue.connection)), 5,
               "consumers are suspended")
    client = jobs_stack.client().sign_up()
    number = client.save("http://127.0.0.1:9/lost")
    wait_until(lambda: queue.job_ids, 5, "the job waits")
    queue.connection.flushdb()
    wait_until(lambda: jobs_stack.sql("SELECT scrape_status FROM saved_content WHERE id = %s",
                                      number)[0][0] != "PENDING", 15, "the job is pushed again")


def test_bookmarks_left_behind_are_swept_up(make_stack, pages):
    """One whose job never was; one whose job failed without being able to say so."""
    stack = make_stack(jobs=JOBS + " sweep_age = 1;")
    client = stack.client().sign_up()
    pages.put("/article", article("A title to find", "word " * 400))
    numbers = [row[0] for path in ("/article", "/other") for row in stack.sql(
        "INSERT INTO saved_content (user_id, url, url_norm, page_key, title, saved_at) "
        "VALUES (%s, %s, %s, %s, 'x', now() - interval '1 day') RETURNING id",
        client.user["id"], *[pages.url(path)] * 3)]
    stack.redis.zadd("rq:failed:default",
                     {f"bookmark_process_{numbers[1]}_00000000": time.time() + 1000})
    wait_until(lambda: stack.sql("SELECT scrape_status FROM saved_content ORDER BY id") ==
               [("SUCCESS",), ("FAILED",)], 20, "both are settled")
    assert pages.hits == {"/article": 1}


def test_a_bookmark_given_up_is_shown_as_such(make_stack):
    """The list that was cached before is not shown any more."""
    stack = make_stack(consumers=0, jobs=JOBS + " sweep_age = 1;")
    client = stack.client().sign_up()
    number = stack.sql(
        "INSERT INTO saved_content (user_id, url, url_norm, page_key, title, saved_at) "
        "VALUES (%s, 'http://a/', 'http://a/', 'http://a/', 'x', now() + interval '1 day') RETURNING id",
        client.user["id"])[0][0]
    stack.redis.zadd("rq:failed:default", {f"bookmark_process_{number}_00000000": time.time() + 1000})
    assert client.bookmark(number)["scrape_status"] == "PENDING"
    stack.sql("UPDATE saved_content SET saved_at = now() - interval '1 day'")
    wait_until(lambda: stack.sql("SELECT scrape_status FROM saved_content") == [("FAILED",)], 20, "it is swept up")
    wait_until(lambda: client.bookmark(number)["scrape_status"] == "FAILED", 10, "the list says so")


def test_without_redelivery_a_killed_attempt_is_a_failed_one(make_stack):
    stack = make_stack(jobs=JOBS + " redeliver = false;")
    queue = Queue("default", connection=stack.redis)
    job = queue.enqueue(SLEEP, 30)
    wait_until(lambda: job.get_status() == "started", 10, "the job starts")
    [consumer] = stack.children("consumer")
    os.kill(consumer, signal.SIGKILL)
    wait_until(lambda: job.get_status() == "failed", 2, "the job fails")
    assert "Work-horse terminated unexpectedly" in job.latest_result().exc_string


def test_queues_are_polled_where_blmove_is_denied(make_stack, redis_server):
    admin = redis_server.connect()
    admin.execute_command("ACL", "SETUSER", "default", "-blmove")
    stack = make_stack(jobs=JOBS)
    queue = Queue("default", connection=stack.redis)
    wait_until(lambda: Worker.all(connection=stack.redis), 10, "the consumer registers")
    time.sleep(0.5)
    begin = time.monotonic()
    finished(queue.enqueue(ECHO, 1))
    assert time.monotonic() - begin < 1
    assert "queues are polled" in stack.log_text()


def forkmark_jobs(stack, *arguments):
    return subprocess.run([BINARY, "jobs", "--config", stack.config, *arguments],
                          capture_output=True, text=True, timeout=60, check=False)


def test_the_command_line_looks_and_changes(jobs_stack, queue):
    done = forkmark_jobs(jobs_stack, "enqueue", ECHO, '{"a": [1, 2]}')
    assert done.returncode == 0, done.stderr
    job = finished(Job.fetch(done.stdout.split(":")[0], connection=queue.connection))
    assert job.args == ({"a": [1, 2]},)
    shown = forkmark_jobs(jobs_stack, "show", job.id).stdout
    assert "{'a': [1, 2]}" in shown and "finished" in shown
    listing = json.loads(forkmark_jobs(jobs_stack, "info", "--json").stdout)
    assert [row["finished"] for row in listing["queues"] if row["name"] == "default"] == [1]
    assert len(listing["workers"]) == 2
    assert forkmark_jobs(jobs_stack, "show", "no-such-job").returncode == 1
    assert forkmark_jobs(jobs_stack, "frobnicate").returncode == 2
