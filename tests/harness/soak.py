"""Many jobs while processes die, connections break and others share the queue: the books
at the end must say that each job ran as often as it was due."""

import collections
import os
import random
import signal
import statistics
import subprocess
import time

from rq import Queue
from rq.job import Job

from rq_jobs import ECHO, FAIL, SLEEP, fields_of, push_jobs, python_worker, write_jobs
from services import wait_until

JOBS = 'test_functions = true; heartbeat = 2; failure_ttl = 86400; result_ttl = 86400;'
PLACES = ("rq:queue:{}", "rq:wip:{}", "rq:deferred:{}", "rq:scheduled:{}")


def statuses(connection, ids):
    return collections.Counter(row[0] for row in fields_of(connection, ids, "status"))


def all_over(connection, ids, seconds):
    """Waits until every job has ended; how many in which state."""
    def look():
        found = statuses(connection, ids)
        return found if sum(found[state] for state in ("finished", "failed")) == len(ids) else None
    try:
        return wait_until(look, seconds, "every job ends")
    except AssertionError as error:
        raise AssertionError(f"{error}: {statuses(connection, ids)}") from None


def size(connection, key):
    return connection.llen(key) if connection.type(key) == b"list" else connection.zcard(key)


def nothing_is_left(connection, queue="default"):
    wait_until(lambda: not any(size(connection, place.format(queue)) for place in PLACES), 15,
               "queue and registries are empty")


def executions(connection):
    """What all workers that ever were say they have done: successes, failures."""
    rows = [connection.hmget(key, "successful_job_count", "failed_job_count")
            for key in connection.scan_iter("rq:worker:*", count=1000)
            if connection.type(key) == b"hash"]
    return tuple(sum(int(row[i] or 0) for row in rows) for i in range(2))


def keep_dead_workers(connection):
    """Their records expire a minute after death; the counts in them are wanted."""
    for key in connection.scan_iter("rq:worker:*", count=1000):
        if connection.type(key) == b"hash":
            connection.persist(key)


def sleeping_jobs(connection, count, least_s, most_s, seed=1):
    chance, ids = random.Random(seed), []
    for begin in range(0, count, 250):
        ids += write_jobs(connection, "default", min(250, count - begin), SLEEP,
                          (round(chance.uniform(least_s, most_s), 4),), result_ttl=86400)
    return ids


def shared_with_python(stack, count, seconds):
    """echo, fail, sleep, retried and dependent jobs, for forkmark and one Python worker."""
    connection = stack.redis
    queue = Queue("default", connection=connection)
    twentieth = count // 20
    plain = write_jobs(connection, "default", 11 * twentieth, ECHO, (7,), result_ttl=86400)
    plain += write_jobs(connection, "default", 2 * twentieth, SLEEP, (0.001,), result_ttl=86400)
    failing = write_jobs(connection, "default", 3 * twentieth, FAIL, ("no",))
    retried = write_jobs(connection, "default", 2 * twentieth, FAIL, ("again",), retries=2)
    ids = plain + failing + retried
    random.Random(3).shuffle(ids)
    command, options = python_worker(stack.redis_server.url(), "default")
    with open(os.path.join(stack.folder, "python.log"), "wb") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        wait_until(lambda: len(stack.children("consumer")) < connection.scard("rq:workers"), 20,
                   "the Python worker is there")
        push_jobs(connection, "default", ids)
        dependents = []
        for _ in range(twentieth):
            first = queue.enqueue(ECHO, 1, result_ttl=86400)
            then = queue.enqueue(ECHO, 2, depends_on=first, result_ttl=86400)
            dependents += [first.id, then.id]
        found = all_over(connection, ids + dependents, seconds)
        by_python = sum(int(connection.hget(key, "successful_job_count") or 0)
                        for key in connection.scan_iter("rq:worker:*")
                        if connection.type(key) == b"hash"
                        and (connection.hget(key, "python_version") or b"").startswith(b"3"))
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
    nothing_is_left(connection)
    good = len(plain) + len(dependents)
    assert found == {"finished": good, "failed": len(failing) + len(retried)}
    assert executions(connection) == (good, len(failing) + 3 * len(retried))
    assert connection.zcard("rq:finished:default") == good
    assert connection.zcard("rq:failed:default") == len(failing) + len(retried)
    assert {row[0] for row in fields_of(connection, retried, "retries_left")} == {"0"}
    return good, by_python


def held_by(connection, pid):
    """The job that the consumer of this process runs; None: none."""
    for key in connection.smembers("rq:workers"):
        found, job = connection.hmget(key, "pid", "current_job")
        if found and int(found) == pid:
            return job.decode() if job else None
    return None


def killed_consumers(stack, count, kills, seconds):
    """Seconds from each SIGKILL until the job it hit was started again or had ended."""
    connection, chance = stack.redis, random.Random(5)
    ids = sleeping_jobs(connection, count, 0.005, 0.020)
    push_jobs(connection, "default", ids)
    wait_until(lambda: statuses(connection, ids[:50])["finished"] > 10, 30, "they run")
    recoveries = []
    for _ in range(kills):
        pid = chance.choice(list(stack.children("consumer")))
        job = held_by(connection, pid)
        before = job and connection.hmget("rq:job:" + job, "worker_name", "started_at")
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        if job and connection.hget("rq:job:" + job, "status") == b"started":
            while (connection.hmget("rq:job:" + job, "worker_name", "started_at") == before
                   and connection.hget("rq:job:" + job, "status") != b"finished"):
                assert time.monotonic() - killed < 30, f"{job} is not taken back"
                time.sleep(0.002)
            recoveries.append(time.monotonic() - killed)
        time.sleep(chance.uniform(0.05, 0.35))
    found = all_over(connection, ids, seconds)
    nothing_is_left(connection)
    for each in ids if found["failed"] else []:
        job = Job.fetch(each, connection=connection)
        if job.get_status() == "failed":
            assert "MaxDeliveriesExceeded" in job.latest_result().exc_string
    assert sum(found.values()) == count and found["failed"] <= kills // 20
    return recoveries


def report(recoveries):
    return (f"{len(recoveries)} recoveries: median {statistics.median(recoveries) * 1000:.0f} ms, "
            f"most {max(recoveries) * 1000:.0f} ms")


def each_once(connection, ids):
    """One outcome in the results and one success in the workers' counts for each job."""
    pipe = connection.pipeline(transaction=False)
    for each in ids:
        pipe.xlen("rq:results:" + each)
    assert set(pipe.execute()) == {1}
    nothing_is_left(connection)
    assert executions(connection) == (len(ids), 0)


def restarted_redis(stack, count, restarts, seconds):
    server = stack.redis_server
    ids = sleeping_jobs(stack.redis, count, 0.002, 0.006)
    push_jobs(stack.redis, "default", ids)
    for number in range(restarts):
        part = (number + 1) * count // (restarts + 2)
        wait_until(lambda: stack.redis.zcard("rq:finished:default") >= part, seconds, "they run")
        keep_dead_workers(stack.redis)
        server.stop()
        time.sleep(0.3)
        server.start()
    found = all_over(stack.redis, ids, seconds)
    assert found == {"finished": count}
    each_once(stack.redis, ids)


def cut_connections(stack, count, cutting_s, seconds):
    """CLIENT KILL of everybody every 50 ms."""
    connection = stack.redis
    ids = sleeping_jobs(connection, count, 0.001, 0.003)
    push_jobs(connection, "default", ids)
    cuts, end = 0, time.monotonic() + cutting_s
    while time.monotonic() < end:
        cuts += connection.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(0.05)
    found = all_over(connection, ids, seconds)
    assert found == {"finished": count}
    each_once(connection, ids)
    return cuts
