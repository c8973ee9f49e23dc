"""Several schedulers on one Redis, in real time: minutes that come, leaders that go."""

import os
import signal
import time

import pytest

from primary import signal_all
from services import wait_until

JOBS = "test_functions = true; heartbeat = 1;"
MINUTELY = """cron: { tick: { schedule = "* * * * *"; function = "forkmark.test.echo"; result_ttl = 7200; }; };"""


def cron_jobs(connection):
    return sorted(key.decode().removeprefix("rq:job:") for key in connection.keys("rq:job:cron_tick_*")
                  if key.count(b":") == 2)


def test_each_minute_is_served_once_by_whoever_is_there(make_stack):
    """Two masters; a scheduler is stopped over one minute and killed over the next."""
    stacks = [make_stack(jobs=JOBS + MINUTELY, consumers=1, workers=1) for _ in range(2)]
    connection = stacks[0].redis
    wait_until(lambda: connection.hexists("fm:cron:tick", "last_due"), 15, "the entry is known")
    begin = int(time.time())
    wait_until(lambda: cron_jobs(connection), 75, "the first minute")
    due = int(cron_jobs(connection)[0].rsplit("_", 1)[1])
    assert due % 60 == 0 and begin < due <= begin + 61
    assert int(time.time()) - due < 10
    [stopped] = stacks[0].children("scheduler")
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: len(cron_jobs(connection)) == 2, 75, "the second minute")
    signal_all([stopped], signal.SIGCONT)  # its master may have replaced it already
    time.sleep(50)
    [killed] = stacks[1].children("scheduler")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(cron_jobs(connection)) == 3, 75, "the third minute")
    time.sleep(2)
    ids = cron_jobs(connection)
    assert [int(each.rsplit("_", 1)[1]) - due for each in ids] == [0, 60, 120]
    for each in ids:
        assert connection.xlen("rq:results:" + each) == 1
        assert sum(stack.log_text().count(f"cron tick: job {each}") for stack in stacks) == 1


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_lost_leader_is_replaced_within_its_locks_time(make_stack, number):
    """The whole server goes, without a word; another one leads after at most 61 s."""
    first = make_stack(jobs=JOBS, consumers=1, workers=1)
    connection = first.redis
    lock = "rq:scheduler-lock:default"
    wait_until(lambda: connection.get(lock), 15, "the first one leads")
    leader = connection.get(lock)
    second = make_stack(jobs=JOBS, consumers=1, workers=1)
    # As a server elsewhere: a process of this host that is dead would be noticed at once.
    connection.hset("rq:scheduler:" + leader.decode(), "fm_home", "another host")
    processes = [first.master.pid, *first.children()]
    if number == signal.SIGKILL:
        os.kill(first.master.pid, signal.SIGKILL)  # its children die with it
        first.master.wait()
    else:
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
    connection.hset("rq:scheduler:" + leader.decode(), "fm_home", "another host")
    lost = time.monotonic()
    try:
        wait_until(lambda: connection.get(lock) not in (None, leader), 70, "the second one leads")
        assert time.monotonic() - lost < 66
        assert connection.ttl(lock) > 50
        [pid] = second.children("scheduler")
        assert int(connection.hget("rq:scheduler:" + connection.get(lock).decode(), "pid")) == pid
    finally:
        if number == signal.SIGSTOP:
            for pid in reversed(processes):
                os.kill(pid, signal.SIGCONT)
    if number == signal.SIGSTOP:
        # Back again, it does not take the lock from the one who leads now.
        new = connection.get(lock)
        time.sleep(5)
        assert connection.get(lock) == new
        first.stop()
        assert connection.get(lock) == new
