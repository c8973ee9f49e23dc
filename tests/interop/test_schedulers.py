"""Who schedules, when there are several, and what becomes of what the dead held."""

import os
import pickle
import re
import signal
import time
import uuid
import zlib
from datetime import datetime, timedelta, timezone

import pytest

from services import wait_until

rq = pytest.importorskip("rq")
from rq import Queue, Retry  # noqa: E402
from rq.job import Job  # noqa: E402
from rq.registry import FailedJobRegistry  # noqa: E402

JOBS = "test_functions = true; heartbeat = 1; kill_grace = \"500ms\"; outbox_age = 1;"
ECHO, FAIL, SLEEP = "forkmark.test.echo", "forkmark.test.fail", "forkmark.test.sleep"
LOCK = "rq:scheduler-lock:default"
QUEUES = ("high", "default", "low")


def status(connection, job_id):
    return (connection.hget("rq:job:" + job_id, "status") or b"").decode()


def becomes(connection, job_id, wanted, seconds=20):
    wait_until(lambda: status(connection, job_id) == wanted, seconds, f"{job_id} becomes {wanted}")


def holder(connection, queue="default"):
    return connection.get("rq:scheduler-lock:" + queue)


def leads(stack, queue="default"):
    """The scheduler of that server holds the queue's lock."""
    value = holder(stack.redis, queue)
    pid = value and stack.redis.hget("rq:scheduler:" + value.decode(), "pid")
    return pid is not None and int(pid) in stack.children("scheduler")


def test_one_leads_and_is_replaced_when_it_dies(make_stack):
    first = make_stack(jobs=JOBS, consumers=1, workers=1)
    connection = first.redis
    wait_until(lambda: all(leads(first, queue) for queue in QUEUES), 15, "the first leads")
    second = make_stack(jobs=JOBS, consumers=1, workers=1)
    time.sleep(2.5)
    assert all(leads(first, queue) and not leads(second, queue) for queue in QUEUES)
    queue = Queue("default", connection=connection)
    # As RQ up to 2.9 reads it, and as RQ from 2.10 on does.
    assert queue.scheduler_pid == int(holder(connection))
    record = connection.hgetall("rq:scheduler:" + holder(connection).decode())
    assert record[b"name"] == holder(connection) and set(record[b"queues"].decode().split(",")) >= set(QUEUES)
    for field in (b"created_at", b"last_heartbeat"):
        assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record[field])
    assert 50 < connection.ttl(LOCK) <= 61
    # The whole server dies without a word: one of this host that is dead need not expire.
    os.kill(first.master.pid, signal.SIGKILL)
    first.master.wait()
    wait_until(lambda: all(leads(second, queue) for queue in QUEUES), 10, "the second leads")
    assert connection.get("fm:scheduler-lock") == holder(connection)
    job = queue.enqueue_in(timedelta(seconds=1), ECHO, 1)
    becomes(connection, job.id, "finished")
    # Its scheduler alone: killed, then told to go.
    for number in (signal.SIGKILL, signal.SIGTERM):
        second.restart_scheduler(number)
        wait_until(lambda: leads(second), 10, "the new one leads")
    last = holder(connection).decode()
    second.stop()
    assert connection.keys("rq:scheduler-lock*") == []
    assert not connection.exists("fm:scheduler-lock", "rq:scheduler:" + last)


def test_locks_of_others_are_left_alone(make_stack):
    """RQ's scheduler holds two of the queues; one of them it takes from us."""
    stack = make_stack(start=False, jobs=JOBS, consumers=1, workers=1)
    connection = stack.redis
    connection.set("rq:scheduler-lock:high", "4711", ex=61)
    stack.start()
    wait_until(lambda: leads(stack) and leads(stack, "low"), 15, "we lead the others")
    assert holder(connection, "high") == b"4711"
    connection.set(LOCK, "4712", ex=30)
    # The outbox and the like are nobody's but ours, whoever schedules the first queue.
    assert connection.exists("fm:scheduler-lock")
    time.sleep(2.5)
    assert holder(connection) == b"4712" and connection.ttl(LOCK) < 30, "neither taken nor renewed"
    assert connection.ttl("rq:scheduler-lock:high") < 60
    # What RQ schedules is RQ's: due there, and not touched by us.
    theirs = Queue("high", connection=connection).enqueue_in(timedelta(seconds=0), ECHO, 1)
    ours = Queue("low", connection=connection).enqueue_in(timedelta(seconds=0), ECHO, 1)
    becomes(connection, ours.id, "finished")
    time.sleep(1)
    assert status(connection, theirs.id) == "scheduled"
    # But its scheduler does no upkeep: we do.
    lost = str(uuid.uuid4())
    connection.hset("rq:job:" + lost, mapping={
        "data": zlib.compress(pickle.dumps((ECHO, None, (1,), {}))), "status": "started", "origin": "high",
        "created_at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")})
    connection.zadd("rq:wip:high", {lost: int(time.time()) - 5})
    stack.restart_scheduler()
    becomes(connection, lost, "failed")
    # Given up by RQ, the queue is ours.
    connection.delete("rq:scheduler-lock:high")
    becomes(connection, theirs.id, "finished")
    stack.stop()
    assert holder(connection) == b"4712", "not released either"


def test_the_outbox_is_flushed_whoever_schedules_the_first_queue(make_stack, pages):
    stack = make_stack(start=False, jobs=JOBS, consumers=1, workers=1)
    connection = stack.redis
    connection.set("rq:scheduler-lock:high", "4711", ex=600)
    connection.set("rq:suspended", 1)
    stack.start()
    client = stack.client().sign_up()
    pages.put("/a", "<html><title>A</title><body>" + "word " * 300)
    client.save(pages.url("/a"))
    [key] = connection.keys("rq:job:bookmark_process_*")
    # Redis loses it; the row in PostgreSQL remains.
    connection.delete(key, *connection.keys("rq:queue:*"))
    wait_until(lambda: connection.exists(key), 20, "it is pushed again")
    connection.delete("rq:suspended")
    becomes(connection, key.decode().removeprefix("rq:job:"), "finished")


# ---- recovery ----

def test_a_dead_servers_jobs_are_redelivered_however_late_it_comes_back(make_stack):
    """Longer than the job's own time limit: that it was not used up is what counts."""
    stack = make_stack(jobs=JOBS, consumers=1, workers=1)
    connection = stack.redis
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 1, job_timeout=2, retry=Retry(max=3))
    becomes(connection, job.id, "started")
    os.kill(stack.master.pid, signal.SIGKILL)
    stack.master.wait()
    time.sleep(3)
    assert status(connection, job.id) == "started"
    behind = queue.enqueue(ECHO, 1)
    stack.start()
    becomes(connection, job.id, "finished")
    becomes(connection, behind.id, "finished")
    fields = connection.hgetall("rq:job:" + job.id)
    assert fields[b"retries_left"] == b"3" and b"fm_deliveries" not in fields
    assert fields[b"started_at"] < connection.hget("rq:job:" + behind.id, "started_at"), "at the head"
    assert connection.zcard("rq:wip:default") == 0
    assert f"its job {job.id} is back at the head of its queue (delivery 1)" in stack.log_text()


def test_a_job_that_does_not_yield_fails_with_rqs_words(make_stack):
    stack = make_stack(jobs=JOBS, consumers=1, workers=1)
    connection = stack.redis
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 60, job_timeout=1, retry=Retry(max=1))
    becomes(connection, job.id, "started")
    for left in (b"0", None):
        [consumer] = stack.children("consumer")
        os.kill(consumer, signal.SIGSTOP)  # as a function that computes for ever
        if left:
            wait_until(lambda: connection.hget("rq:job:" + job.id, "retries_left") == left, 20, "it is retried")
            becomes(connection, job.id, "started")
    becomes(connection, job.id, "failed")
    text = Job.fetch(job.id, connection=connection).latest_result().exc_string
    assert text.endswith("rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (1 seconds)"), text
    assert not connection.hexists("rq:job:" + job.id, "fm_deliveries")


def test_too_many_deliveries_fail_with_the_reason_and_requeueing_starts_afresh(make_stack):
    stack = make_stack(jobs=JOBS + " max_deliveries = 2;", consumers=1, workers=1)
    connection = stack.redis
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 30, retry=Retry(max=3))

    def kill_its_consumer():
        becomes(connection, job.id, "started")
        worker = connection.hget("rq:job:" + job.id, "worker_name").decode()
        os.kill(int(connection.hget("rq:worker:" + worker, "pid")), signal.SIGKILL)
        wait_until(lambda: connection.hget("rq:job:" + job.id, "worker_name").decode() != worker
                   or status(connection, job.id) == "failed", 20, "it is taken back")
    kill_its_consumer()
    kill_its_consumer()
    becomes(connection, job.id, "failed")
    assert connection.hget("rq:job:" + job.id, "retries_left") == b"3"
    text = Job.fetch(job.id, connection=connection).latest_result().exc_string
    assert text == ("forkmark.MaxDeliveriesExceeded: its worker died each of the 2 times the job was delivered "
                    "(jobs.max_deliveries)")
    FailedJobRegistry(queue=queue).requeue(job.id)
    kill_its_consumer()
    becomes(connection, job.id, "started")
    assert connection.hget("rq:job:" + job.id, "fm_deliveries") == b"1"
    # Nobody needs to wait for it: canceled and killed, it is given to nobody.
    connection.hset("rq:job:" + job.id, "status", "canceled")
    [consumer] = stack.children("consumer")
    os.kill(consumer, signal.SIGKILL)


def test_a_server_that_was_away_for_hours_redelivers_what_it_held(make_stack):
    stack = make_stack(jobs=JOBS, consumers=1, workers=1)
    connection = stack.redis
    job = Queue("default", connection=connection).enqueue(SLEEP, 1, retry=Retry(max=3, interval=60))
    becomes(connection, job.id, "started")
    os.kill(stack.master.pid, signal.SIGKILL)
    stack.master.wait()
    # What time does to the books.
    assert connection.delete(*connection.keys("rq:worker:*"), *connection.keys("rq:execution*")) >= 3
    connection.zadd("rq:wip:default", {job.id: int(time.time()) - 3600})
    stack.start()
    becomes(connection, job.id, "finished")
    assert connection.hget("rq:job:" + job.id, "retries_left") == b"3"
    stack.stop()
    assert len(connection.keys("fm:home:*")) == 1, "the dead one's alone, which expires"
    assert 0 < connection.ttl(connection.keys("fm:home:*")[0]) <= 604800


def test_an_entry_of_this_host_whose_record_is_gone_is_redelivered_at_its_deadline(make_stack):
    """Its worker's record expired before anybody looked: the execution says whose it was."""
    for redeliver, expected in (("true", "finished"), ("false", "failed")):
        stack = make_stack(jobs=JOBS + f" redeliver = {redeliver};", consumers=1, workers=1)
        connection = stack.redis
        wait_until(lambda: connection.scard("rq:workers") == 1, 10, "the consumer registers")
        [record] = connection.smembers("rq:workers")
        home = connection.hget(record, "fm_home")
        job = Queue("odd", connection=connection).enqueue(ECHO, 1)
        execution = uuid.uuid4().hex
        connection.lrem("rq:queue:odd", 0, job.id)
        connection.hset("rq:job:" + job.id, mapping={"status": "started", "origin": "default"})
        connection.hset(f"rq:execution:{job.id}:{execution}", mapping={"id": execution, "fm_home": home})
        connection.zadd("rq:executions:" + job.id, {execution: int(time.time()) + 60})
        connection.zadd("rq:wip:default", {job.id: int(time.time()) - 1})
        stack.restart_scheduler()
        becomes(connection, job.id, expected)
        stack.stop()
