"""A worker that spins, blocks or is stopped: told apart, with what it was at, and replaced."""

import os
import re
import signal
import threading
import time

import pytest

from services import wait_until


def hang(stack, how):
    """A request that keeps its worker from turning; nobody waits for the answer."""
    def ask():
        try:
            stack.client().get("/test/wait", params={"how": how, "ms": 30000},
                               headers={"X-Request-ID": f"hang-{how}"}, timeout=30)
        except OSError:
            pass  # its worker is killed
    threading.Thread(target=ask, daemon=True).start()


@pytest.mark.parametrize("how, kind", [("spin", "spinning"), ("block", "blocked in a system call")])
def test_a_hung_request_is_named_with_its_stack(make_stack, how, kind):
    stack = make_stack(workers=2, server='timeout = "2s";', jobs="test_functions = true;")
    before = set(stack.children("worker"))
    hang(stack, how)
    wait_until(lambda: re.search(r"worker \d \(pid \d+\) died", stack.log_text()), 20, "it is killed")
    wait_until(lambda: len(stack.children("worker")) == 2, 10, "and replaced")
    assert len(before & set(stack.children("worker"))) == 1
    log = stack.log_text()
    assert re.search(rf"is killed: silent for \d\.\d s \(server\.timeout\): {kind} \(\d", log), log[-3000:]
    assert re.search(rf"died: signal 9 .*; user \d+\.\d\d s, .* at /test/wait \[hang-{how}\] for ", log)
    frames = re.findall(r"worker \d: #\d+ (.*)", log)
    assert any("trial_wait" in frame for frame in frames), frames


def test_a_stopped_worker_is_named_so(make_stack):
    stack = make_stack(workers=2, server='timeout = "2s";')
    victim = next(iter(stack.children("worker")))
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: f"(pid {victim}) died: signal 9" in stack.log_text(), 20, "it is killed")
    wait_until(lambda: len(stack.children("worker")) == 2, 10, "and replaced")
    log = stack.log_text()
    assert re.search(rf"\(pid {victim}\) is killed: silent for .*: stopped by a signal", log)
    assert re.search(r"worker \d: #\d+ .*task_run_loop", log)
    assert stack.ctl("status").stdout.count(" 1 kills") == 1


def test_a_crash_leaves_its_stack(make_stack):
    stack = make_stack(workers=1)
    victim = next(iter(stack.children("worker")))
    os.kill(victim, signal.SIGABRT)
    wait_until(lambda: f"(pid {victim}) died: signal 6" in stack.log_text(), 10, "it is told")
    wait_until(lambda: re.search(r"worker 1: #\d+ .*task_run_loop", stack.log_text()), 5, "its stack")
    wait_until(lambda: set(stack.children("worker")) - {victim}, 10, "another one")


def test_a_worn_worker_is_replaced_without_loss(make_stack):
    from load import Load
    stack = make_stack(workers=2, server="max_requests = 50; max_requests_jitter = 20;")
    load = Load(stack.client().sign_up(), connections=8, fresh_every=7)
    wait_until(lambda: stack.log_text().count("has done its share of requests") >= 4, 60, "several go")
    load.stop()
    assert load.failures == [] and load.bad() == {}
    wait_until(lambda: len(stack.children("worker")) >= 2, 10, "two at least")


def test_a_fat_process_is_replaced(make_stack):
    stack = make_stack(workers=1, consumers=1)
    before = set(stack.children("worker")) | set(stack.children("consumer"))
    stack.write_config(server="max_rss = 1000000;", jobs="max_rss = 1000000;")
    assert "server.max_rss: 0 -> 1000000" in stack.ctl("reload").stdout
    wait_until(lambda: not before & set(stack.children()), 40, "both are replaced")
    assert "more than max_rss (1.0 MB): replaced" in stack.log_text()
    stack.write_config(server="", jobs="")
    assert stack.ctl("reload", "--wait").returncode == 0
    time.sleep(0.2)
    assert stack.client().get("/health/liveness").status_code == 200
