"""`forkmark jobs work`: consumers in the foreground, without a server."""

import os
import signal
import subprocess

import pytest

from services import SANITIZER_WORDS, Process, wait_until
from stack import BINARY

rq = pytest.importorskip("rq")
from rq import Queue, Worker  # noqa: E402

ECHO, SLEEP = "forkmark.test.echo", "forkmark.test.sleep"


@pytest.fixture
def connection(redis_server):
    return redis_server.connect()


@pytest.fixture
def work(redis_server, folder):
    """work("--burst", ...) starts one; its log is read at the end."""
    processes = []

    def start(*arguments, **variables):
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "REDIS_URL": redis_server.url(),
                       "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", **variables}
        environment.update({name: os.environ[name] for name in os.environ if name.endswith("SAN_OPTIONS")})
        log = os.path.join(folder, f"work{len(processes)}.log")
        processes.append(Process([BINARY, "jobs", "--set", "jobs.test_functions=true", "work", *arguments],
                                 log, env=environment))
        return processes[-1]

    yield start
    for process in processes:
        process.end()
        assert not [word for word in SANITIZER_WORDS if word in process.log_text()], process.log_text()


def children(process):
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True,
                             text=True, check=False).stdout
    return [int(pid) for pid in listing.split()]


def test_a_burst_ends_with_the_last_job(work, connection):
    jobs = [Queue(name, connection=connection).enqueue(ECHO, number)
            for name in ("one", "two") for number in range(10)]
    other = Queue("three", connection=connection).enqueue(ECHO, 1)
    process = work("--burst", "--consumers", "2", "one", "--queue", "two")
    assert process.wait(30) == 0, process.log_text()
    assert {job.get_status() for job in jobs} == {"finished"}
    assert other.get_status() == "queued"
    assert Worker.all(connection=connection) == []
    assert "died" not in process.log_text()


def test_a_burst_goes_on_behind_thousands_of_ids_whose_jobs_are_gone(work, connection):
    queue = Queue("one", connection=connection)
    connection.rpush(queue.key, *[f"gone-{number}" for number in range(3500)])
    job, other = queue.enqueue(ECHO, 1), Queue("two", connection=connection).enqueue(ECHO, 2)
    process = work("--burst", "one", "two")
    assert process.wait(30) == 0, process.log_text()
    assert {job.get_status(), other.get_status()} == {"finished"}
    job.refresh()
    other.refresh()
    assert job.started_at < other.started_at  # in the queues' order


def test_it_is_supervised_and_stops_gracefully(work, connection):
    queue = Queue("default", connection=connection)
    process = work()
    wait_until(lambda: Worker.all(connection=connection), 15, "it registers")
    assert [each.name for each in Worker.all(connection=connection)[0].queues] == ["high", "default", "low"]
    job = queue.enqueue(SLEEP, 2)
    wait_until(lambda: job.get_status() == "started", 10, "the job starts")
    [pid] = children(process)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: children(process) not in ([], [pid]), 10, "another one takes its place")
    wait_until(lambda: connection.hget("rq:job:" + job.id, "fm_deliveries") == b"1"
               and job.get_status() == "started", 10, "and its job")
    process.signal(signal.SIGHUP)  # nothing to reload
    process.signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert job.get_status() == "finished"
    assert Worker.all(connection=connection) == []


def test_max_jobs_and_idle_time(work, connection):
    queue = Queue("default", connection=connection)
    jobs = [queue.enqueue(ECHO, number) for number in range(5)]
    process = work("--max-jobs", "2", "--max-idle-time", "1", "default")
    assert process.wait(30) == 0
    assert {job.get_status() for job in jobs} == {"finished"}
    assert len({connection.hget("rq:job:" + job.id, "worker_name") for job in jobs}) == 3


@pytest.mark.parametrize("arguments, words", [
    (["--frob"], "no option --frob"),
    (["--consumers"], "a value is missing"),
    (["--max-jobs", "many"], "must be a whole number"),
    (["--strategy", "fair"], "must be one of: default, round_robin, random"),
    (["a,b:intermediate"], "would collide"),
])
def test_what_is_wrong_is_said(work, arguments, words):
    process = work(*arguments)
    assert process.wait(30) in (1, 2)
    assert words in process.log_text()
