"""What the service manager is told: only what is so."""

import os
import signal
import time

import pytest

from manager import Manager
from services import wait_until


@pytest.fixture
def manager(folder):
    manager = Manager(folder)
    yield manager
    manager.close()


def start(make_stack, manager, watchdog=None, **options):
    stack = make_stack(start=False, **options)
    stack.environ = manager.environment(watchdog)
    return stack.start()


def test_ready_is_said_when_the_configured_number_serves(make_stack, manager):
    stack = start(make_stack, manager, workers=3, consumers=2)
    ready = manager.until("READY", "1")
    tree = stack.ctl("status").stdout
    assert "3 wanted, 3 ready" in tree and "2 wanted, 2 ready" in tree
    assert not [m for _, m in manager.heard[:ready] if "READY" in m]
    manager.until("STATUS", "3 of 3 workers, 2 of 2 consumers (default), 1 of 1 scheduler")
    stack.stop()
    manager.until("STOPPING", "1", after=ready)


def test_nobody_serves_and_nothing_is_said(make_stack, manager):
    stack = make_stack(start=False, workers=2, more="wrong = 1;")
    stack.environ = manager.environment()
    stack.start(wait=False)
    assert stack.master.wait(20) == 1
    assert ("READY", "1") not in manager.words()


def test_a_reload_is_told_with_its_moment_and_its_end(make_stack, manager):
    stack = start(make_stack, manager, workers=1)
    first = manager.until("READY", "1")
    before = time.monotonic()
    stack.write_config(server='request_timeout = "20s";')
    assert stack.ctl("reload", "--wait").returncode == 0
    told = manager.until("RELOADING", "1", after=first + 1)
    moment = int(manager.heard[told][1]["MONOTONIC_USEC"]) / 1e6
    assert before - 0.01 <= moment <= time.monotonic()
    over = manager.until("READY", "1", after=told + 1)
    # One that is refused is over at once, and the state says why.
    stack.write_config(server="workers = 99999;")
    assert stack.ctl_at("reload", "--wait").returncode == 1
    told = manager.until("RELOADING", "1", after=over + 1)
    manager.until("READY", "1", after=told + 1)
    manager.until("STATUS", "the last reload failed: ", after=over + 1)
    stack.write_config(server='request_timeout = "20s";')


def test_the_watchdog_is_fed_only_while_most_workers_are_healthy(make_stack, manager):
    stack = start(make_stack, manager, watchdog=2, workers=3)
    ready = manager.until("READY", "1")
    fed = manager.until("WATCHDOG", "1", after=ready)
    workers = list(stack.children("worker"))
    try:
        os.kill(workers[0], signal.SIGSTOP)  # a minority
        time.sleep(1.5)
        manager.until("WATCHDOG", "1", after=len(manager.heard))
        os.kill(workers[1], signal.SIGSTOP)
        wait_until(lambda: "watchdog is not fed any more" in stack.log_text(), 10, "it notices")
        manager.listen()
        silent = len(manager.heard)
        time.sleep(1.5)
        manager.listen()
        assert not [m for _, m in manager.heard[silent:] if "WATCHDOG" in m]
    finally:
        for pid in workers[:2]:
            os.kill(pid, signal.SIGCONT)
    manager.until("WATCHDOG", "1", after=silent)
    assert fed > ready
