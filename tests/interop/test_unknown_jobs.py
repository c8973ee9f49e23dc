"""unknown = "leave": a queue shared with Python workers, each taking what it can run."""

import os
import subprocess
import sys
import time

import pytest

from services import wait_until

rq = pytest.importorskip("rq")
from rq import Queue, Worker  # noqa: E402
from rq.job import Job  # noqa: E402
from rq.serializers import JSONSerializer  # noqa: E402

JOBS = ('test_functions = true; heartbeat = 2; '
        'queues: { default: { unknown = "leave"; }; high: { unknown = "leave"; }; }; ')
ECHO, SLEEP = "forkmark.test.echo", "forkmark.test.sleep"
FOREIGN = "operator.add"  # any Python has it, and we do not
WORKER = """
import sys
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job

class Ours(SimpleWorker):
    # As a fleet does: what Python cannot import is not tried. It goes back to the end.
    def execute_job(self, job, queue):
        if job.func_name.startswith("forkmark."):
            queue.push_job_id(job.id)
            return
        super().execute_job(job, queue)

connection = Redis(unix_socket_path=sys.argv[1])
Ours([Queue("default", connection=connection)], connection=connection).work(burst=sys.argv[2] == "burst")
"""


@pytest.fixture
def connection(redis_server):
    return redis_server.connect()


@pytest.fixture
def queue(connection):
    return Queue("default", connection=connection)


def start(make_stack, connection, consumers=1, jobs=JOBS, **options):
    stack = make_stack(jobs=jobs, consumers=consumers, **options)
    wait_until(lambda: len(Worker.all(connection=connection)) == consumers, 15, "consumers register")
    return stack


def python_worker(redis_server, folder, burst=True):
    """A real RQ worker's process; its output is in a file of the folder."""
    log = open(os.path.join(folder, "python.log"), "ab")
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", WORKER, redis_server.socket,
                             "burst" if burst else "stay"], stdout=log, stderr=log)


def finished(connection, ids, seconds=40):
    def count():
        pipe = connection.pipeline()
        for each in ids:
            pipe.hget("rq:job:" + each, "status")
        return sum(status == b"finished" for status in pipe.execute())
    wait_until(lambda: count() == len(ids), seconds, f"{count()} of {len(ids)} are finished")


def enqueue_many(queue, function, count, *arguments):
    pipe = queue.connection.pipeline()
    jobs = []
    for _ in range(count):
        job = Job.create(function, args=arguments, connection=queue.connection, origin=queue.name)
        job.set_status("queued", pipeline=pipe)
        job.save(pipeline=pipe)
        queue.push_job_id(job.id, pipeline=pipe)
        jobs.append(job.id)
    pipe.sadd("rq:queues", queue.key)
    pipe.execute()
    return jobs


def seconds_of(pid):
    """Processor time."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_foreign_jobs_are_left_and_ours_are_found_behind_them(make_stack, connection, queue):
    foreign = enqueue_many(queue, FOREIGN, 5000, 1, 2)
    ours = enqueue_many(queue, ECHO, 50, "x")
    stack = start(make_stack, connection)
    finished(connection, ours)
    assert queue.job_ids == foreign  # all of them, in their order, as they were
    assert {connection.hget("rq:job:" + each, "status") for each in foreign[::500]} == {b"queued"}
    # Later ones, too, at either end, and soon.
    for at_front in (False, True, False):
        began = time.monotonic()
        job = queue.enqueue(ECHO, 1, at_front=at_front)
        finished(connection, [job.id])
        assert time.monotonic() - began < 5
    assert queue.job_ids == foreign
    assert connection.zcard("rq:failed:default") == 0
    assert "died" not in stack.log_text()


def test_waiting_beside_foreign_jobs_is_calm(make_stack, connection, queue):
    enqueue_many(queue, FOREIGN, 5000, 1, 2)
    stack = start(make_stack, connection)
    [pid] = stack.children("consumer")
    time.sleep(3)  # the first look
    connection.execute_command("CONFIG", "RESETSTAT")
    before = seconds_of(pid)
    time.sleep(3)
    used = seconds_of(pid) - before
    stats = {name: row["calls"] for name, row in connection.info("commandstats").items()}
    assert stats["cmdstat_evalsha"] <= 100, stats  # polls: ten a second
    assert stats.get("cmdstat_lrange", 0) <= 40, stats  # a look through all of it: every 5 s
    assert stats.get("cmdstat_hmget", 0) <= 400, stats  # nobody reads 5,000 jobs again
    assert used < 1.5, used  # of 3 s, with sanitizers


def test_both_kinds_of_worker_share_a_queue(make_stack, connection, queue, redis_server, folder):
    start(make_stack, connection, consumers=2)
    python = python_worker(redis_server, folder, burst=False)
    try:
        wait_until(lambda: len(Worker.all(connection=connection)) == 3, 15, "the Python worker registers")
        ids = []
        for _ in range(20):
            ids += enqueue_many(queue, FOREIGN, 10, 20, 22) + enqueue_many(queue, ECHO, 10, 42)
        finished(connection, ids, 60)
        jobs = Job.fetch_many(ids, connection=connection)
        assert {job.result for job in jobs} == {42}
        # Each kind ran its own, once.
        by_python = {job.func_name for job in jobs if job.worker_name == python_name(connection, python.pid)}
        by_us = {job.func_name for job in jobs if job.worker_name != python_name(connection, python.pid)}
        assert by_python == {FOREIGN} and by_us == {ECHO}
        assert all(connection.xlen("rq:results:" + each) == 1 for each in ids)
        assert queue.job_ids == [] and connection.zcard("rq:wip:default") == 0
    finally:
        python.terminate()
        python.wait(30)


def python_name(connection, pid):
    [name] = [worker.name for worker in Worker.all(connection=connection) if worker.pid == pid]
    return name


def test_what_counts_as_foreign(make_stack, connection, queue):
    """All that we cannot read or do not know stays; what we know, but wrongly called, fails."""
    left = [queue.enqueue(FOREIGN, 1, 2),
            queue.enqueue("run", job_id="method"),
            queue.enqueue("x" * 512, 1),
            queue.enqueue(FOREIGN, "y" * 200000),
            Queue("default", connection=connection, serializer=JSONSerializer).enqueue(FOREIGN, 1, 2)]
    for number, data in enumerate([b"\x00garbage", b"", b"x" * 100000]):
        job = queue.enqueue(FOREIGN, job_id=f"odd{number}")
        connection.hset("rq:job:" + job.id, "data", data)
        left += [job] if data else []
    mine = [queue.enqueue(ECHO, "z" * 300000), queue.enqueue(ECHO, 2),
            Queue("default", connection=connection, serializer=JSONSerializer).enqueue(ECHO, 3)]
    wrong = queue.enqueue(ECHO, 1, 2, 3)
    canceled = queue.enqueue(FOREIGN, 1)
    connection.hset("rq:job:" + canceled.id, "status", "canceled")  # and its id stays behind
    start(make_stack, connection)
    finished(connection, [job.id for job in mine])
    wait_until(lambda: connection.hget("rq:job:" + wrong.id, "status") == b"failed", 10, "it fails")
    wait_until(lambda: queue.job_ids == [job.id for job in left], 10,
               f"what is left: {queue.job_ids}")


def test_priorities_hold_among_such_queues(make_stack, connection):
    """high and default leave, low does not; foreign ones stand in between."""
    names = ["low", "default", "high"]
    queues = {name: Queue(name, connection=connection) for name in names}
    foreign = [queues[name].enqueue(FOREIGN, 1, 2).id for name in ("default", "high") for _ in range(40)]
    ours = [each for name in names for each in enqueue_many(queues[name], ECHO, 40, 1)]
    start(make_stack, connection)
    finished(connection, ours)
    order = [job.origin for job in sorted(Job.fetch_many(ours, connection=connection),
                                          key=lambda job: job.started_at)]
    assert order == ["high"] * 40 + ["default"] * 40 + ["low"] * 40
    assert sorted(queues["default"].job_ids + queues["high"].job_ids) == sorted(foreign)
    # In the queue that fails unknown jobs, they fail.
    job = queues["low"].enqueue(FOREIGN, 1, 2)
    wait_until(lambda: job.get_status() == "failed", 10, "it fails")


def test_a_burst_ends_beside_foreign_jobs(make_stack, connection, queue):
    foreign = enqueue_many(queue, FOREIGN, 3000, 1, 2)
    ours = enqueue_many(queue, ECHO, 20, 1)
    stack = make_stack(jobs=JOBS, pool="burst = true;", consumers=2)
    finished(connection, ours)
    wait_until(lambda: not stack.children("consumer"), 30, "the consumers have gone")
    assert queue.job_ids == foreign


def test_several_consumers_take_each_job_once(make_stack, connection, queue):
    foreign = enqueue_many(queue, FOREIGN, 300, 1, 2)
    ours = []
    stack = start(make_stack, connection, consumers=3)
    for _ in range(10):
        ours += enqueue_many(queue, ECHO, 60, 1)
        time.sleep(0.05)
    finished(connection, ours)
    assert all(connection.xlen("rq:results:" + each) == 1 for each in ours)
    assert len({connection.hget("rq:job:" + each, "worker_name") for each in ours}) == 3
    assert queue.job_ids == foreign
    assert "somebody else" not in stack.log_text()
