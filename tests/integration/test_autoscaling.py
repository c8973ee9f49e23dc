"""Counts that are ranges: real load makes them grow, calm makes them shrink."""

import json
import re
import time

from load import Load
from rq_jobs import SLEEP, push_jobs, write_jobs
from services import wait_until

QUICK = 'autoscale: {{ window = 1; calm = 2; {} }};'


def pool(stack, name="web"):
    answer = json.loads(stack.ctl("--json", "status").stdout)
    return next(row for row in answer["pools"] if row["name"] == name)


def scalings(stack):
    return [row["text"] for row in json.loads(stack.ctl("show", "events", "--json").stdout)
            if row["kind"] == "scale"]


def steps(stack, path):
    """+1 and -1 of the load's decisions, in their order."""
    found = [re.match(rf"{path}: (\d+) -> (\d+) by load: ", text) for text in scalings(stack)]
    return [int(match[2]) - int(match[1]) for match in found if match]


def test_workers_follow_the_load_and_the_operator_overrules_it(make_stack):
    stack = make_stack(workers="{ min = 1; max = 3; }", more=QUICK.format("busy = 30;"))
    client = stack.client().sign_up()
    assert len(stack.children("worker")) == 1
    load = Load(client, connections=12)
    wait_until(lambda: len(stack.children("worker")) >= 2, 60, "one more")
    # A reload that replaces everybody keeps what the load wanted, and loses nothing.
    wanted = pool(stack)["wanted"]
    stack.write_config(server='request_timeout = "25s";')
    assert stack.ctl("reload", "--wait").returncode == 0
    assert pool(stack)["wanted"] >= wanted
    # So does an operator's count, while it stands.
    assert stack.ctl("scale", "web", "1").returncode == 0
    assert stack.ctl("scale", "web", "3").returncode == 0
    wait_until(lambda: len(stack.children("worker")) == 3, 20, "three, as told")
    load.stop()
    assert load.failures == [] and load.bad() == {}
    time.sleep(5)
    assert pool(stack)["wanted"] == 3 and "scaled" in pool(stack)
    assert stack.ctl("scale", "web", "config").stdout == "web: 3 -> 3\n"
    wait_until(lambda: len(stack.children("worker")) == 1, 60, "calm")
    # A little load that stays the same changes nothing any more.
    before = len(scalings(stack))
    for _ in range(50):
        assert client.get("/health/liveness").status_code == 200
        time.sleep(0.1)
    assert len(scalings(stack)) == before
    found = steps(stack, "web")
    assert found.count(-1) == 2 and found[-2:] == [-1, -1] and set(found[:-2]) == {1}
    why = [text for text in scalings(stack) if "by load" in text]
    assert re.search(r"web: 1 -> 2 by load: the loops were busy for \d+ % of 1 s, more than 30 %", why[0]), why
    assert re.search(r"web: 2 -> 1 by load: busy for \d+ % over 2 s: fewer suffice", why[-1]), why
    assert why[0] in stack.log_text().replace("scale web", "web")


def test_consumers_come_for_the_jobs_that_wait_and_go_when_none_is_left(make_stack):
    stack = make_stack(workers=1, consumers="{ min = 0; max = 3; }", jobs="test_functions = true;",
                       more=QUICK.format("waiting = 3;"))
    redis = stack.redis
    assert stack.children("consumer") == {}
    ids = write_jobs(redis, "default", 40, SLEEP, args=(0.4,))
    push_jobs(redis, "default", ids)
    wait_until(lambda: pool(stack, "default").get("waiting", 0) > 0, 20, "they are counted")
    wait_until(lambda: len(stack.children("consumer")) == 3, 60, "all three")
    wait_until(lambda: redis.zcard("rq:finished:default") == 40, 60, "all jobs are done")
    wait_until(lambda: stack.children("consumer") == {}, 60, "nobody is needed")
    assert redis.llen("rq:queue:default") == 0 and redis.zcard("rq:failed:default") == 0
    assert steps(stack, "jobs.default") == [1, 1, 1, -1, -1, -1]
    assert any("jobs wait for nobody" in text for text in scalings(stack))
    # One job alone is worth one consumer.
    push_jobs(redis, "low", write_jobs(redis, "low", 1, SLEEP, args=(0.1,)))
    wait_until(lambda: redis.zcard("rq:finished:low") == 1, 30, "it is done")
    assert steps(stack, "jobs.default")[6] == 1
    assert "jobs wait, the oldest for" in stack.ctl("status").stdout


def test_the_age_of_the_oldest_job_counts_and_drains_are_graceful(make_stack):
    stack = make_stack(workers=1, consumers="{ min = 1; max = 2; }", jobs="test_functions = true;",
                       more=QUICK.format("waiting = 1000; age = 1;"))
    redis = stack.redis
    push_jobs(redis, "default", write_jobs(redis, "default", 3, SLEEP, args=(4,)))
    wait_until(lambda: len(stack.children("consumer")) == 2, 30, "one waits too long")
    assert any("a job waited for " in text for text in scalings(stack))
    wait_until(lambda: redis.zcard("rq:finished:default") == 3, 60, "each is done")
    wait_until(lambda: len(stack.children("consumer")) == 1, 60, "calm")
    assert redis.zcard("rq:failed:default") == 0


def test_jobs_of_others_call_nobody(make_stack):
    stack = make_stack(workers=1, consumers="{ min = 0; max = 2; }",
                       jobs='test_functions = true; queues: { default: { unknown = "leave"; }; };',
                       more=QUICK.format(""))
    redis = stack.redis
    push_jobs(redis, "default", write_jobs(redis, "default", 30, "team.of_others"))
    wait_until(lambda: pool(stack, "default").get("waiting") == 0, 20, "they are counted, as none")
    time.sleep(2.5)
    assert stack.children("consumer") == {}
    push_jobs(redis, "default", write_jobs(redis, "default", 1, SLEEP, args=(0.1,)))
    wait_until(lambda: redis.zcard("rq:finished:default") == 1, 30, "ours is done")
    assert redis.llen("rq:queue:default") == 30


def test_ranges_come_and_go_by_reload_and_count_at_their_most(make_stack):
    stack = make_stack(workers=2, consumers=1)
    stack.write_config(workers="{ min = 1; max = 200; }")
    refused = stack.ctl("reload", "--wait")
    assert refused.returncode == 1 and "max_connections leaves" in refused.stderr, refused
    assert re.search(r"keep \d+ connections to the database open \(201 workers", refused.stderr)
    scheduler = set(stack.children("scheduler"))
    stack.write_config(workers="{ min = 1; max = 4; }", consumers="{ min = 0; max = 2; }")
    answer = stack.ctl("reload", "--wait")
    assert answer.returncode == 0, answer.stderr
    assert "server.workers: 2 -> { min = 1; max = 4; } (applied)" in answer.stdout
    assert "jobs.pools.default: 1 -> 0..2 consumers (applied)" in answer.stdout
    # Where it was goes on: within the range, the load decides.
    assert (pool(stack)["wanted"], pool(stack)["configured"], pool(stack)["most"]) == (2, 1, 4)
    wait_until(lambda: stack.children("scheduler") and not scheduler & set(stack.children("scheduler")), 20,
               "a scheduler that counts the jobs")
    wait_until(lambda: "waiting" in pool(stack, "default"), 20, "they are counted")
    assert "web                      2 wanted, 2 ready (1 to 4 by load)" in stack.ctl("status").stdout
    stack.write_config(workers=3, consumers=2)
    assert stack.ctl("reload", "--wait").returncode == 0
    wait_until(lambda: len(stack.children("worker")) == 3, 20, "three")
    assert "most" not in pool(stack) and pool(stack, "default")["wanted"] == 2
