"""Jobs by the clock: every due time is served exactly once, however many servers there are."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from services import wait_until
from stack import BINARY

rq = pytest.importorskip("rq")
from rq import Queue  # noqa: E402
from rq.job import Job  # noqa: E402

JOBS = "test_functions = true; heartbeat = 1;"
MINUTELY = """cron: { tick: { schedule = "* * * * *"; function = "forkmark.test.echo"; args = "[[1, true]]";
    timeout = 33; result_ttl = 7200; failure_ttl = 7300; retries = 2; retry_intervals = [ 5, 9 ]; };
    spring: { schedule = "30 2 * * *"; zone = "Europe/Berlin"; function = "forkmark.test.echo"; queue = "low"; };
    off: { schedule = "* * * * *"; function = "forkmark.test.echo"; enabled = false; }; };"""


def cron_jobs(connection, name):
    return sorted(key.decode().removeprefix("rq:job:") for key in connection.keys(f"rq:job:cron_{name}_*")
                  if re.fullmatch(rb"rq:job:cron_\w+_\d+", key))


def due_of(job_id):
    return int(job_id.rsplit("_", 1)[1])


def cron_listing(stack, *arguments):
    done = subprocess.run([BINARY, "jobs", "--config", stack.config, "cron", *arguments],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def knows(stack, name, key="fm:cron:"):
    wait_until(lambda: stack.redis.hexists(key + name, "last_due"), 15, f"{name} is known")


def let_go_back(connection, name, seconds):
    """As if the entry had been served last so long ago."""
    connection.hset("fm:cron:" + name, "last_due", int(time.time()) - seconds)


def test_servers_that_try_at_once_serve_a_time_once(make_stack):
    first = make_stack(jobs=JOBS + MINUTELY, consumers=1, workers=1)
    second = make_stack(jobs=JOBS + MINUTELY, consumers=1, workers=1)
    connection = first.redis
    knows(first, "tick")
    assert connection.keys("rq:job:cron_*") == [], "nothing is due that was due before it was known"
    for round_ in range(3):
        before = cron_jobs(connection, "tick")
        old = [child for stack in (first, second) for child in stack.children("scheduler")]
        connection.delete(*("rq:job:" + each for each in before), "none")
        let_go_back(connection, "tick", 120)
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: cron_jobs(connection, "tick"), 20, "it is served")
        wait_until(lambda: all(stack.children("scheduler") and not set(stack.children("scheduler")) & set(old)
                               for stack in (first, second)), 20, "both have new schedulers")
        time.sleep(1)
    ids = cron_jobs(connection, "tick")
    job = Job.fetch(ids[0], connection=connection)
    wait_until(lambda: job.get_status() == "finished", 10, "it runs")
    job.refresh()
    assert job.args == ([1, True],) and job.timeout == 33 and job.origin == "default"
    assert job.result_ttl == 7200 and job.failure_ttl == 7300
    assert job.retries_left == 2 and job.retry_intervals == [5, 9]
    logs = first.log_text() + second.log_text()
    served = re.findall(r"cron tick: job (cron_tick_\d+) is in queue default", logs)
    # A round, or a minute that came meanwhile, is one line: of one server.
    assert 3 <= len(served) <= 5 and len(ids) <= 2, served
    for each in ids:
        assert connection.xlen("rq:results:" + each) == served.count(each)
    assert cron_jobs(connection, "off") == []
    listing = cron_listing(first)
    assert re.search(r"^tick +\* \* \* \* \* +UTC +\d{4}-\d\d-\d\d \d\d:\d\d UTC +\d{4}-\d\d-\d\d \d\d:\d\d UTC +in "
                     r"[\d.]+ s +default +forkmark.test.echo$", listing, re.M), listing
    assert re.search(r"^spring .*Europe/Berlin +- +\d{4}-\d\d-\d\d 02:30 CES?T", listing, re.M), listing
    rows = {row["name"]: row for row in json.loads(cron_listing(second, "--json"))}
    assert rows["tick"]["last_job"] == ids[-1] and rows["tick"]["args"] == [[1, True]]
    assert rows["off"]["next_run"] is None and not rows["off"]["enabled"]


def test_a_missed_time_is_made_up_for_once_or_passed_over(make_stack):
    entries = """cron: { late: { schedule = "* * * * *"; function = "forkmark.test.echo"; result_ttl = 600; };
        hourly: { schedule = "%d * * * *"; function = "forkmark.test.echo"; result_ttl = 0; };
        never: { schedule = "%d * * * *"; function = "forkmark.test.echo"; catch_up = 10; }; };"""
    # Due some minutes ago, so that it is far from being due again.
    minute = time.gmtime(time.time() - 300).tm_min
    stack = make_stack(jobs=JOBS + entries % (minute, minute), consumers=1, workers=1)
    connection = stack.redis
    for name in ("late", "hourly", "never"):
        knows(stack, name)
        let_go_back(connection, name, 3 * 3600)
    stack.restart_scheduler()
    # Three hours of minutes and three hours: one job each, for the latest.
    wait_until(lambda: cron_jobs(connection, "late"), 15, "it is made up for")
    wait_until(lambda: connection.hget("fm:cron:hourly", "last_job"), 15, "it is made up for")
    wait_until(lambda: connection.hget("fm:cron:never", "last_missed"), 15, "it is passed over")
    due = due_of(connection.hget("fm:cron:hourly", "last_job").decode())
    assert time.time() - 420 < due < time.time() - 240
    assert cron_jobs(connection, "never") == []
    assert not connection.hexists("fm:cron:never", "last_job")
    assert "cron never: what was due at" in stack.log_text()
    assert "passed over" in cron_listing(stack)
    # Served: the next scheduler does it no second time, though nothing of the job is left.
    wait_until(lambda: not cron_jobs(connection, "hourly"), 15, "its job ran and is gone")
    before = stack.log_text().count("cron hourly: job")
    stack.restart_scheduler(signal.SIGKILL)
    time.sleep(2)
    assert stack.log_text().count("cron hourly: job") == before == 1
    assert len(cron_jobs(connection, "late")) <= 2  # a new minute may have come


def test_what_an_entry_leaves_open_is_its_functions(make_stack):
    entries = """functions: { slow: { name = "team.slow"; command = [ "/bin/false" ]; timeout = 44; retries = 3;
        retry_intervals = [ "1h", "2h" ]; }; };
        cron: { open: { schedule = "* * * * *"; function = "team.slow"; };
        own: { schedule = "* * * * *"; function = "team.slow"; timeout = 55; retries = 1; };
        never: { schedule = "* * * * *"; function = "team.slow"; retries = 0; };
        sooner: { schedule = "* * * * *"; function = "team.slow"; retry_intervals = [ 7 ]; };
        python: { schedule = "* * * * *"; function = "somebody.elses"; queue = "python"; }; };"""
    stack = make_stack(jobs=JOBS + entries, consumers=0, workers=1)
    for name in ("open", "own", "never", "sooner", "python"):
        knows(stack, name)
        let_go_back(stack.redis, name, 120)
    stack.restart_scheduler()
    expected = {"open": (44, 3, [3600, 7200]), "own": (55, 1, None), "never": (44, None, None),
                "sooner": (44, 3, [7]), "python": (180, None, None)}
    for name, fields in expected.items():
        wait_until(lambda name=name: cron_jobs(stack.redis, name), 15, f"{name} is served")
        job = Job.fetch(cron_jobs(stack.redis, name)[0], connection=stack.redis)
        assert (job.timeout, job.retries_left, job.retry_intervals) == fields


def test_a_reload_takes_new_entries(make_stack):
    stack = make_stack(jobs=JOBS, consumers=1, workers=1)
    assert cron_listing(stack) == "No entries: jobs.cron names none.\n"
    consumers = set(stack.children("consumer"))
    stack.reload(jobs=JOBS + MINUTELY)
    knows(stack, "tick")
    assert set(stack.children("consumer")) == consumers, "only the scheduler is replaced"
    # A broken entry is refused, and what was stays.
    stack.reload(jobs=JOBS + MINUTELY.replace("* * * * *", "61 * * * *", 1))
    wait_until(lambda: "the minute field `61`: 61 is not between 0 and 59" in stack.log_text(), 15, "it is refused")
    assert re.search(r"forkmark.conf:\d+: `jobs.cron.tick.schedule` is no schedule", stack.log_text())
    assert stack.master.is_running() and stack.children("scheduler")


def test_a_queue_that_is_no_list_holds_up_no_other(make_stack):
    entries = """cron: { a: { schedule = "* * * * *"; function = "forkmark.test.echo"; queue = "odd"; };
        b: { schedule = "* * * * *"; function = "forkmark.test.echo"; result_ttl = 600; }; };"""
    stack = make_stack(jobs=JOBS + entries, consumers=1, workers=1)
    connection = stack.redis
    connection.set("rq:queue:odd", "text")
    for name in ("a", "b"):
        knows(stack, name)
        let_go_back(connection, name, 120)
    stack.restart_scheduler()
    wait_until(lambda: cron_jobs(connection, "b"), 15, "b is served")
    assert cron_jobs(connection, "a") == []
    # Once it can be served, it is.
    connection.delete("rq:queue:odd")
    wait_until(lambda: Queue("odd", connection=connection).count == 1, 15, "a is served")
