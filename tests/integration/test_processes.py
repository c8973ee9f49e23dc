"""The process tree: counts on a live system, deaths, stops. What operators rely on."""

import fcntl
import http.client
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest
from load import Load
from pages import article
from services import wait_until


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def count_is(stack, kind, number):
    return lambda: len(stack.children(kind)) == number


def test_the_tree_is_as_configured(make_stack):
    stack = make_stack(workers=3, consumers=2)
    assert len(stack.children("worker")) == 3
    assert len(stack.children("consumer")) == 2
    assert len(stack.children("scheduler")) == 1


def test_counts_change_under_load_without_a_lost_request(make_stack):
    stack = make_stack(workers=2)
    client = stack.client().sign_up()
    load = Load(client, connections=16)
    try:
        for number in (6, 1, 4):
            stack.reload(workers=number)
            wait_until(count_is(stack, "worker", number), 20, f"{number} workers")
            time.sleep(1)
    finally:
        load.stop()
    assert load.failures == [] and load.bad() == {}
    assert sum(load.answers.values()) > 100


def test_ttin_and_ttou(stack):
    stack.master.signal(signal.SIGTTIN)
    wait_until(count_is(stack, "worker", 3), 5, "one worker more")
    for number in (2, 1):  # one at a time: signals of a kind do not queue
        stack.master.signal(signal.SIGTTOU)
        wait_until(count_is(stack, "worker", number), 15, f"{number} workers")
    assert stack.client().get("/health/liveness").status_code == 200


def test_winch_puts_the_workers_away_until_hup(stack):
    assert stack.ctl("scale", "web", "3", "--for", "2s").returncode == 0
    stack.master.signal(signal.SIGWINCH)
    wait_until(count_is(stack, "worker", 0), 20, "no workers")
    time.sleep(2.5)  # a limit that ends meanwhile is no reason to come back
    assert stack.children("worker") == {}
    stack.master.signal(signal.SIGHUP)
    wait_until(count_is(stack, "worker", 2), 20, "as configured")
    assert stack.ctl("scale", "web", "3").returncode == 0
    stack.master.signal(signal.SIGWINCH)
    wait_until(count_is(stack, "worker", 0), 20, "no workers")
    stack.master.signal(signal.SIGHUP)
    wait_until(count_is(stack, "worker", 3), 20, "as the operator had ordered")


def test_a_terminal_that_changes_its_size_changes_nothing(make_stack):
    """In the foreground of a terminal WINCH comes from that, and from nobody who means it."""
    stack = make_stack(start=False, workers=1)
    ours, terminal = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    stack.popen = {"preexec_fn": take_terminal, "pass_fds": [terminal]}
    stack.start()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    stack.master.signal(signal.SIGTTIN)  # which comes behind it
    wait_until(count_is(stack, "worker", 2), 20, "one more, of one")
    assert "the workers drain" not in stack.log_text() and "signal WINCH" not in stack.log_text()
    os.close(ours)
    os.close(terminal)


def test_a_pid_file_of_before_names_nobody(make_stack, folder):
    """After a crash or a reboot its number may be anybody's; that of a server counts."""
    somebody = subprocess.Popen(["sleep", "60"])
    path = os.path.join(folder, "pid")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{somebody.pid}\n")
    try:
        stack = make_stack(workers=1, server=f'pid_file = "{path}";')
    finally:
        somebody.kill()
        somebody.wait()
    with open(path, encoding="ascii") as file:
        assert int(file.read()) == stack.master.pid
    other = make_stack(start=False, workers=1, server=f'pid_file = "{path}";')
    other.start(wait=False)
    assert other.master.wait(20) == 1
    assert f"names process {stack.master.pid}, a forkmark that runs" in other.log_text()


@pytest.mark.parametrize("broken,reason", [
    (dict(server="wrokers = 3;"), "server.wrokers"),
    (dict(more="metrics: { prefix = "), "syntax error"),
    (dict(server="backlog = -5;"), "backlog"),
])
def test_a_wrong_file_changes_nothing_and_says_why(stack, broken, reason):
    before = stack.children()
    stack.reload(**broken)
    wait_until(lambda: reason in stack.log_text(), 5, f"the log names {reason}")
    assert "forkmark.conf:" in stack.log_text()
    time.sleep(0.3)
    assert stack.children() == before
    assert stack.client().get("/health/liveness").status_code == 200


def test_a_killed_worker_is_replaced_and_only_its_requests_fail(make_stack):
    stack = make_stack(workers=3)
    client = stack.client().sign_up()
    load = Load(client, connections=12)
    time.sleep(0.5)
    victim = next(iter(stack.children("worker")))
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in stack.children("worker") and len(stack.children("worker")) == 3, 2,
               "three workers again")
    took = time.monotonic() - killed
    time.sleep(0.5)
    load.stop()
    assert took < 0.5, f"replaced after {took * 1000:.0f} ms"  # ps itself takes a while
    assert len(load.failures) <= 12 and load.bad() == {}
    assert all(when - killed < 0.5 for when, _ in load.failures), load.failures


def test_a_killed_consumer_loses_no_job(make_stack, pages):
    stack = make_stack(consumers=1)
    client = stack.client().sign_up()
    url = pages.put("/slow", article("Slow page", "word " * 100), delay=1)
    number = client.save(url)
    wait_until(lambda: pages.hits.get("/slow") == 1, 5, "the fetch has begun")
    job = stack.redis.keys("rq:job:bookmark_process_*")[0]
    retries = stack.redis.hget(job, "retries_left")
    os.kill(next(iter(stack.children("consumer"))), signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: pages.hits.get("/slow") == 2, 2, "the job is run again")
    wait_until(lambda: client.bookmark(number)["scrape_status"] == "SUCCESS", 5, "and completed")
    assert time.monotonic() - killed < 3.5
    assert stack.redis.hget(job, "retries_left") == retries
    wait_until(lambda: stack.redis.zcard("rq:wip:default") == 0, 5, "the books are closed")


def test_a_killed_scheduler_leads_again(stack):
    lock = "rq:scheduler-lock:default"
    wait_until(lambda: stack.redis.get(lock), 5, "a scheduler leads")
    before = stack.redis.get(lock)
    os.kill(next(iter(stack.children("scheduler"))), signal.SIGKILL)
    wait_until(lambda: stack.redis.get(lock) not in (None, before), 1.5, "its successor leads")


def test_a_stopped_worker_starves_nobody(make_stack):
    stack = make_stack(workers=3)
    victim = next(iter(stack.children("worker")))
    os.kill(victim, signal.SIGSTOP)
    time.sleep(0.2)
    try:
        times = []
        for _ in range(100):
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)
            connection.request("GET", "/health/liveness")
            assert connection.getresponse().status == 200
            connection.close()
            times.append(time.monotonic() - began)
    finally:
        os.kill(victim, signal.SIGCONT)
    assert sorted(times)[95] < 0.05, sorted(times)[-5:]


def test_a_silent_worker_is_killed_and_replaced(make_stack):
    stack = make_stack(workers=2, server='timeout = "2s";')
    victim = next(iter(stack.children("worker")))
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: gone(victim), 10, "the silent worker is gone")
    wait_until(count_is(stack, "worker", 2), 5, "and replaced")


def test_term_lets_requests_finish(stack, pages):
    client = stack.client().sign_up()
    pages.put("/slow", article("Slow", "word " * 60), delay=1.5)
    with socket.create_connection(("127.0.0.1", stack.port)) as raw:
        body = b'{"url":"' + pages.url("/slow").encode() + b'"}'
        raw.sendall(b"POST /api/bookmarks/extract-url HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                    + client.token.encode() + b"\r\nContent-Type: application/json\r\nContent-Length: "
                    + str(len(body)).encode() + b"\r\n\r\n" + body)
        wait_until(lambda: pages.hits.get("/slow"), 5, "the request is under way")
        stack.master.signal(signal.SIGTERM)
        raw.settimeout(10)
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    assert b"200 OK" in answer.split(b"\r\n")[0] and b'"success":true' in answer
    assert b"connection: close" in answer.lower()
    assert stack.master.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_stop_leaves_nothing_behind(stack, number):
    children = list(stack.children())
    stack.master.signal(number)
    assert stack.master.wait(20) == 0
    assert all(gone(pid) for pid in children)
    assert not os.path.exists(os.path.join(stack.folder, "control"))
    assert stack.redis.smembers("rq:workers") == set()


def test_a_killed_master_takes_its_children_along(stack):
    children = list(stack.children())
    stack.master.process.kill()
    stack.master.wait()
    wait_until(lambda: all(gone(pid) for pid in children), 5, "no child is left")
    stack.start()
    assert stack.client().get("/health/liveness").status_code == 200


def test_connections_are_spread_evenly(make_stack):
    stack = make_stack(workers=4)
    connections = []
    for _ in range(40):
        connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)
        connection.request("GET", "/health/liveness")
        connection.getresponse().read()
        connections.append(connection)
    wait_until(lambda: stack.ctl("status", "--json").returncode == 0, 5, "ctl answers")
    metrics = stack.client().get("/metrics").text
    spread = [int(float(line.rsplit(" ", 1)[1])) for line in metrics.splitlines()
              if line.startswith("forkmark_worker_connections{")]
    for connection in connections:
        connection.close()
    assert len(spread) == 4 and 40 <= sum(spread) <= 42
    assert max(spread) <= 13 and min(spread) >= 7, spread
