"""A worker that spins, blocks or is stopped: told apart, with what it was at, and replaced."""

import contextlib
import os
import re
import signal
import socket
import subprocess
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


def test_who_stood_still_answers_what_came_meanwhile(make_stack):
    """Longer than connections are kept: the requests in its sockets came in time all the same."""
    stack = make_stack(workers=1, server='keepalive = "1s";', jobs="test_functions = true;")

    def ask(connection, path="/health/liveness"):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    with contextlib.ExitStack() as all_of_them:
        connections = [all_of_them.enter_context(socket.create_connection(("127.0.0.1", stack.port), 30))
                       for _ in range(9)]
        for connection in connections:
            ask(connection)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        busy, silent, *others = connections
        ask(busy, "/test/wait?how=poll&ms=2500")
        time.sleep(0.3)
        for connection in others:
            ask(connection)
        for connection in (busy, *others):
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        # One that had nothing to say has been idle for too long.
        assert silent.recv(4096) == b""


@pytest.fixture
def memory_group():
    """A control group (version 1) with an account of its memory; gone afterwards."""
    path = f"/sys/fs/cgroup/memory/forkmark-test-{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError as error:
        pytest.skip(f"no control group of memory can be made: {error}")
    yield path
    wait_until(lambda: not open(f"{path}/cgroup.procs", encoding="ascii").read(), 20, "nobody is left in the group")
    os.rmdir(path)


EATER = """
import sys
group, eaten = sys.argv[1], []
def kills():
    return int(open(group + "/memory.oom_control").read().split("oom_kill ")[1])
open(group + "/cgroup.procs", "w").write("0")
before = kills()
while kills() == before and len(eaten) < 1000:
    eaten.append(bytearray(b"x" * 262144))
print(kills() - before)
"""


def test_who_died_for_memory_is_said_so(memory_group, make_stack):
    """The kernel itself kills a worker, the likeliest victim of a group that is full."""
    def write(name, value, path=memory_group):
        with open(f"{path}/{name}", "w", encoding="ascii") as file:
            file.write(str(value))

    stack = make_stack(start=False, workers=2)
    stack.popen = {"preexec_fn": lambda: write("cgroup.procs", 0)}
    stack.start()
    victim = min(stack.children("worker"))
    write("oom_score_adj", 1000, f"/proc/{victim}")
    with open(f"{memory_group}/memory.usage_in_bytes", encoding="ascii") as file:
        write("memory.limit_in_bytes", int(file.read()) + (32 << 20))
    # A worker in the dead one's place would take what is free now, and the eater be next.
    stack.master.signal(signal.SIGSTOP)
    try:
        eater = subprocess.run(["/usr/bin/python3", "-c", EATER, memory_group], capture_output=True, text=True,
                               timeout=60, check=False)
    finally:
        write("memory.limit_in_bytes", -1)
        stack.master.signal(signal.SIGCONT)
    assert eater.stdout == "1\n", eater
    told = wait_until(lambda: re.search(rf"ERROR master worker \d \(pid {victim}\) died: .*", stack.log_text()), 20,
                      "its end is told")
    assert "signal 9 (Killed), out of memory (oom_kill of the control group is 1); user " in told[0], told[0]
    wait_until(lambda: len(stack.children("worker")) == 2, 20, "it is replaced")
    page = stack.client().get("/metrics").text
    assert 'child_restarts_total{role="worker",reason="oom"} 1' in page
    # Another one, that somebody killed, did not die for that.
    time.sleep(2.5)
    victim = min(stack.children("worker"))
    os.kill(victim, signal.SIGKILL)
    told = wait_until(lambda: re.search(rf"ERROR master worker \d \(pid {victim}\) died: .*", stack.log_text()), 20,
                      "its end is told")
    assert "signal 9 (Killed); user " in told[0], told[0]


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
