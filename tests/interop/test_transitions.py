"""Every transition of a job (protocol section 7), on real Redis, with Debian's RQ as the
producer, the canceller, the deleter; what only RQ 2 writes is written by hand."""

import base64
import os
import pickle
import signal
import subprocess
import tempfile
import time
import uuid
import zlib
from datetime import datetime, timedelta, timezone

import pytest

from services import Redis, wait_until
from stack import BINARY, Stack

rq = pytest.importorskip("rq")
from rq import Queue, Retry  # noqa: E402
from rq.command import send_stop_job_command  # noqa: E402
from rq.job import Dependency, Job  # noqa: E402
from rq.registry import (CanceledJobRegistry, DeferredJobRegistry, FailedJobRegistry,  # noqa: E402
                         FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry)

ECHO, FAIL, SLEEP = "forkmark.test.echo", "forkmark.test.fail", "forkmark.test.sleep"
JOBS = "test_functions = true; heartbeat = 1; outbox_age = 1;"
YEAR = 31536000


@pytest.fixture(scope="module")
def server(session_folder, postgres, template):
    """One consumer and one scheduler for the whole file; ids keep the tests apart."""
    folder = tempfile.mkdtemp(dir=session_folder)
    os.chmod(folder, 0o755)
    redis_server = Redis(os.path.join(folder, "redis"))
    stack = Stack(tempfile.mkdtemp(dir=folder), postgres, redis_server, template, jobs=JOBS, workers=1)
    stack.start()
    yield stack
    stack.stop()
    text = stack.log_text()
    assert "AddressSanitizer" not in text and "runtime error" not in text, text[-8000:]
    assert "redis refused the script" not in text, text[-8000:]
    redis_server.stop()


@pytest.fixture
def connection(server):
    connection = server.redis
    yield connection
    connection.delete("rq:suspended")


@pytest.fixture
def queue(connection):
    return Queue("default", connection=connection)


@pytest.fixture
def pause(server, connection):
    """pause() holds the consumer back; pause(False) lets it go on."""
    def switch(on=True):
        if on:
            connection.set("rq:suspended", 1)
            wait_until(lambda: connection.hget(worker_key(connection), "state") == b"suspended", 10,
                       "the consumer is suspended")
        else:
            connection.delete("rq:suspended")
    return switch


def worker_key(connection):
    return next(iter(connection.smembers("rq:workers")), b"none")


def status(connection, job_id):
    return (connection.hget("rq:job:" + job_id, "status") or b"").decode()


def becomes(connection, job_id, wanted, seconds=15):
    wait_until(lambda: status(connection, job_id) == wanted, seconds, f"{job_id} becomes {wanted}")


def maintain(server):
    """A new scheduler begins with the upkeep that an old one does every 30 s."""
    server.restart_scheduler()


def write_job(connection, name, args=(), job_id=None, queue="default", push=True, **fields):
    """A job as some other version of RQ writes it."""
    job_id = job_id or str(uuid.uuid4())
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    connection.hset("rq:job:" + job_id, mapping={
        "data": zlib.compress(pickle.dumps((name, None, tuple(args), {}))), "created_at": now,
        "enqueued_at": now, "origin": queue, "status": "queued", "timeout": 60, "started_at": "",
        "ended_at": "", "last_heartbeat": "", "worker_name": "", **fields})
    if push:
        connection.sadd("rq:queues", "rq:queue:" + queue)
        connection.rpush("rq:queue:" + queue, job_id)
    return job_id


def why_failed(connection, job_id):
    """As the last result says it. Job.fetch of RQ 2 finds no job with a colon in its id."""
    [(_, entry)] = connection.xrevrange("rq:results:" + job_id, count=1)
    return zlib.decompress(base64.b64decode(entry[b"exc_string"])).decode()


def keys_of(connection, job_id):
    return sorted(key.decode() for key in connection.keys(f"*{job_id}*"))


def registries_of(queue, job_id):
    """Which of the books name the job."""
    found = [name for name, kind in (
        ("started", StartedJobRegistry), ("finished", FinishedJobRegistry), ("failed", FailedJobRegistry),
        ("deferred", DeferredJobRegistry), ("scheduled", ScheduledJobRegistry),
        ("canceled", CanceledJobRegistry)) if queue.connection.zscore(
            kind(queue=queue).key, job_id) is not None]
    if job_id.encode() in queue.connection.lrange(queue.key, 0, -1):
        found.append("queue")
    return found


# ---- enqueue, schedule ----

def test_the_front_goes_first_and_the_rest_in_order(queue, connection, pause):
    pause()
    order = [queue.enqueue(ECHO, 1), queue.enqueue(ECHO, 2), queue.enqueue(ECHO, 3, at_front=True)]
    high = Queue("high", connection=connection).enqueue(ECHO, 4)
    pause(False)
    for job in [*order, high]:
        becomes(connection, job.id, "finished")
    started = {job.id: connection.hget("rq:job:" + job.id, "started_at") for job in [*order, high]}
    assert sorted(started, key=started.get) == [high.id, order[2].id, order[0].id, order[1].id]


def test_a_job_with_a_lifetime_is_dropped_after_it(queue, connection, pause):
    pause()
    job = queue.enqueue(ECHO, 1, ttl=1)
    behind = queue.enqueue(ECHO, 2)
    wait_until(lambda: not connection.exists("rq:job:" + job.id), 10, "it expires")
    pause(False)
    becomes(connection, behind.id, "finished")
    # Nothing was written for it: an HSET would have made a stub.
    assert keys_of(connection, job.id) == []


def test_a_scheduled_job_comes_when_it_is_due(queue, connection):
    late = queue.enqueue_in(timedelta(hours=1), ECHO, 1)
    soon = queue.enqueue_in(timedelta(seconds=1), ECHO, 2, ttl=100)
    assert registries_of(queue, soon.id) == ["scheduled"]
    becomes(connection, soon.id, "finished")
    due = soon.created_at.timestamp() + 1
    enqueued = Job.fetch(soon.id, connection=connection).enqueued_at
    assert enqueued.replace(tzinfo=timezone.utc).timestamp() >= int(due)
    assert registries_of(queue, soon.id) == ["finished"]
    assert registries_of(queue, late.id) == ["scheduled"]
    late.cancel()
    assert registries_of(queue, late.id) == ["canceled"]


def test_only_an_old_id_without_a_job_leaves_the_schedule(queue, connection):
    """RQ schedules first and saves then: a young orphan is a job in the making."""
    young, old, made = (str(uuid.uuid4()) for _ in range(3))
    now = time.time()
    connection.zadd("rq:scheduled:default", {young: int(now - 1), old: int(now - 120), made: int(now - 2)})
    wait_until(lambda: connection.zscore("rq:scheduled:default", old) is None, 10, "the orphan goes")
    write_job(connection, ECHO, [1], made, push=False, status="scheduled", enqueue_at_front="1")
    becomes(connection, made, "finished")
    assert connection.zscore("rq:scheduled:default", young) is not None
    connection.zrem("rq:scheduled:default", young)


def test_a_job_canceled_in_the_schedule_without_leaving_it_does_not_run(queue, connection):
    job_id = write_job(connection, ECHO, [1], push=False, status="canceled")
    connection.zadd("rq:scheduled:default", {job_id: int(time.time()) + 1})
    wait_until(lambda: registries_of(queue, job_id) == [], 10, "it leaves the schedule")
    assert status(connection, job_id) == "canceled"


# ---- dependencies ----

def test_dependents_run_after_all_they_wait_for(queue, connection, pause):
    pause()
    first, second = queue.enqueue(ECHO, 1), queue.enqueue(SLEEP, 0.3)
    third = queue.enqueue(ECHO, 3, depends_on=[first, second])
    fourth = Queue("low", connection=connection).enqueue(ECHO, 4, depends_on=third, ttl=1000)
    assert registries_of(queue, third.id) == ["deferred"]
    connection.srem("rq:queues", "rq:queue:low")  # as RQ 2 leaves it
    pause(False)
    becomes(connection, first.id, "finished")
    assert status(connection, third.id) == "deferred"
    becomes(connection, fourth.id, "finished")
    assert registries_of(queue, third.id) == ["finished"]
    assert connection.sismember("rq:queues", "rq:queue:low")
    assert not connection.exists(f"rq:job:{second.id}:dependents", f"rq:job:{third.id}:dependents")
    times = [connection.hget("rq:job:" + job.id, field) for job, field in (
        (second, "ended_at"), (third, "started_at"), (third, "ended_at"), (fourth, "started_at"))]
    assert times == sorted(times)


def test_a_failure_releases_only_those_who_allow_it(queue, connection, pause):
    pause()
    broken = queue.enqueue(FAIL, "no")
    allows = queue.enqueue(ECHO, 1, depends_on=Dependency(jobs=[broken], allow_failure=True))
    insists = queue.enqueue(ECHO, 2, depends_on=broken)
    canceled = queue.enqueue(ECHO, 3, depends_on=Dependency(jobs=[broken], allow_failure=True))
    canceled.cancel()
    pause(False)
    becomes(connection, allows.id, "finished")
    assert registries_of(queue, broken.id) == ["failed"]
    assert registries_of(queue, insists.id) == ["deferred"] and status(connection, insists.id) == "deferred"
    assert registries_of(queue, canceled.id) == ["canceled"]
    # Requeued and then successful, it releases the other one as well.
    connection.hset("rq:job:" + broken.id, "data", zlib.compress(pickle.dumps((ECHO, None, (1,), {}))))
    FailedJobRegistry(queue=queue).requeue(broken.id)
    becomes(connection, insists.id, "finished")
    assert registries_of(queue, broken.id) == ["finished"]


def test_who_was_sent_on_its_way_by_hand_is_not_sent_again(queue, connection, pause):
    pause()
    first = queue.enqueue(ECHO, 1)
    second = queue.enqueue(SLEEP, 1.5, depends_on=first)
    # What `rq enqueue` tools do: straight into the queue, still known as a dependent.
    connection.zrem("rq:deferred:default", second.id)
    connection.hset("rq:job:" + second.id, "status", "queued")
    connection.lpush("rq:queue:default", second.id)
    before = int(connection.hget(worker_key(connection), "successful_job_count") or 0)
    pause(False)
    becomes(connection, first.id, "finished")
    becomes(connection, second.id, "finished")
    time.sleep(0.3)
    assert int(connection.hget(worker_key(connection), "successful_job_count")) == before + 2


def test_one_deferred_behind_a_failure_that_is_past_is_released_by_upkeep(server, queue, connection):
    """RQ defers it and nobody ever looks at it again (15.13)."""
    broken = queue.enqueue(FAIL, "no")
    becomes(connection, broken.id, "failed")
    allows = queue.enqueue(ECHO, 1, depends_on=Dependency(jobs=[broken], allow_failure=True))
    insists = queue.enqueue(ECHO, 2, depends_on=broken)
    gone = queue.enqueue(ECHO, 3, depends_on=broken)
    connection.delete("rq:job:" + gone.id)  # expired
    assert status(connection, allows.id) == "deferred"
    maintain(server)
    becomes(connection, allows.id, "finished")
    assert registries_of(queue, insists.id) == ["deferred"]
    wait_until(lambda: registries_of(queue, gone.id) == [], 10, "the id of an expired job goes")


# ---- lifetimes ----

@pytest.mark.parametrize("ttl", [None, 300, -1, 0])
def test_a_result_lives_as_long_as_it_should(queue, connection, ttl):
    more = {} if ttl is None else {"result_ttl": ttl}
    job = queue.enqueue(SLEEP, 0.2, **more)
    dependent = queue.enqueue(ECHO, 1, depends_on=job)
    becomes(connection, dependent.id, "finished")
    key, results = "rq:job:" + job.id, "rq:results:" + job.id
    score = connection.zscore("rq:finished:default", job.id)
    if ttl == 0:
        assert keys_of(connection, job.id) == [] and score is None
        assert connection.hget(worker_key(connection), "current_job") != job.id.encode()
        return
    assert connection.xlen(results) == 1
    if ttl == -1:
        assert connection.ttl(key) == -1 and connection.ttl(results) == -1 and score == float("inf")
        job.delete()
        return
    expected = ttl or 500
    assert expected - 10 <= connection.ttl(key) <= expected
    assert expected - 10 <= connection.ttl(results) <= expected
    assert abs(score - time.time() - expected) < 10


@pytest.mark.parametrize("ttl", [None, 300, -1, 0])
def test_a_failure_lives_as_long_as_it_should(queue, connection, ttl):
    job = queue.enqueue(FAIL, "no", failure_ttl=ttl)
    key, results = "rq:job:" + job.id, "rq:results:" + job.id
    wait_until(lambda: status(connection, job.id) in ("failed", ""), 15, "it fails")
    score = connection.zscore("rq:failed:default", job.id)
    if ttl == 0:
        assert keys_of(connection, job.id) == [] and score is None
        return
    assert connection.xlen(results) == 1
    if ttl == -1:
        assert connection.ttl(key) == -1 and connection.ttl(results) == -1 and score == -1
        return
    expected = ttl or YEAR
    assert expected - 10 <= connection.ttl(key) <= expected
    # Where RQ leaves the stream behind for ever, ours goes with its job (5.2).
    assert expected - 10 <= connection.ttl(results) <= expected
    assert abs(score - time.time() - expected) < 10


def test_a_running_job_never_expires(queue, connection):
    job = queue.enqueue(SLEEP, 2, ttl=1)
    becomes(connection, job.id, "started")
    assert connection.ttl("rq:job:" + job.id) == -1
    becomes(connection, job.id, "finished")


# ---- retries, repeats ----

def test_retries_walk_their_intervals(queue, connection):
    job = queue.enqueue(FAIL, "no", retry=Retry(max=3, interval=[1, 2]))
    seen = []

    def look():
        fields = connection.hmget("rq:job:" + job.id, "status", "retries_left", "ended_at")
        score = connection.zscore("rq:scheduled:default", job.id)
        if fields[0] == b"scheduled" and score is not None and (not seen or seen[-1][0] != fields[1]):
            ended = datetime.strptime(fields[2].decode(), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
            seen.append((fields[1], round(score - ended.timestamp())))
        return fields[0] == b"failed"
    wait_until(look, 30, "it fails for good")
    # Fewer intervals than retries: the first repeats (7.9).
    assert [left for left, _ in seen] == [b"2", b"1", b"0"]
    for (_, waited), expected in zip(seen, (1, 1, 2)):
        assert abs(waited - expected) <= 1, seen
    assert registries_of(queue, job.id) == ["failed"]
    # Attempts that were retried leave no entry.
    assert connection.xlen("rq:results:" + job.id) == 1


def test_a_retry_without_interval_is_immediate_and_counted(queue, connection):
    before = int(connection.hget(worker_key(connection), "failed_job_count") or 0)
    job = queue.enqueue(FAIL, "no", retry=Retry(max=2))
    becomes(connection, job.id, "failed")
    assert connection.hget("rq:job:" + job.id, "retries_left") == b"0"
    assert int(connection.hget(worker_key(connection), "failed_job_count")) == before + 3


def test_a_repeated_job_walks_its_list_from_the_end(queue, connection):
    """RQ 2.3's repeats: [1, 0] for two of them is 0 s first, then 1 s (7.11)."""
    job_id = write_job(connection, ECHO, ["again"], repeats_left=2, repeat_intervals="[1, 0]", result_ttl=60)
    wait_until(lambda: status(connection, job_id) == "scheduled", 15, "it waits for its last run")
    assert connection.hget("rq:job:" + job_id, "repeats_left") == b"0"
    assert connection.xlen("rq:results:" + job_id) == 2
    # It must outlive the wait, whatever its result TTL.
    assert connection.ttl("rq:job:" + job_id) == -1
    assert set(registries_of(queue, job_id)) == {"finished", "scheduled"}
    wait_until(lambda: connection.xlen("rq:results:" + job_id) == 3, 15, "it runs once more")
    becomes(connection, job_id, "finished")
    assert 0 < connection.ttl("rq:job:" + job_id) <= 60
    assert registries_of(queue, job_id) == ["finished"]


def test_a_repeated_job_that_is_canceled_while_it_runs_stops_repeating(queue, connection):
    job_id = write_job(connection, SLEEP, [1], repeats_left=5, repeat_intervals="[0]", result_ttl=60)
    becomes(connection, job_id, "started")
    # As RQ 2 cancels: the plain member stays with the worker (14).
    connection.hset("rq:job:" + job_id, "status", "canceled")
    connection.zadd("rq:canceled:default", {job_id: int(time.time())})
    becomes(connection, job_id, "finished")
    assert registries_of(queue, job_id) == ["finished"]
    assert connection.hget("rq:job:" + job_id, "repeats_left") == b"5"


# ---- groups ----

def test_a_group_loses_its_vanished_jobs_and_then_itself(server, queue, connection):
    group = "g-" + uuid.uuid4().hex
    quick = write_job(connection, ECHO, [1], group_id=group, result_ttl=0, push=False)
    kept = write_job(connection, ECHO, [2], group_id=group, push=False)
    connection.sadd("rq:groups", group, "g-empty")
    connection.sadd("rq:group:" + group, quick, kept)
    connection.rpush("rq:queue:default", quick, kept)
    becomes(connection, kept, "finished")
    maintain(server)
    wait_until(lambda: connection.smembers("rq:group:" + group) == {kept.encode()}, 10, "the vanished job leaves")
    wait_until(lambda: not connection.sismember("rq:groups", "g-empty"), 10, "the empty group leaves")
    assert connection.sismember("rq:groups", group)
    connection.delete("rq:job:" + kept)
    maintain(server)
    wait_until(lambda: not connection.sismember("rq:groups", group), 10, "the emptied group leaves")


# ---- cancel, stop, requeue, delete ----

def test_a_canceled_job_does_not_run_wherever_it_waited(queue, connection, pause):
    pause()
    waiting = queue.enqueue(ECHO, 1)
    deferred = queue.enqueue(ECHO, 2, depends_on=waiting)
    behind = queue.enqueue(ECHO, 3)
    popped = queue.enqueue(ECHO, 4)
    waiting.cancel()
    # Canceled between somebody's pop and its start: the id is still in the list (15.7).
    connection.hset("rq:job:" + popped.id, "status", "canceled")
    last = queue.enqueue(ECHO, 5)
    pause(False)
    becomes(connection, behind.id, "finished")
    becomes(connection, last.id, "finished")
    assert registries_of(queue, waiting.id) == ["canceled"]
    assert status(connection, popped.id) == "canceled" and registries_of(queue, popped.id) == []
    # Canceled ones release nobody.
    assert status(connection, deferred.id) == "deferred"


def test_a_job_canceled_while_it_runs_ends_once(queue, connection):
    job = queue.enqueue(SLEEP, 1.5)
    becomes(connection, job.id, "started")
    Job.fetch(job.id, connection=connection).cancel()
    worker = worker_key(connection)
    wait_until(lambda: connection.hget(worker, "current_job") is None, 15, "the consumer is done with it")
    # RQ 1 took the registry's entry away: it has decided. RQ 2 leaves a running job to its worker.
    end = "canceled" if int(rq.__version__.split(".")[0]) < 2 else "finished"
    assert status(connection, job.id) == end
    assert registries_of(queue, job.id) == [end]
    assert not [key for key in keys_of(connection, job.id) if "execution" in key]


def test_a_job_canceled_while_it_runs_is_not_put_back(server, queue, connection):
    """Its consumer dies, or has to leave: nobody wants it any more."""
    for number in (signal.SIGKILL, signal.SIGINT):
        job_id = write_job(connection, SLEEP, [30])
        becomes(connection, job_id, "started")
        connection.hset("rq:job:" + job_id, "status", "canceled")
        connection.zadd("rq:canceled:default", {job_id: int(time.time())})
        [consumer] = server.children("consumer")
        os.kill(consumer, number)
        wait_until(lambda: connection.zscore("rq:wip:default", job_id) is None, 15, "it is out of the books")
        behind = queue.enqueue(ECHO, 1)
        becomes(connection, behind.id, "finished")
        assert status(connection, job_id) == "canceled"
        assert registries_of(queue, job_id) == ["canceled"]


def test_a_stopped_job_is_over(queue, connection):
    job = queue.enqueue(SLEEP, 30, retry=Retry(max=3))
    dependent = queue.enqueue(ECHO, 1, depends_on=Dependency(jobs=[job], allow_failure=True))
    becomes(connection, job.id, "started")
    # Fire and forget: a message is lost on whoever does not listen yet.
    wait_until(lambda: connection.pubsub_numsub("rq:pubsub:" + worker_key(connection).decode()[10:])[0][1], 10,
               "the consumer listens")
    time.sleep(0.1)
    send_stop_job_command(connection, job.id)
    becomes(connection, job.id, "stopped")
    assert registries_of(queue, job.id) == ["failed"]
    assert connection.hget("rq:job:" + job.id, "retries_left") == b"3"
    [(_, entry)] = connection.xrange("rq:results:" + job.id)
    assert entry[b"type"] == b"2"
    # As RQ from 2.8 on: those behind it stay where they are.
    assert status(connection, dependent.id) == "deferred"


def test_a_failed_job_is_requeued_by_rq_and_by_us(server, queue, connection):
    job = queue.enqueue(FAIL, "no", retry=Retry(max=1), failure_ttl=100)
    becomes(connection, job.id, "failed")
    FailedJobRegistry(queue=queue).requeue(job.id)
    wait_until(lambda: connection.xlen("rq:results:" + job.id) == 2, 15, "it fails once more")
    becomes(connection, job.id, "failed")
    connection.hset("rq:job:" + job.id, "data", zlib.compress(pickle.dumps((ECHO, None, ("ok",), {}))))
    done = subprocess.run([BINARY, "jobs", "--config", server.config, "requeue", job.id], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    becomes(connection, job.id, "finished")
    assert registries_of(queue, job.id) == ["finished"]
    assert connection.hget("rq:job:" + job.id, "retries_left") == b"0"


@pytest.mark.parametrize("when", ["waiting", "scheduled", "deferred", "started", "started_raw", "finished"])
def test_a_deleted_job_leaves_nothing(queue, connection, pause, when):
    """Whoever deletes it, and when: no stub of a hash, no entry in a registry."""
    if when == "waiting":
        pause()
    depends = queue.enqueue(SLEEP, 1) if when == "deferred" else None
    job = (queue.enqueue_in(timedelta(seconds=1), ECHO, 1) if when == "scheduled"
           else queue.enqueue(ECHO, 1, depends_on=depends) if when == "deferred"
           else queue.enqueue(SLEEP, 1.5) if when.startswith("started") else queue.enqueue(ECHO, 1))
    if when.startswith("started"):
        becomes(connection, job.id, "started")
    if when == "finished":
        becomes(connection, job.id, "finished")
    fresh = Job.fetch(job.id, connection=connection)
    if when == "started_raw":
        connection.delete("rq:job:" + job.id)  # expired, flushed, evicted
    else:
        fresh.delete()
    if when == "waiting":
        pause(False)
    time.sleep(1.2)
    behind = queue.enqueue(ECHO, 2)
    becomes(connection, behind.id, "finished")
    assert registries_of(queue, job.id) == []
    left = [key for key in keys_of(connection, job.id) if not key.startswith("rq:results:")]
    assert left == []
    assert connection.hget(worker_key(connection), "current_job") is None


# ---- abandoned jobs and upkeep ----

def test_abandoned_jobs_end_as_rq_ends_them(server, queue, connection):
    """Of workers that are no more, on hosts that are not ours (7.16)."""
    past = int(time.time()) - 5
    execution = uuid.uuid4().hex
    plain = write_job(connection, ECHO, [1], push=False, status="started", worker_name="gone", failure_ttl=77)
    composite = write_job(connection, ECHO, [2], push=False, status="started", worker_name="gone")
    retried = write_job(connection, ECHO, [3], push=False, status="started", retries_left=1)
    later = write_job(connection, ECHO, [4], push=False, status="started", retries_left=1, retry_intervals="[600]")
    canceled = write_job(connection, ECHO, [5], push=False, status="canceled")
    finished = write_job(connection, ECHO, [6], push=False, status="finished")
    colons = write_job(connection, ECHO, [7], "a:" + uuid.uuid4().hex, push=False, status="started")
    alive = write_job(connection, ECHO, [8], push=False, status="started")
    missing = str(uuid.uuid4())
    dependent = write_job(connection, ECHO, [9], push=False, status="deferred", allow_dependency_failures="1",
                          dependency_ids=f'["{plain}"]')
    connection.sadd(f"rq:job:{plain}:dependents", dependent)
    connection.sadd(f"rq:job::{dependent}:dependencies", plain)
    connection.zadd("rq:deferred:default", {dependent: past})
    connection.zadd("rq:executions:" + composite, {execution: past + 60})
    connection.hset(f"rq:execution:{composite}:{execution}", mapping={"id": execution, "created_at": past})
    connection.zadd("rq:wip:default", {
        plain: past, f"{composite}:{execution}": past, retried: past, later: past, canceled: past,
        finished: past, colons: past, missing: past, alive: past + 1000})
    maintain(server)
    for job_id in (plain, composite, colons):
        becomes(connection, job_id, "failed")
        assert registries_of(queue, job_id) == ["failed"]
        text = why_failed(connection, job_id)
        assert text.startswith("Moved to FailedJobRegistry, due to AbandonedJobError, at "), text
        moment = datetime.fromisoformat(text.split(" at ")[1])
        assert abs(moment.timestamp() - time.time()) < 120
    assert 0 < connection.ttl("rq:job:" + plain) <= 77
    assert not connection.exists("rq:executions:" + composite, f"rq:execution:{composite}:{execution}")
    becomes(connection, dependent, "finished")
    becomes(connection, retried, "finished")
    assert connection.hget("rq:job:" + retried, "retries_left") == b"0"
    assert status(connection, later) == "scheduled" and registries_of(queue, later) == ["scheduled"]
    assert status(connection, canceled) == "canceled" and status(connection, finished) == "finished"
    assert [member.decode() for member in connection.zrange("rq:wip:default", 0, -1)] == [alive]
    connection.zrem("rq:wip:default", alive)
    assert keys_of(connection, missing) == []
    assert not connection.exists("rq:clean_registries:default"), "RQ's lock is given back"


def test_upkeep_respects_rqs_lock(server, queue, connection):
    abandoned = write_job(connection, ECHO, [1], push=False, status="started")
    connection.zadd("rq:wip:default", {abandoned: int(time.time()) - 5})
    connection.set("rq:clean_registries:default", 1, ex=60)
    maintain(server)
    low = write_job(connection, ECHO, [1], queue="low", push=False, status="started")
    connection.zadd("rq:wip:low", {low: int(time.time()) - 5})
    maintain(server)
    becomes(connection, low, "failed")
    assert status(connection, abandoned) == "started"
    connection.delete("rq:clean_registries:default")
    maintain(server)
    becomes(connection, abandoned, "failed")


def test_upkeep_of_registries_workers_and_the_intermediate_list(server, queue, connection):
    now = int(time.time())
    over, kept, for_ever = (str(uuid.uuid4()) for _ in range(3))
    connection.zadd("rq:finished:default", {over: now - 5, kept: now + 500})
    connection.zadd("rq:failed:default", {over: now - 5, for_ever: -1, kept: now + 500})
    connection.sadd("rq:workers", "rq:worker:dead")
    connection.sadd("rq:workers:default", "rq:worker:dead")
    stuck, running, unseen = (write_job(connection, ECHO, [n], push=False) for n in range(3))
    composite = write_job(connection, ECHO, [3], push=False, status="started")
    gone = str(uuid.uuid4())
    listed = "rq:queue:default:intermediate"
    connection.rpush(listed, stuck, running, unseen, gone, composite)
    connection.zadd("rq:wip:default", {running: now + 500})
    connection.zadd("rq:executions:" + composite, {uuid.uuid4().hex: now + 500})
    for job_id in (stuck, running, gone):
        connection.set(f"{listed}:first_seen:{job_id}", now - 61, ex=86400)
    maintain(server)
    becomes(connection, stuck, "finished")  # it never started: requeued, where RQ fails it
    assert [each.decode() for each in connection.lrange(listed, 0, -1)] == [running, unseen, composite]
    assert connection.get(f"{listed}:first_seen:{unseen}") is not None
    assert not connection.exists(*(f"{listed}:first_seen:{each}" for each in (stuck, running, gone)))
    assert connection.zscore("rq:finished:default", over) is None
    assert connection.zscore("rq:failed:default", over) is None
    assert connection.zscore("rq:failed:default", for_ever) == -1
    assert connection.zscore("rq:finished:default", kept) and connection.zscore("rq:failed:default", kept)
    assert not connection.sismember("rq:workers:default", "rq:worker:dead")
    assert not connection.sismember("rq:workers", "rq:worker:dead")
    connection.delete(listed)
    connection.zrem("rq:wip:default", running)


def test_canceled_ids_without_a_job_go(server, queue, connection):
    gone, kept = str(uuid.uuid4()), write_job(connection, ECHO, [1], push=False, status="canceled")
    connection.zadd("rq:canceled:default", {gone: 1, kept: 1})
    maintain(server)
    wait_until(lambda: registries_of(queue, gone) == [], 10, "the orphan leaves")
    assert registries_of(queue, kept) == ["canceled"]
