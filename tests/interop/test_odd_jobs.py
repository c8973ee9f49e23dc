"""Jobs as no producer should write them, and books that others have damaged: the consumers go
on, and RQ reads what they leave."""

import os
import tempfile
import time
import uuid

import pytest

from services import Redis, wait_until
from stack import Stack
from test_transitions import ECHO, becomes, registries_of, write_job

rq = pytest.importorskip("rq")
from rq import Queue  # noqa: E402
from rq.job import Job  # noqa: E402

JOBS = ("test_functions = true; heartbeat = 1; "
        'queues: { low: { unknown = "leave"; }; };')
SANITIZERS = ("AddressSanitizer", "runtime error")


@pytest.fixture(scope="module")
def server(session_folder, postgres, template):
    """Three queues, the last one shared with Python workers."""
    folder = tempfile.mkdtemp(dir=session_folder)
    os.chmod(folder, 0o755)
    redis_server = Redis(os.path.join(folder, "redis"))
    stack = Stack(tempfile.mkdtemp(dir=folder), postgres, redis_server, template, jobs=JOBS, workers=1)
    stack.start()
    yield stack
    stack.stop()
    text = stack.log_text()
    assert not [word for word in SANITIZERS if word in text], text[-8000:]
    redis_server.stop()


@pytest.fixture
def connection(server):
    return server.redis


@pytest.fixture
def queue(connection):
    return Queue("default", connection=connection)


def strange_key(connection):
    """A job's id whose key is no hash."""
    job_id = "strange-" + uuid.uuid4().hex
    connection.set("rq:job:" + job_id, "not a hash")
    return job_id


@pytest.mark.parametrize("name", ["default", "low"])
def test_an_id_whose_key_is_no_job_holds_up_nobody(server, connection, name):
    strange = strange_key(connection)
    pipe = connection.pipeline()
    pipe.rpush("rq:queue:" + name, strange)
    ours = write_job(pipe, ECHO, (1,), queue=name)
    pipe.execute()
    becomes(connection, ours, "finished")
    assert connection.get("rq:job:" + strange) == b"not a hash"
    assert "cannot be used" not in server.log_text()


def test_such_an_id_in_the_schedule_holds_up_nobody(server, connection, queue):
    strange, now = strange_key(connection), int(time.time())
    ours = write_job(connection, ECHO, (1,), push=False, status="scheduled")
    connection.zadd("rq:scheduled:default", {strange: now - 10, ours: now - 5})
    becomes(connection, ours, "finished")


def test_a_dependent_that_is_no_job_holds_up_nobody(connection, queue):
    strange = strange_key(connection)
    first = write_job(connection, ECHO, (1,), push=False)
    second = write_job(connection, ECHO, (2,), push=False, status="deferred", dependency_ids=f'["{first}"]')
    connection.sadd(f"rq:job:{first}:dependents", strange, second)
    connection.sadd(f"rq:job::{second}:dependencies", first)
    connection.zadd("rq:deferred:default", {second: int(time.time())})
    queue.push_job_id(first)
    becomes(connection, second, "finished")
    assert registries_of(queue, first) == ["finished"]
    assert 0 < connection.ttl("rq:job:" + first) <= 500


def test_numbers_beyond_reason_end_the_job_all_the_same(server, connection, queue):
    cases = [(function, field, number) for function in (ECHO, "forkmark.test.fail")
             for field in ("result_ttl", "failure_ttl", "timeout", "ttl")
             for number in ("9" * 15, "9" * 18, "9" * 25, "-" + "9" * 25, "nan", "inf", "many", "")]
    jobs = {write_job(connection, function, ("x",), **{field: number}): function
            for function, field, number in cases}
    for job_id, function in jobs.items():
        becomes(connection, job_id, "finished" if function == ECHO else "failed")
        assert registries_of(queue, job_id) == ["finished" if function == ECHO else "failed"]
    assert "refused the script" not in server.log_text()
    assert "died" not in server.log_text()


@pytest.mark.parametrize("field", ["retry_intervals", "repeat_intervals"])
def test_an_interval_beyond_reason_is_a_long_wait(connection, queue, field):
    more = {"retry_intervals": {"retries_left": "1"}, "repeat_intervals": {"repeats_left": "1"}}[field]
    function = "forkmark.test.fail" if field == "retry_intervals" else ECHO
    job_id = write_job(connection, function, ("x",), **{field: "[1e300]"}, **more)
    becomes(connection, job_id, "scheduled")
    assert connection.zscore("rq:scheduled:default", job_id) > time.time() + 86400


@pytest.mark.parametrize("name", ["default", "low"])
def test_any_text_is_an_id(connection, name):
    ids = ["a,b", ",a", "a:b " + uuid.uuid4().hex, "\u00e4\u20ac", 'quo"te', "new\nline", "x" * 512]
    ids = [job_id + uuid.uuid4().hex[:4] if len(job_id) < 500 else job_id for job_id in ids]
    for job_id in ids:
        write_job(connection, ECHO, (1,), job_id=job_id, queue=name)
    for job_id in ids:
        becomes(connection, job_id, "finished")
    connection.delete(*["rq:job:" + job_id for job_id in ids])


def test_an_error_is_text_that_python_reads(connection, queue):
    job = queue.enqueue(ECHO, **{"x" + "\u00e4" * 40: 1})
    becomes(connection, job.id, "failed")
    assert "unexpected keyword argument 'x\u00e4" in Job.fetch(job.id, connection=connection).exc_info


def test_a_record_lost_beside_a_running_job_names_it_again(connection, queue):
    wait_until(lambda: connection.scard("rq:workers") == 1, 10, "the consumer registers")
    [record] = connection.smembers("rq:workers")
    job_id = write_job(connection, "forkmark.test.sleep", (4,))
    becomes(connection, job_id, "started")
    connection.delete(record)
    wait_until(lambda: connection.hget(record, "current_job") == job_id.encode(), 10, "it is named again")
    assert connection.hget(record, "state") == b"busy" and 0 < connection.ttl(record) <= 480
    becomes(connection, job_id, "finished")
    wait_until(lambda: connection.hget(record, "state") == b"idle", 10, "the consumer is idle")
    assert connection.hget(record, "current_job") is None
    assert connection.hget(record, "successful_job_count") == b"1"


def test_who_is_faster_than_redis_answer_stops_a_job_too(connection, queue):
    """Redis shows that the worker runs the job before the worker has heard of it."""
    [record] = connection.smembers("rq:workers")
    channel = "rq:pubsub:" + record.decode().split(":")[2]
    stopped, other = uuid.uuid4().hex, uuid.uuid4().hex
    for told, wanted in ((stopped, "stopped"), (other, "finished")):
        assert connection.publish(channel, '{"command": "stop-job", "job_id": "%s"}' % told) == 1
        job_id = write_job(connection, "forkmark.test.sleep", (1,), job_id=stopped if told == stopped else None)
        becomes(connection, job_id, wanted)
    assert registries_of(queue, stopped) == ["failed"]
    again = write_job(connection, "forkmark.test.sleep", (1,), job_id=stopped)  # it was for once
    becomes(connection, again, "finished")
