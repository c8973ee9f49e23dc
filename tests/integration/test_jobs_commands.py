"""`forkmark jobs`: what an operator sees and does, on a real Redis with every state."""

import json
import os
import signal
import subprocess
import tempfile
import time

import pytest

from commands import Jobs, environment, table
from services import SANITIZER_WORDS, Redis, wait_until
from stack import Stack

ECHO, FAIL, SLEEP = "forkmark.test.echo", "forkmark.test.fail", "forkmark.test.sleep"
JOBS = "test_functions = true; heartbeat = 2;"


@pytest.fixture
def idle(make_stack):
    """Redis, and nobody who works on it."""
    stack = make_stack(start=False, jobs=JOBS)
    stack.write_config()
    return Jobs(stack)


OPTIONS = {"jobs": JOBS, "consumers": 2, "workers": 1, "server": "graceful_timeout = 2;"}


def fill(stack):
    """Jobs in every state."""
    jobs = Jobs(stack)
    wait_until(lambda: stack.redis.scard("rq:workers") == 2, 10, "consumers register")
    jobs.enqueue(ECHO, "7", "--id", "done")
    jobs.enqueue(FAIL, "no such page", "--id", "bad")
    jobs.enqueue(SLEEP, "60", "--id", "runs", "--timeout", "300")
    jobs.enqueue(ECHO, "--id", "then", "--after", "runs")
    jobs.enqueue(ECHO, "--id", "soon", "--in", "3600")
    jobs.enqueue(ECHO, "--id", "waits", "--queue", "nobody")
    jobs.enqueue(ECHO, "--id", "gone", "--queue", "nobody")
    jobs.text("cancel", "gone")
    for name, status in (("done", "finished"), ("bad", "failed"), ("runs", "started")):
        wait_until(lambda: stack.redis.hget(f"rq:job:{name}", "status") == status.encode(), 10,
                   f"{name} is {status}")
    return jobs


@pytest.fixture
def busy(make_stack):
    """Two consumers, and jobs in every state."""
    return fill(make_stack(**OPTIONS))


@pytest.fixture(scope="module")
def seen(session_folder, postgres, template):
    """The same, for those who only look."""
    folder = tempfile.mkdtemp(dir=session_folder)
    redis = Redis(os.path.join(folder, "redis"))
    stack = Stack(folder, postgres, redis, template, **OPTIONS)
    try:
        yield fill(stack.start())
    finally:
        stack.stop()
        redis.stop()
    assert not [word for word in SANITIZER_WORDS if word in stack.log_text()]


STATES = {"done": "finished", "bad": "failed", "runs": "started", "then": "deferred",
          "soon": "scheduled", "waits": "waiting", "gone": "canceled"}


def test_nothing_is_said_clearly(idle):
    assert idle.text("info") == "No queues yet.\n\nNobody works.\n"
    assert idle.text("workers") == "Nobody works.\n"
    assert idle.text("list", "--state", "failed") == "No failed jobs.\n"
    assert idle.text("requeue", "--all") == "0 jobs queued again\n"
    assert idle.text("resume") == "was not suspended\n"
    listing = idle.json("info")
    assert listing["queues"] == listing["workers"] == [] and listing["suspended"] is False
    assert listing["rates"]["done_per_minute"] is None


WRONG_CALLS = [
    ["show"], ["show", "a", "b"], ["list", "--state", "lost"], ["list", "--limit", "0"],
    ["list", "--limit", "many"], ["cancel"], ["cancel", "--limit", "3", "x"], ["empty"],
    ["empty", "--all", "q"], ["requeue"], ["enqueue"], ["enqueue", "--in", "-1", ECHO],
    ["enqueue", "--in", "5", "--after", "x", ECHO], ["enqueue", "--while-running", ECHO],
    ["enqueue", "--queue", "a,b", ECHO], ["info", "--watch", "0"], ["suspend", "0"],
    ["info", "--json=1"], ["frobnicate"]]


def test_a_wrong_call_is_told_so(idle):
    for call in WRONG_CALLS:
        done = idle.call(*call, status=2)
        assert not done.stdout and "Usage: forkmark" in done.stderr, call
    assert idle.stack.redis.dbsize() == 0


def test_what_is_not_there_is_a_failure(idle):
    for call in (["show", "x"], ["cancel", "x"], ["stop", "x"], ["requeue", "x"], ["empty", "x"],
                 ["list", "--queue", "x"], ["info", "--queue", "x"],
                 ["requeue", "--all", "--queue", "x"]):
        done = idle.call(*call, status=1)
        assert not done.stdout and "there is no" in done.stderr, call


def test_redis_away_is_a_failure(idle):
    idle.stack.redis_server.stop()
    done = idle.call("info", status=1)
    assert "Redis cannot be used" in done.stderr


def test_info_shows_every_state(seen):
    # Nothing is said of the average of less than a second.
    text = wait_until(lambda: [text for text in [seen.text("info")] if "a minute" in text], 10,
                      "the consumers are old enough")[0]
    rows = {row["queue"]: row for row in table(text, "queue")}
    assert rows["default"] == {"queue": "default", "waiting": "0", "started": "1",
                               "scheduled": "1", "deferred": "1", "failed": "1", "finished": "1",
                               "canceled": "0", "oldest": "-"}
    assert rows["nobody"]["waiting"] == rows["nobody"]["canceled"] == "1"
    assert rows["nobody"]["oldest"].endswith(" s")
    assert [rows["all"][state] for state in STATES.values()] == ["1"] * 7
    workers = table(text, "worker")
    assert sorted(row["state"] for row in workers) == ["busy", "idle"]
    assert [row["job"] for row in workers if row["state"] == "busy"] == \
        ["forkmark.test.sleep(60)"]  # its id stands before it, in the same cell
    assert "2 consumers, 1 busy; a minute: " in text and "average of their lives" in text
    assert [row["queue"] for row in table(seen.text("info", "--queue", "nobody"), "queue")] == \
        ["nobody"]


def test_info_as_json(seen):
    listing = seen.json("info")
    assert {row["name"]: row["waiting"] for row in listing["queues"]} == {"default": 0, "nobody": 1}
    assert listing["queues"][1]["oldest_seconds"] >= 0
    assert {row["state"] for row in listing["workers"]} == {"busy", "idle"}
    assert listing["workers"][0]["queues"] == ["high", "default", "low"]
    assert sum(row["done"] for row in listing["workers"]) == 1
    assert listing["rates"]["of"] == "consumers' lives"
    seen.text("suspend", "100")
    listing = seen.json("info")
    assert listing["suspended"] is True and 90 < listing["suspended_seconds"] <= 100
    assert seen.text("info").startswith("SUSPENDED for ")
    assert seen.text("resume") == "resumed\n"


def test_workers_say_where_they_are(seen):
    pids = {str(pid) for pid in seen.stack.children("consumer")}
    assert {row["pid"] for row in table(seen.text("workers"), "worker")} == pids
    assert {str(row["pid"]) for row in seen.json("workers")["workers"]} == pids
    assert seen.json("workers", "--queue", "nobody")["workers"] == []


def test_lists_show_what_one_asks(seen):
    for name, state in STATES.items():
        [row] = table(seen.text("list", "--state", state), "id")
        assert row["id"] == name
        [job] = seen.json("list", "--state", state)["jobs"]
        assert job["id"] == name and job["status"] == {"waiting": "queued"}.get(state, state)
    assert table(seen.text("list", "--state", "failed"), "id")[0]["reason"] == \
        "ValueError: no such page"
    assert table(seen.text("list", "--state", "scheduled"), "id")[0]["due"] == "in 60 min"
    assert table(seen.text("list", "--state", "started"), "id")[0]["of"] == "5 min"
    assert table(seen.text("list"), "id")[0]["call"] == "forkmark.test.echo()"


def test_show_tells_all_of_a_job(seen):
    bad = seen.text("show", "bad")
    for words in ("status         failed", "args           ('no such page',)",
                  "function       forkmark.test.fail", "ValueError: no such page",
                  "forgotten in   365 d"):
        assert words in bad
    assert "returned 7" in seen.text("show", "done")
    assert "waited for by  then" in seen.text("show", "runs")
    assert "depends on     runs (started)" in seen.text("show", "then")
    assert ", due in 60 min" in seen.text("show", "soon")
    assert "queued, number 1 of 1 in its queue" in seen.text("show", "waits")
    job = seen.json("show", "bad")
    assert job["args"] == ["no such page"] and job["kwargs"] == {}
    assert job["results"][0]["error"] == "ValueError: no such page"
    assert seen.json("show", "then")["depends_on"] == ["runs"]


def test_what_cannot_be_read_is_shown_as_such(idle):
    redis = idle.stack.redis
    redis.hset("rq:job:odd", mapping={"data": b"\x00garbage", "status": "queued", "origin": "q",
                                      "created_at": "yesterday", "description": b"\xff"})
    redis.rpush("rq:queue:q", "odd", "nothing")
    redis.sadd("rq:queues", "rq:queue:q")
    redis.xadd("rq:results:odd", {"type": "1", "return_value": "!"})
    assert "call           unreadable: " in idle.text("show", "odd")
    assert idle.json("show", "odd")["function"] is None
    rows = table(idle.text("list"), "id")
    assert [row["id"] for row in rows] == ["odd", "nothing"]
    assert rows[1]["call"] == "(its data is gone)"


def test_a_key_that_is_no_job_is_none(idle):
    redis = idle.stack.redis
    redis.set("rq:job:odd", "no hash")
    redis.sadd("rq:queues", "rq:queue:q", "rq:queue:text")
    redis.set("rq:queue:text", "no list")
    redis.rpush("rq:queue:q", "odd")
    redis.zadd("rq:failed:q", {"odd": -1})
    for call in (["show", "odd"], ["cancel", "odd"], ["stop", "odd"], ["requeue", "odd"]):
        assert "there is no" in idle.call(*call, status=1).stderr, call
    assert [row["id"] for row in table(idle.text("list"), "id")] == ["odd"]
    assert {row["queue"]: row["waiting"] for row in table(idle.text("info"), "queue")} == \
        {"q": "1", "text": "0", "all": "1"}
    assert idle.text("requeue", "--all") == "0 jobs queued again\n"


def test_no_name_moves_the_cursor(idle):
    """Control characters, turned writing, broken UTF-8: in every place a name can be."""
    odd = "a\x1b[31m\n\t\u202eb\u009b"
    redis = idle.stack.redis
    idle.enqueue(odd, odd, "--queue", odd, "--id", odd, "--description", odd)
    redis.hset("rq:worker:" + odd, mapping={
        "birth": "2026-01-01T00:00:00.000000Z", "state": odd, "queues": odd, "current_job": odd,
        "hostname": odd, "python_version": b"\xff\xfe", "last_heartbeat": odd})
    redis.sadd("rq:workers", "rq:worker:" + odd)
    for call in (["info"], ["workers"], ["list"], ["show", odd], ["cancel", odd]):
        text = idle.text(*call)
        assert not set(text) & set("\x1b\t\u202e\u009b"), call
        assert r"a\x1b[31m\n\t\u202eb\x9b" in text, call
    assert idle.json("info")["queues"][0]["name"] == odd


def test_columns_stay_in_line(idle):
    """Wide characters, long and short names."""
    for name in ("q", "a queue of a rather long name, no: without one".replace(",", ""),
                 "\u6f22\u5b57", "caf\u00e9"):
        idle.enqueue(ECHO, "--queue", name)
    lines = idle.text("info").splitlines()[:6]
    columns = [sum(2 if "\u2e80" <= c <= "\uffef" else 1 for c in line) for line in lines]
    assert len(set(columns)) == 1, lines


def test_many_jobs_are_cut(idle):
    lines = "\n".join(json.dumps({"function": ECHO, "args": [i]}) for i in range(120))
    assert idle.text("enqueue", "--lines", input=lines) == "120 of 120 jobs queued\n"
    text = idle.text("list")
    assert len(table(text, "id")) == 50 and "50 of 120; --limit shows more." in text
    assert len(idle.json("list", "--limit", "200")["jobs"]) == 120


def test_lines_are_queued_all_or_none(idle):
    good = json.dumps({"function": ECHO, "args": [1], "kwargs": {"x": 2}, "id": "one",
                       "queue": "other", "in": 60, "timeout": 5, "retries": 2, "unique": "k",
                       "description": "d", "at_front": True})
    for bad in ("{", "[]", '{"function": 1}', '{"args": []}', '{"function": "f", "what": 1}',
                '{"function": "f", "in": -1}', '{"function": "f", "queue": "a,b"}'):
        done = idle.call("enqueue", "--lines", status=1, input=f"{good}\n\n{bad}\n")
        assert "line 3: " in done.stderr
    assert idle.stack.redis.dbsize() == 0
    assert json.loads(idle.text("enqueue", "--lines", "--json", input=good)) == \
        {"id": "one", "new": True}
    job = idle.json("show", "one")
    assert (job["status"], job["queue"], job["timeout"], job["retries_left"]) == \
        ("scheduled", "other", 5, 2)


def test_a_thousand_lines_are_one_round_trip(idle):
    idle.enqueue(ECHO)
    redis = idle.stack.redis
    redis.config_resetstat()
    lines = "\n".join(json.dumps({"function": ECHO, "args": [i]}) for i in range(1000))
    assert idle.text("enqueue", "--lines", input=lines) == "1000 of 1000 jobs queued\n"
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == 1
    assert redis.llen("rq:queue:default") == 1001


def test_a_key_is_queued_once(idle):
    first = idle.json("enqueue", "--unique", "k", ECHO)
    again = idle.json("enqueue", "--unique", "k", ECHO)
    assert first["new"] and again == {"id": first["id"], "new": False}
    assert "has this key already" in idle.text("enqueue", "--unique", "k", ECHO)
    idle.text("cancel", first["id"])
    assert idle.json("enqueue", "--unique", "k", ECHO)["new"]
    done = idle.call("enqueue", "--id", first["id"], ECHO, status=1)
    assert "exists already" in done.stderr


def test_changes_do_what_they_say(busy):
    redis = busy.stack.redis
    assert "runs; `stop` ends it" in busy.call("cancel", "runs", status=1).stderr
    assert "does not wait, it is finished" in busy.call("cancel", "done", status=1).stderr
    assert "does not run, it is queued" in busy.call("stop", "waits", status=1).stderr
    assert "is not among the failed" in busy.call("requeue", "done", status=1).stderr
    # Those that can be are, whatever becomes of the others.
    done = busy.call("cancel", "none", "soon", "then", status=1)
    assert done.stdout == "soon: canceled\nthen: canceled\n"
    assert busy.text("stop", "runs") == "runs: stopped\n"
    assert redis.zscore("rq:failed:default", "runs")
    assert busy.json("requeue", "bad") == {"id": "bad", "done": True,
                                           "what": "queued again in default"}
    wait_until(lambda: redis.xlen("rq:results:bad") == 2, 10, "it fails again")
    assert busy.json("requeue", "--all")["requeued"] == 2
    wait_until(lambda: redis.xlen("rq:results:bad") == 3, 10, "and again")
    assert busy.json("empty", "nobody") == {"queue": "nobody", "deleted": 1}
    assert not redis.exists("rq:job:waits")
    assert "\n" in busy.text("empty", "--all")
    busy.text("stop", "runs")


def test_suspended_consumers_start_nothing(busy):
    redis = busy.stack.redis
    assert busy.text("suspend") == "suspended: running jobs end, no new one starts\n"
    busy.enqueue(ECHO, "--id", "held")
    wait_until(lambda: "suspended" in {row["state"] for row in busy.json("workers")["workers"]},
               10, "the idle one says so")
    assert redis.hget("rq:job:held", "status") == b"queued"
    assert "SUSPENDED: nobody starts a job" in busy.text("info")
    busy.text("resume")
    wait_until(lambda: redis.hget("rq:job:held", "status") == b"finished", 10, "it runs")


class Watch:
    """A running `info --watch`, read look by look."""

    def __init__(self, jobs, *arguments):
        self.process = subprocess.Popen(
            jobs.command("info", "--watch", "0.3", *arguments), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=environment())

    def look(self):
        return json.loads(self.process.stdout.readline())

    def until(self, holds, what):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            look = self.look()
            if holds(look):
                return look
        raise AssertionError(what)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=20)


def test_watching_counts_what_comes_and_goes(busy):
    watch = Watch(busy, "--json")
    assert watch.look()["rates"]["of"] != "looks"
    assert watch.look()["rates"]["arrived_per_minute"] == 0
    lines = "\n".join(json.dumps({"function": ECHO}) for _ in range(30))
    busy.text("enqueue", "--lines", input=lines)
    busy.enqueue(FAIL)
    busy.text("enqueue", "--lines", "--queue", "nobody", input=lines)
    watch.until(lambda look: look["queues"][0]["finished"] == 31 and
                look["queues"][0]["failed"] == 2, "all are done")

    def counted(look):
        """Since the watch began, out of its rates. A look and its counts are not one step."""
        rates = look["rates"]
        return [rates[f"{name}_per_minute"] * rates["seconds"] / 60
                for name in ("done", "failed", "arrived")]

    def is_all_counted(look):
        done, failed, arrived = counted(look)
        return 29.5 <= done <= 31.5 and 0.5 <= failed <= 1.5 and 59 <= arrived <= 62
    look = watch.until(is_all_counted, "all is counted")
    # A consumer that leaves takes its counts along; they are kept.
    pid = busy.stack.children("consumer").popitem()[0]
    subprocess.run(["kill", str(pid)], check=True)
    seconds = look["rates"]["seconds"]
    watch.until(lambda look: look["rates"]["seconds"] > seconds + 2 and is_all_counted(look), "goes on")
    watch.end()


def test_watching_survives_redis(idle):
    idle.enqueue(ECHO)
    watch = Watch(idle, "--json")
    watch.look()
    idle.stack.redis_server.stop()
    time.sleep(1)
    idle.stack.redis_server.start()
    assert watch.until(lambda look: True, "it looks again")["queues"][0]["waiting"] == 1
    watch.end()


def test_watching_into_a_pipe_is_plain(idle):
    watch = Watch(idle)
    time.sleep(1.5)
    text, _ = watch.end()
    assert text.count("No queues yet.") >= 2 and "\x1b" not in text


def test_a_terminal_is_written_over(seen):
    text = seen.on_terminal("info", "--watch", "0.2", seconds=3, rows=9, columns=60)
    looks = text.split("\x1b[H")[1:]
    assert len(looks) >= 3 and text.count("\x1b[2J") == 1
    for look in looks[:-1]:  # the last may be half
        assert look.count("\n") <= 8
        assert look.endswith(("\x1b[J", "\x1b[J...")), look
    assert "Ctrl-C ends" in looks[0]


def test_colours_are_a_terminals_only(seen):
    red, bold = "\x1b[31m", "\x1b[1mqueue"
    assert red in seen.on_terminal("info") and bold in seen.on_terminal("info")
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in seen.on_terminal("info", **variables)
    assert "\x1b" not in seen.text("info")


def test_a_reader_may_leave(idle):
    lines = "\n".join(json.dumps({"function": ECHO, "queue": "nobody"}) for _ in range(3000))
    idle.text("enqueue", "--lines", input=lines)
    process = subprocess.Popen(idle.command("list", "--limit", "3000"), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment())
    assert process.stdout.readline().startswith(b"id")
    process.stdout.close()
    assert process.wait(30) == -signal.SIGPIPE
    assert process.stderr.read() == b""


def test_no_retries_are_not_the_functions_retries(make_stack):
    functions = ('functions: { often: { command = "false"; timeout = 44; retries = 3; '
                 'retry_intervals = [ "1h" ]; }; };')
    stack = make_stack(start=False, jobs=JOBS + functions)
    stack.write_config()
    idle = Jobs(stack)
    idle.enqueue("often", "--id", "open")
    idle.enqueue("often", "--id", "never", "--retries", "0", "--timeout", "-1")
    idle.enqueue("often", "--id", "once", "--retries=1")
    lines = ['{"function": "often", "id": "line"}',
             '{"function": "often", "id": "no-line", "retries": 0, "timeout": -1}']
    idle.call("enqueue", "--lines", input="\n".join(lines))
    idle.call("enqueue", "--lines", "--retries", "0", input='{"function": "often", "id": "none"}')
    fields = ("retries_left", "retry_intervals", "timeout")
    found = {name: stack.redis.hmget("rq:job:" + name, fields)
             for name in ("open", "never", "once", "line", "no-line", "none")}
    assert found == {"open": [b"3", b"[3600]", b"44"], "never": [None, None, b"-1"],
                     "once": [b"1", None, b"44"], "line": [b"3", b"[3600]", b"44"],
                     "no-line": [None, None, b"-1"], "none": [None, None, b"44"]}
    for wrong in ("0", "-2", "1.5", "9999999999"):
        assert "timeout" in idle.call("enqueue", "--timeout", wrong, "often", status=2).stderr
