"""Consumers as RQ's tools see and steer them: bursts, strategies, commands, time limits."""

import json
import os
import signal
import time
from datetime import datetime, timedelta, timezone

import pytest

from services import wait_until

rq = pytest.importorskip("rq")
from rq import Queue, Retry, Worker  # noqa: E402
from rq.command import (send_kill_horse_command, send_shutdown_command,  # noqa: E402
                        send_stop_job_command)
from rq.job import Job  # noqa: E402
from rq.registry import FailedJobRegistry, ScheduledJobRegistry  # noqa: E402
from rq.suspension import resume, suspend  # noqa: E402

JOBS = "test_functions = true; heartbeat = 2; kill_grace = \"500ms\"; outbox_age = 1;"
ECHO, FAIL, SLEEP, SPIN = (f"forkmark.test.{name}" for name in ("echo", "fail", "sleep", "spin"))


@pytest.fixture
def connection(redis_server):
    return redis_server.connect()


@pytest.fixture
def start(make_stack):
    def start_with(pool="", consumers=1, jobs="", **options):
        return make_stack(jobs=JOBS + jobs, consumers=consumers, pool=pool, **options)
    return start_with


def workers(connection):
    return Worker.all(connection=connection)


def one_worker(connection, seconds=15):
    wait_until(lambda: len(workers(connection)) == 1, seconds, "the consumer registers")
    return workers(connection)[0]


def statuses(jobs):
    return [job.get_status() for job in jobs]


def all_are(jobs, status, seconds=20):
    wait_until(lambda: set(statuses(jobs)) == {status}, seconds,
               f"all jobs are {status}; they are {statuses(jobs)}")


def started(job):
    wait_until(lambda: job.get_status() == "started", 15, f"{job.id} starts (is {job.get_status()})")


def at_work(stack, job):
    """Redis says `started` a moment before the consumer knows; one told to go just then has not begun."""
    started(job)
    wait_until(lambda: job.id in stack.ctl("status", "--json").stdout, 15, "the consumer is at it")


def reason(job):
    return Job.fetch(job.id, connection=job.connection).latest_result().exc_string


def field(connection, worker, name):
    value = connection.hget("rq:worker:" + worker.name, name)
    return value and value.decode()


# ---- bursts, and consumers that end by themselves ----


def test_a_burst_ends_when_all_queues_are_empty(start, connection):
    queues = [Queue(name, connection=connection) for name in ("low", "default", "high")]
    jobs = [queue.enqueue(ECHO, number) for queue in queues for number in range(10)]
    stack = start("burst = true;", consumers=2, jobs="scheduler = false;")
    all_are(jobs, "finished")
    wait_until(lambda: not stack.children("consumer"), 15, "the consumers have gone")
    assert workers(connection) == []
    late = queues[1].enqueue(ECHO, 1)
    time.sleep(1)
    assert late.get_status() == "queued" and not stack.children("consumer")
    assert "0 wanted, 0 ready (2 configured)" in stack.ctl("status").stdout
    # Asked for again, there is another one; and none of all this is an error.
    assert stack.ctl("scale", "jobs.default", "config").returncode == 0
    all_are([late], "finished")
    wait_until(lambda: not stack.children("consumer"), 15, "the consumers have gone again")
    assert "died" not in stack.log_text() and "its queues are empty" in stack.log_text()


@pytest.mark.parametrize("leader", ["nobody", "forkmark", "python"])
def test_a_burst_enqueues_what_is_due_first(start, connection, leader):
    """With a scheduler, once; where a Python worker schedules, it is that one's to do."""
    queue = Queue("default", connection=connection)
    due = queue.enqueue_at(datetime.now(timezone.utc) - timedelta(seconds=5), ECHO, 1)
    later = queue.enqueue_at(datetime.now(timezone.utc) + timedelta(seconds=3600), ECHO, 1)
    if leader != "nobody":
        connection.set("rq:scheduler-lock:default", "12345")
    if leader == "forkmark":
        connection.hset("rq:scheduler:12345", "fm_home", "another-host")
    stack = start("burst = true;")
    if leader == "python":
        wait_until(lambda: "its queues are empty" in stack.log_text(), 15, "the burst is over")
        assert due.get_status() == "scheduled"
    else:
        all_are([due], "finished")
    assert ScheduledJobRegistry(queue=queue).get_job_ids()[-1] == later.id
    wait_until(lambda: not stack.children("consumer"), 15, "the consumer has gone")


def test_a_burst_does_not_wait_for_the_end_of_a_suspension(start, connection):
    suspend(connection)
    job = Queue("default", connection=connection).enqueue(ECHO, 1)
    stack = start("burst = true;")
    wait_until(lambda: "workers are suspended" in stack.log_text(), 15, "it says so")
    wait_until(lambda: not stack.children("consumer"), 15, "it goes")
    assert job.get_status() == "queued"


def test_max_jobs_replaces_the_consumer(start, connection):
    queue = Queue("default", connection=connection)
    jobs = [queue.enqueue(ECHO, number) for number in range(8)]
    jobs.append(queue.enqueue(FAIL, retry=Retry(max=1)))
    stack = start("max_jobs = 4;")
    all_are(jobs[:8], "finished")
    all_are(jobs[8:], "failed")
    by = [connection.hget("rq:job:" + job.id, "worker_name") for job in jobs]
    assert by[0] == by[3] != by[4] == by[7] != by[8]
    wait_until(lambda: len(stack.children("consumer")) == 1, 10, "there is another one")
    assert "has run 4 jobs" in stack.log_text() and "died" not in stack.log_text()


def test_max_idle_time_ends_the_consumer(start, connection):
    stack = start("max_idle_time = 2;")
    worker = one_worker(connection)
    job = Queue("default", connection=connection).enqueue(SLEEP, 2.5)
    all_are([job], "finished")
    ended = time.monotonic()
    wait_until(lambda: not stack.children("consumer"), 20, "it goes")
    assert time.monotonic() - ended > 1
    assert field(connection, worker, "death") and workers(connection) == []
    assert "died" not in stack.log_text() and "max_idle_time" in stack.log_text()


# ---- the queues' turns ----


def order_of(connection, jobs):
    """The queues' names in the order in which their jobs were started."""
    all_are(jobs, "finished", 40)
    return [job.origin for job in sorted(
        (Job.fetch(job.id, connection=connection) for job in jobs), key=lambda job: job.started_at)]


@pytest.mark.parametrize("strategy", ["default", "round_robin", "random"])
def test_strategies(start, connection, strategy):
    names = ["low", "default", "high"]
    jobs = [Queue(name, connection=connection).enqueue(ECHO, number)
            for number in range(12) for name in names]
    start(f'strategy = "{strategy}";')
    order = order_of(connection, jobs)
    by_priority = ["high"] * 12 + ["default"] * 12 + ["low"] * 12
    if strategy == "default":
        assert order == by_priority
    elif strategy == "round_robin":
        assert order == ["high", "default", "low"] * 12
    else:
        # Twelve shuffles in a row that say the same happen once in 10 ** 9 times.
        assert order != by_priority and order != ["high", "default", "low"] * 12


# ---- commands ----


def test_shutdown_ends_an_idle_consumer_and_another_follows(start, connection):
    stack = start()
    worker = one_worker(connection)
    send_shutdown_command(connection, worker.name)
    wait_until(lambda: field(connection, worker, "death"), 10, "it says good-bye")
    assert field(connection, worker, "shutdown_requested_date") is None
    wait_until(lambda: [each.name for each in workers(connection)] not in ([], [worker.name]), 10,
               "another one takes its place")
    assert "died" not in stack.log_text()


def test_shutdown_lets_the_job_finish(start, connection):
    stack = start(server="graceful_timeout = 2;")  # which is for the server's own end
    worker = one_worker(connection)
    job = Queue("default", connection=connection).enqueue(SLEEP, 4)
    at_work(stack, job)
    send_shutdown_command(connection, worker.name)
    wait_until(lambda: field(connection, worker, "shutdown_requested_date"), 10, "RQ sees it")
    assert job.get_status() == "started"
    datetime.strptime(field(connection, worker, "shutdown_requested_date"), "%Y-%m-%dT%H:%M:%S.%fZ")
    all_are([job], "finished")
    assert connection.hget("rq:job:" + job.id, "worker_name").decode() == worker.name
    wait_until(lambda: field(connection, worker, "death"), 10, "it says good-bye")


def test_a_reload_waits_for_a_job_but_the_servers_end_does_not(start, connection):
    stack = start(server="graceful_timeout = 2;")
    worker = one_worker(connection)
    queue = Queue("default", connection=connection)
    jobs = [queue.enqueue(SLEEP, 5)]
    at_work(stack, jobs[0])
    stack.reload(jobs=JOBS + " result_ttl = 600;")
    wait_until(lambda: field(connection, worker, "shutdown_requested_date"), 15, "it is to leave")
    jobs.append(queue.enqueue(ECHO, 1))
    all_are(jobs[1:], "finished")  # by its successor
    all_are(jobs, "finished")
    assert connection.hget("rq:job:" + jobs[0].id, "worker_name").decode() == worker.name
    # One that drains already is hurried when the server stops.
    worker = one_worker(connection)
    job = queue.enqueue(SLEEP, 60)
    at_work(stack, job)
    stack.reload(jobs=JOBS + " result_ttl = 700;")
    wait_until(lambda: field(connection, worker, "shutdown_requested_date"), 15, "it is to leave")
    stack.master.signal(signal.SIGTERM)
    assert stack.master.wait(20) == 0
    assert queue.job_ids == [job.id] and "did not end in time" not in stack.log_text()


def kill_horse_until(connection, worker, check, what):
    """Redis says `started` a moment before the consumer knows; until then there is nothing to kill."""
    def is_so():
        if check():
            return True
        send_kill_horse_command(connection, worker.name)
        time.sleep(0.5)
        return check()
    wait_until(is_so, 20, what)


def test_kill_horse_fails_the_attempt(start, connection):
    start()
    worker = one_worker(connection)
    send_kill_horse_command(connection, worker.name)  # idle: nothing to kill
    queue = Queue("default", connection=connection)
    all_are([queue.enqueue(ECHO, 1)], "finished")
    job = queue.enqueue(SLEEP, 60, retry=Retry(max=1))
    started(job)
    kill_horse_until(connection, worker, lambda: Job.fetch(job.id, connection=connection).retries_left == 0,
                     "it is retried")
    started(job)
    kill_horse_until(connection, worker, lambda: job.get_status() == "failed", "it has failed")
    assert reason(job).startswith("Work-horse terminated unexpectedly; waitpid returned 9 (signal 9);")
    assert one_worker(connection).name == worker.name
    assert field(connection, worker, "failed_job_count") == "2"


def test_stop_job_is_no_failure_to_retry(start, connection):
    start()
    worker = one_worker(connection)
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 60, retry=Retry(max=3))
    child = queue.enqueue(ECHO, 1, depends_on=job)
    started(job)
    send_stop_job_command(connection, job.id)
    all_are([job], "stopped")
    assert reason(job) == "Job stopped by user, work-horse terminated."
    assert job.id in FailedJobRegistry(queue=queue).get_job_ids()
    assert child.get_status() == "deferred"
    assert connection.zcard("rq:wip:default") == 0
    assert one_worker(connection).name == worker.name


def test_what_is_no_command_is_ignored_and_logged(start, connection):
    stack = start()
    worker = one_worker(connection)
    job = Queue("default", connection=connection).enqueue(SLEEP, 3)
    started(job)
    wrong = [b"", b"\xff\xfe", b"{", b"[]", b'"shutdown"', b"null", b'{"command": 5}', b'{"command": null}',
             b'{"command": "dance"}', b"[" * 100000, b'{"command": "' + b"x" * 100000 + b'"}',
             b'{"command": "sh\x00utdown"}', b'{"command": "\\ud800"}']
    for payload in wrong:
        assert connection.publish("rq:pubsub:" + worker.name, payload) == 1
    # Known ones, for others: no reason for a warning.
    for message in ({"command": "stop-job"}, {"command": "stop-job", "job_id": 7},
                    {"command": "stop-job", "job_id": "another"},
                    {"command": "stop-execution", "job_id": job.id, "execution_id": "0" * 32}):
        connection.publish("rq:pubsub:" + worker.name, json.dumps(message))
    wait_until(lambda: stack.log_text().count("none of ours") == len(wrong), 10, "each is said")
    all_are([job], "finished")
    assert one_worker(connection).pid == worker.pid


def test_commands_are_heard_again_after_a_reconnect(start, connection):
    start()
    worker = one_worker(connection)
    job = Queue("default", connection=connection).enqueue(SLEEP, 60)
    started(job)
    channel = "rq:pubsub:" + worker.name
    for _ in range(2):
        wait_until(lambda: connection.pubsub_numsub(channel)[0][1] == 1, 10, "it listens")
        assert connection.client_kill_filter(_type="pubsub") >= 1
    wait_until(lambda: connection.pubsub_numsub(channel)[0][1] == 1, 10, "it listens again")
    send_stop_job_command(connection, job.id)
    all_are([job], "stopped")


# ---- suspension ----


def test_a_suspension_is_noticed_before_the_next_claim(start, connection):
    start()
    worker = one_worker(connection)
    queue = Queue("default", connection=connection)
    wait_until(lambda: field(connection, worker, "state") == "idle", 10, "it waits")
    suspend(connection)
    waiting = [queue.enqueue(ECHO, number) for number in range(3)]
    wait_until(lambda: field(connection, worker, "state") == "suspended", 10, "it shows that it is suspended")
    time.sleep(0.5)
    assert statuses(waiting) == ["queued"] * 3
    resume(connection)
    all_are(waiting, "finished")
    wait_until(lambda: field(connection, worker, "state") == "idle", 10, "it waits again")
    # In the middle of a job: that one ends, no other begins.
    jobs = [queue.enqueue(SLEEP, 1), queue.enqueue(ECHO, 1)]
    started(jobs[0])
    suspend(connection)
    wait_until(lambda: field(connection, worker, "state") == "suspended", 10, "it is suspended after its job")
    assert statuses(jobs) == ["finished", "queued"]
    resume(connection)
    all_are(jobs, "finished")


# ---- time limits, and the end of the server ----


def test_a_job_is_cancelled_at_its_time_limit(start, connection):
    start()
    pid = one_worker(connection).pid
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 60, job_timeout=1)
    all_are([job], "failed")
    assert reason(job).splitlines()[-1] == ("rq.timeouts.JobTimeoutException: Task exceeded maximum "
                                            "timeout value (1 seconds)")
    job = queue.enqueue(SLEEP, 60, job_timeout=1, retry=Retry(max=1))
    all_are([job], "failed")
    assert Job.fetch(job.id, connection=connection).retries_left == 0
    unlimited = queue.enqueue(SLEEP, 2, job_timeout=-1)
    all_are([unlimited], "finished")
    assert one_worker(connection).pid == pid


def test_a_job_that_does_not_yield_is_killed_with_its_process(start, connection):
    stack = start()
    pid = one_worker(connection).pid
    queue = Queue("default", connection=connection)
    began = time.monotonic()
    job = queue.enqueue(SPIN, 60, job_timeout=1, retry=Retry(max=1))
    wait_until(lambda: Job.fetch(job.id, connection=connection).retries_left == 0, 20,
               "the killed attempt is retried")
    all_are([job], "failed", 30)
    assert 3 <= time.monotonic() - began
    assert reason(job).splitlines()[-1] == ("rq.timeouts.JobTimeoutException: Task exceeded maximum "
                                            "timeout value (1 seconds)")
    assert connection.hget("rq:job:" + job.id, "fm_deliveries") is None
    assert connection.zcard("rq:wip:default") == 0
    assert "past its deadline" in stack.log_text()
    assert one_worker(connection).pid != pid
    all_are([queue.enqueue(ECHO, 1)], "finished")


@pytest.mark.parametrize("how", ["graceful", "too long", "quick"])
def test_the_servers_end(start, connection, how):
    stack = start(server="graceful_timeout = 4;" if how == "too long" else "")
    worker = one_worker(connection)
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 2 if how == "graceful" else 60, retry=Retry(max=2, interval=60))
    other = queue.enqueue(ECHO, 1)
    at_work(stack, job)
    stack.master.signal(signal.SIGTERM if how != "quick" else signal.SIGINT)
    if how != "quick":
        wait_until(lambda: field(connection, worker, "shutdown_requested_date"), 10, "RQ sees it")
    stack.master.wait(30)
    assert field(connection, worker, "death") and workers(connection) == []
    # Nothing is lost, and nothing more was begun.
    if how == "graceful":
        assert statuses([job, other]) == ["finished", "queued"]
        assert queue.job_ids == [other.id]
    else:
        assert statuses([job, other]) == ["queued", "queued"]
        assert queue.job_ids == [job.id, other.id]
        assert Job.fetch(job.id, connection=connection).retries_left == 2
    assert connection.zcard("rq:wip:default") == 0


# ---- what is seen from outside ----


def test_the_workers_record(start, connection):
    """The fields every reader from 1.13 on parses, in the forms it parses (protocol 6.2)."""
    start()
    worker = one_worker(connection)
    queue = Queue("default", connection=connection)
    job = queue.enqueue(SLEEP, 3)
    started(job)
    record = {key.decode(): value.decode() for key, value in
              connection.hgetall("rq:worker:" + worker.name).items()}
    for name in ("birth", "last_heartbeat"):
        datetime.strptime(record[name], "%Y-%m-%dT%H:%M:%S.%fZ")
        assert len(record[name]) == 27
    assert record["queues"] == "high,default,low" and record["state"] == "busy"
    assert record["current_job"] == job.id and float(record["current_job_working_time"]) >= 0
    assert int(record["pid"]) == worker.pid and record["hostname"] and record["ip_address"]
    assert record["version"] and record["python_version"].startswith("forkmark ")
    assert 0 < connection.ttl("rq:worker:" + worker.name) <= 90
    # RQ 3 reads the executions instead of current_job.
    [member] = connection.smembers("rq:worker:" + worker.name + ":executions")
    execution = member.decode().rpartition(":")[2]
    assert member.decode() == f"{job.id}:{execution}"
    assert connection.hget(f"rq:execution:{job.id}:{execution}", "worker_name").decode() == worker.name
    wait_until(lambda: float(field(connection, worker, "current_job_working_time")) > 1, 10, "heartbeats")
    all_are([job, queue.enqueue(FAIL)][:1], "finished")
    wait_until(lambda: field(connection, worker, "state") == "idle" and field(connection, worker, "failed_job_count"), 10,
               "it is idle again")
    assert field(connection, worker, "current_job") is None
    assert field(connection, worker, "current_job_working_time") == "0"
    assert field(connection, worker, "successful_job_count") == "1"
    assert field(connection, worker, "failed_job_count") == "1"
    assert float(field(connection, worker, "total_working_time")) >= 3
    assert 90 < connection.ttl("rq:worker:" + worker.name) <= 480
    # Gone from Redis (a flush, an expiry): written again, whole, under the same name.
    connection.delete("rq:worker:" + worker.name)
    connection.srem("rq:workers", "rq:worker:" + worker.name)
    again = one_worker(connection)
    assert (again.name, again.pid) == (worker.name, worker.pid)
    assert field(connection, worker, "queues") == "high,default,low"


def test_each_job_has_a_line(start, connection):
    stack = start()
    one_worker(connection)
    queue = Queue("default", connection=connection)
    jobs = {"finished": queue.enqueue(ECHO, 1), "failed": queue.enqueue(FAIL, "so it is"),
            "unknown": queue.enqueue("no.such.function", 1)}
    wait_until(lambda: not queue.job_ids and jobs["unknown"].get_status() == "failed", 10, "all are done")
    wait_until(lambda: "no.such.function failed" in stack.log_text(), 10, "the last one's line")
    lines = stack.log_text().splitlines()
    for outcome, words in (("finished", f"{ECHO} finished after 0."),
                           ("failed", f"{FAIL} failed after 0."),
                           ("unknown", "no.such.function failed after 0.")):
        [line] = [line for line in lines if jobs[outcome].id in line and words in line]
        assert outcome != "failed" or "ValueError: so it is" in line


def test_polling_where_blmove_is_denied_is_prompt_and_calm(start, redis_server, connection):
    connection.execute_command("ACL", "SETUSER", "default", "-blmove")
    stack = start()
    one_worker(connection)
    wait_until(lambda: "queues are polled" in stack.log_text(), 15, "it is said")
    connection.execute_command("CONFIG", "RESETSTAT")
    time.sleep(2)
    calls = connection.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert 10 <= calls <= 60  # every 100 ms while nothing comes
    queue = Queue("default", connection=connection)
    times = []
    for number in range(10):
        began = time.monotonic()
        job = queue.enqueue(ECHO, number)
        all_are([job], "finished")
        times.append(time.monotonic() - began)
    assert sorted(times)[5] < 0.5, times
    assert os.path.exists(f"/proc/{one_worker(connection).pid}")
