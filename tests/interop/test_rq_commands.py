"""RQ's own commands and objects, of both versions, on a Redis that only forkmark wrote to."""

import json
import re
import subprocess
import sys

import pytest

import rq_versions
from commands import Jobs
from services import wait_until

ECHO, FAIL, SLEEP = "forkmark.test.echo", "forkmark.test.fail", "forkmark.test.sleep"
J1 = "services.bookmark_processing_service.process_bookmark_content_task"

# What RQ's objects say, as JSON. The value of a job is read by its own serializer.
LOOK = """
import json, sys
from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from rq.registry import (CanceledJobRegistry, DeferredJobRegistry, FailedJobRegistry,
                         FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry)
connection = Redis.from_url(sys.argv[1])
registries = {"canceled": CanceledJobRegistry, "deferred": DeferredJobRegistry,
              "failed": FailedJobRegistry, "finished": FinishedJobRegistry,
              "scheduled": ScheduledJobRegistry, "started": StartedJobRegistry}
def one(id):
    job = Job.fetch(id, connection=connection)
    result = job.latest_result()
    return {"status": job.get_status(), "function": job.func_name, "args": list(job.args),
            "kwargs": job.kwargs, "origin": job.origin, "timeout": job.timeout,
            "description": job.description, "retries_left": job.retries_left,
            "retry_intervals": job.retry_intervals, "dependencies": job.dependency_ids,
            "created": job.created_at.isoformat(), "call": job.get_call_string(),
            "meta": job.meta, "position": job.get_position(), "ttl": job.ttl,
            "result": job.return_value() if hasattr(job, "return_value") else job.result,
            "results": len(job.results()), "type": result and result.type.value,
            "error": result and result.exc_string}
queues = Queue.all(connection=connection)
print(json.dumps({
    "workers": [{"name": w.name, "state": w.get_state(), "queues": w.queue_names(),
                 "pid": w.pid, "host": w.hostname, "job": w.get_current_job_id(),
                 "done": w.successful_job_count, "failed": w.failed_job_count,
                 "worked": w.total_working_time, "birth": w.birth_date.isoformat(),
                 "seen": w.last_heartbeat.isoformat(), "python": w.python_version}
                for w in Worker.all(connection=connection)],
    "queues": {q.name: q.job_ids for q in queues},
    "registries": {q.name: {name: kind(queue=q).get_job_ids() for name, kind in registries.items()}
                   for q in queues},
    "jobs": {id: one(id) for id in sys.argv[2:]}}, default=bytes.decode))
"""


class Rq:
    def __init__(self, folder, url):
        self.environment, self.url = rq_versions.environment(folder), url

    def run(self, *words):
        done = subprocess.run([sys.executable, "-W", "ignore", *words], env=self.environment,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done.stdout

    def command(self, name, *words):
        """As `rq NAME ...`, which Debian's package puts into /usr/bin."""
        return self.run("-m", "rq.cli", name, "-u", self.url, *words)

    def look(self, *ids):
        return json.loads(self.run("-c", LOOK, self.url, *ids))


@pytest.fixture(params=rq_versions.RELEASES)
def rq(request, make_stack):
    try:
        folder = rq_versions.folder_of(request.param)
    except rq_versions.Missing as reason:
        pytest.skip(f"RQ {request.param} is not to be had: {reason}")
    stack = make_stack(jobs="test_functions = true; heartbeat = 2;", consumers=2, workers=1,
                       server="graceful_timeout = 2;")
    rq = Rq(folder, stack.redis_server.url())
    rq.stack, rq.jobs = stack, Jobs(stack)
    wait_until(lambda: stack.redis.scard("rq:workers") == 2, 10, "consumers register")
    return rq


def has_status(rq, name, status):
    wait_until(lambda: rq.stack.redis.hget(f"rq:job:{name}", "status") == status.encode(), 10,
               f"{name} is {status}")


@pytest.fixture
def filled(rq):
    """A job in every state, and a bookmark's."""
    jobs = rq.jobs
    jobs.enqueue(ECHO, "[1, null]", "--id", "done")
    jobs.enqueue(FAIL, "msg=no such page: \u00e9", "--id", "bad")
    has_status(rq, "done", "finished")
    has_status(rq, "bad", "failed")
    jobs.enqueue(SLEEP, "60", "--id", "runs", "--timeout", "300", "--description", "a nap")
    has_status(rq, "runs", "started")
    jobs.enqueue(ECHO, "--id", "then", "--after", "runs")
    jobs.enqueue(ECHO, "--id", "soon", "--in", "3600", "--at-front")
    jobs.enqueue(ECHO, "--id", "waits", "--queue", "nobody", "--retries", "3")
    jobs.enqueue(ECHO, "--id", "first", "--queue", "nobody", "--at-front", "--unique", "key")
    jobs.enqueue(ECHO, "--id", "gone", "--queue", "nobody")
    jobs.text("cancel", "gone")
    lines = "\n".join(json.dumps({"function": ECHO, "args": [i], "id": f"line-{i}",
                                  "queue": "many"}) for i in range(1000))
    jobs.text("enqueue", "--lines", input=lines)
    client = rq.stack.client().sign_up()
    rq.bookmark = client.save("http://127.0.0.1:9/page")
    [rq.bookmark_job] = wait_until(
        lambda: [key.decode()[len("rq:job:"):] for key in
                 rq.stack.redis.keys("rq:job:bookmark_process_*") if b":dep" not in key], 5,
        "the bookmark's job is in Redis")
    return rq


STATES = {"done": "finished", "bad": "failed", "runs": "started", "then": "deferred",
          "soon": "scheduled", "waits": "queued", "first": "queued", "gone": "canceled",
          "line-0": "queued", "line-999": "queued"}


def test_jobs_workers_and_registries_are_rqs(filled):
    seen = filled.look(*STATES, filled.bookmark_job)
    jobs = seen["jobs"]
    assert {name: jobs[name]["status"] for name in STATES} == STATES
    assert jobs["done"]["args"] == [[1, None]] and jobs["done"]["kwargs"] == {}
    assert jobs["bad"]["args"] == [] and jobs["bad"]["kwargs"] == {"msg": "no such page: \u00e9"}
    assert jobs["done"]["results"] == 1 and jobs["done"]["type"] == 1
    assert jobs["bad"]["type"] == 2 and "no such page" in jobs["bad"]["error"]
    assert jobs["runs"]["timeout"] == 300 and jobs["runs"]["description"] == "a nap"
    assert jobs["then"]["dependencies"] == ["rq:job:runs"]
    assert jobs["waits"]["retries_left"] == 3
    assert jobs["waits"]["description"] == jobs["waits"]["call"] == "forkmark.test.echo()"
    assert [jobs[name]["position"] for name in ("first", "waits", "line-0", "line-999")] == \
        [0, 1, 0, 999]
    assert jobs["line-999"]["args"] == [999]
    bookmark = jobs[filled.bookmark_job]
    assert bookmark["function"] == J1 and bookmark["args"][0] == filled.bookmark
    assert bookmark["retry_intervals"] == [60, 300] and "request_id" in bookmark["meta"]

    assert seen["queues"]["nobody"] == ["first", "waits"]
    assert seen["queues"]["many"] == [f"line-{i}" for i in range(1000)]
    registries = seen["registries"]
    assert registries["nobody"]["canceled"] == ["gone"]
    # RQ 2 shows "id" of "id:execution" there; ours is the id in both.
    for name in ("done", "bad", "runs", "then", "soon"):
        assert name in registries["default"][STATES[name]], name

    assert {worker["pid"] for worker in seen["workers"]} == \
        set(filled.stack.children("consumer"))
    assert {worker["job"] for worker in seen["workers"]} >= {"runs"}
    for worker in seen["workers"]:
        assert worker["state"] in ("busy", "idle") and worker["host"]
        assert worker["queues"] == ["high", "default", "low"]
        assert worker["python"].startswith("forkmark ")
    assert sum(worker["failed"] for worker in seen["workers"]) >= 1


def test_rq_info_shows_it(filled):
    shown = filled.command("info")
    assert re.search(r"^nobody +\|\S* 2", shown, re.M), shown
    assert re.search(r"^many +\|\S* 1000", shown, re.M), shown
    assert "2 workers, " in shown and "high, default, low" in shown
    raw = filled.command("info", "--raw")
    assert re.search(r"^queue nobody 2", raw, re.M), raw
    names = {worker["name"] for worker in filled.look()["workers"]}
    assert names and all(name in raw and name in shown for name in names)
    by_queue = filled.command("info", "--by-queue")
    assert re.search(r"^default: +\S+", by_queue, re.M), by_queue
    # Looking runs RQ's own cleaning: it must not have changed anything.
    assert {name: filled.look(name)["jobs"][name]["status"] for name in ("runs", "then", "soon")} \
        == {"runs": "started", "then": "deferred", "soon": "scheduled"}


def test_rq_requeues_what_failed(filled):
    redis = filled.stack.redis
    filled.command("requeue", "--queue", "default", "bad")
    wait_until(lambda: redis.xlen("rq:results:bad") == 2, 10, "it runs and fails again")
    filled.jobs.text("stop", "runs")
    filled.command("requeue", "--queue", "default", "--all")
    wait_until(lambda: redis.xlen("rq:results:bad") == 3, 10, "and again")
    has_status(filled, "runs", "started")
    assert filled.look("bad")["jobs"]["bad"]["results"] == 3


def test_rq_suspends_and_resumes(filled):
    redis = filled.stack.redis

    def states():
        return {worker["state"] for worker in filled.look()["workers"]}
    filled.command("suspend")
    filled.jobs.enqueue(ECHO, "--id", "held")
    wait_until(lambda: "suspended" in states(), 15, "the idle consumer is suspended")
    assert redis.hget("rq:job:held", "status") == b"queued"
    assert filled.jobs.text("info").startswith("SUSPENDED")
    filled.command("resume")
    has_status(filled, "held", "finished")
    assert "suspended" not in states()
    filled.command("suspend", "--duration", "1")
    filled.jobs.enqueue(ECHO, "--id", "again")
    has_status(filled, "again", "finished")


def test_rq_empties_a_queue(filled):
    filled.command("empty", "many")
    assert "many" not in filled.look()["queues"] or filled.look()["queues"]["many"] == []
    assert not filled.stack.redis.exists("rq:job:line-0")
