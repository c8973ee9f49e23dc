"""The queue behind sentinels: the master goes, and everything follows the next one."""

import json
import subprocess

import pytest
import rq
from savers import Savers
from sentinel import Sentinels
from services import wait_until
from stack import BINARY, Stream, free_port


@pytest.fixture(scope="module")
def all_sentinels(session_folder):
    made = Sentinels(f"{session_folder}/sentinels")
    yield made
    made.stop()


@pytest.fixture
def redis_server(all_sentinels):
    """What make_stack starts with."""
    all_sentinels.restore()
    all_sentinels.connect().flushall()
    return all_sentinels


def check(stack, *sets):
    arguments = [word for one in sets for word in ("--set", one)]
    return subprocess.run([BINARY, "check", "--services", "--config", stack.config, *arguments],
                          capture_output=True, text=True, timeout=60, check=False)


def shown(stack):
    """{place: processes that see it up} of the queue's Redis, as `ctl status` shows it."""
    rows = json.loads(stack.ctl("status", "--json").stdout)["redis"]
    assert {row["use"] for row in rows} <= {"queue and cache"}, rows
    return {row["name"]: row["up"] for row in rows}


def test_every_saved_bookmark_is_processed(make_stack, pages, redis_server):
    stack = make_stack(workers=2, consumers=2, jobs="outbox_age = 2; test_functions = true;")
    assert (check(stack).stdout, check(stack).stderr) == ("ok\n", "")
    processes = stack.children()

    def all_at_the_master():
        """Where it is now: on a stalled machine the sentinels may elect a second time."""
        return shown(stack) == {f"127.0.0.1:{redis_server.master().port}": len(processes)}

    savers = Savers(stack, pages, count=3, pause=0.3)
    stream = Stream(stack.client().log_in(next(iter(stack.clients)).user["username"]))
    try:
        wait_until(lambda: len(savers.saved) > 20, 20, "bookmarks are saved")
        wait_until(all_at_the_master, 10, lambda: shown(stack))
        old = redis_server.kill_master()
        redis_server.wait_for_another(old)
        after = len(savers.saved)
        wait_until(lambda: len(savers.saved) > after + 20, 20, "bookmarks are saved after it")
    finally:
        savers.stop()
    assert savers.failures == []
    wait_until(lambda: not savers.unfinished(), 60, lambda: savers.explain(redis_server))
    print(savers)
    assert savers.told_twice() == []
    assert stack.sql("SELECT count(*) FROM outbox") == [(0,)]
    assert stack.children() == processes, "nothing was restarted"
    wait_until(all_at_the_master, 10, lambda: (shown(stack), redis_server.master().port))

    # Streams, consumers and Python's tools are where the master is.
    client = stack.clients[0]
    client.save(pages.url("/0-1") + "?again")
    number = max(row[0] for row in stack.sql("SELECT id FROM saved_content"))
    while True:
        frame = stream.next()
        assert frame, "the stream goes on"
        if frame[0].endswith("analysis.completed") and frame[2]["bookmark_id"] == number:
            break
    stream.close()
    queue = rq.Queue("default", connection=redis_server.connect())
    job = queue.enqueue("forkmark.test.echo", "hello")
    wait_until(lambda: job.get_status(refresh=True) in ("finished", "failed"), 20, "the job of Python's has run")
    assert len(rq.Worker.all(connection=redis_server.connect())) == 2


def test_what_is_wrong_is_said(make_stack, redis_server):
    stack = make_stack(start=False)
    stack.write_config()
    sentinel = redis_server.sentinels[0].port
    for sets, words in (
        (["redis.queue.master=other"], ("redis.queue.sentinels: ", "knows no master `other`", "redis.queue.master")),
        ([f"redis.queue.sentinels=127.0.0.1:{free_port()}"], ("no sentinel names the master", "refused")),
        ([f"redis.queue.sentinels=127.0.0.1:{redis_server.master().port}"], ("this is no sentinel",)),
        ([f"redis.url=redis://127.0.0.1:{sentinel}"], ("`redis.url` both name the queue's Redis",)),
        (["redis.queue.sentinels=", f"redis.url=redis://127.0.0.1:{sentinel}"],
         ("this is a sentinel", "redis.queue.sentinels")),
        (["redis.queue.sentinels=", f"redis.url=redis://127.0.0.1:{redis_server.others()[0].port}"],
         ("this is a replica of 127.0.0.1:", "redis.queue.sentinels")),
        (["redis.queue.sentinel_password=wrong"], ("no sentinel names", "AUTH refused", "leave it out")),
        (["redis.password=wrong"], ("redis.queue.sentinels: AUTH refused", "leave it out")),
    ):
        told = check(stack, *sets)
        assert told.returncode == 1, told
        for word in words:
            assert word in told.stderr, (word, told.stderr)
