"""A server that is about to go says so first, and one without workers does not listen."""

import os
import signal
import socket
import time

import pytest

from load import Load
from services import wait_until

READY = b"GET /health/readiness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def ask(address, request=READY, family=socket.AF_INET):
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(address)
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def is_refused(address, family=socket.AF_INET):
    try:
        ask(address, family=family)
        return False
    except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
        return True


def test_readiness_says_no_before_the_drain_begins(make_stack):
    stack = make_stack(workers=2, server='drain_delay = "2s"; keepalive = "1s";')
    address = ("127.0.0.1", stack.port)
    client = stack.client().sign_up()
    assert b" 200 " in ask(address)
    load = Load(client, connections=4)
    stack.master.signal(signal.SIGTERM)
    began = time.monotonic()
    # What a balancer hears, on a new connection and from whichever worker.
    wait_until(lambda: b" 503 " in ask(address), 10, "readiness says no")
    answer = ask(address)
    assert b"not_ready" in answer and b'"database":"ready"' in answer
    assert "draining" not in stack.log_text()
    # All else is served as before: new connections, kept ones, saves.
    count = sum(load.answers.values())
    wait_until(lambda: sum(load.answers.values()) > count + 50, 10, "requests are answered")
    assert client.post("/api/bookmarks", json={"url": "http://example.invalid/late"}).status_code == 201
    load.stop()
    assert not load.failures and not load.bad(), (load.failures[:3], load.answers)
    wait_until(lambda: is_refused(address), 20, "nobody is let in any more")
    assert time.monotonic() - began > 1.8
    client.close()
    assert stack.master.wait(30) == 0


def test_a_second_term_does_not_wait(make_stack):
    stack = make_stack(workers=1, server='drain_delay = "60s";')
    stack.master.signal(signal.SIGTERM)
    wait_until(lambda: b" 503 " in ask(("127.0.0.1", stack.port)), 10, "readiness says no")
    stack.master.signal(signal.SIGTERM)
    assert stack.master.wait(20) == 0
    assert "draining" not in stack.log_text()


def test_without_workers_nobody_listens(make_stack, folder):
    path = os.path.join(folder, "http")
    stack = make_stack(start=False, workers=0, jobs="test_functions = true;")
    stack.options["bind"] = f'"127.0.0.1:{stack.port}", "unix:{path}"'
    stack.start()
    addresses = [(("127.0.0.1", stack.port), socket.AF_INET), (path, socket.AF_UNIX)]

    def all_are(wanted):
        return all(is_refused(*address) == wanted for address in addresses)

    assert all_are(True)
    assert stack.ctl("scale", "web", "2").returncode == 0
    wait_until(lambda: all_are(False), 10, "it serves")
    assert all(b" 200 " in ask(address, family=family) for address, family in addresses)
    # Back to none by the file; then some again; then none at another address.
    for workers in (1, 0, 2, 0):
        stack.write_config(workers=workers)
        done = stack.ctl("reload", "--wait")
        assert done.returncode == 0, done
        wait_until(lambda: all_are(workers == 0), 20, f"{workers} workers")
    assert stack.ctl("status").returncode == 0
    assert stack.stop() == 0
    assert not os.path.exists(path)


def test_clients_wait_for_workers_that_winch_put_away(make_stack):
    stack = make_stack(workers=1)
    stack.master.signal(signal.SIGWINCH)
    wait_until(lambda: not stack.children("worker"), 20, "they are gone")
    with socket.create_connection(("127.0.0.1", stack.port), 5) as connection:
        connection.sendall(READY)
        connection.settimeout(0.5)
        with pytest.raises(socket.timeout):
            connection.recv(1)
        stack.master.signal(signal.SIGHUP)
        connection.settimeout(20)
        assert b" 200 " in connection.recv(65536)
