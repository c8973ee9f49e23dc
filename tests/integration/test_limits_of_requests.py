"""What a client may send, how slowly, and how many may: limits of the server."""

import json
import socket
import threading
import time

from services import wait_until
from test_sockets import read_all


def ask(stack, head, seconds=20):
    with socket.create_connection(("127.0.0.1", stack.port), 10) as connection:
        connection.settimeout(seconds)
        connection.sendall(head)
        return read_all(connection)


def head(target="/health/liveness", fields=(), method="GET"):
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_long_lines_many_and_large_fields(make_stack):
    stack = make_stack(workers=1, server="limit_request_line = 200; limit_request_fields = 10;"
                                         "limit_request_field_size = 300;")
    rest = len("GET /health/liveness?x= HTTP/1.1")
    for length, status in ((200, b" 200 "), (201, b" 414 "), (2000, b" 414 ")):
        answer = ask(stack, head("/health/liveness?x=" + "a" * (length - rest)))
        assert status in answer.split(b"\r\n")[0], (length, answer)
    assert b'"error": "request_line_too_long"' in answer or b'"error":"request_line_too_long"' in answer
    for count, status in ((10, b" 200 "), (11, b" 431 "), (60, b" 431 ")):
        answer = ask(stack, head(fields=[f"X-{n}: 1" for n in range(count - 2)]))
        assert status in answer.split(b"\r\n")[0], (count, answer)
    assert b"header_fields_too_large" in answer and b"Connection: close" in answer
    for size, status in ((300, b" 200 "), (301, b" 431 "), (3000, b" 431 ")):
        answer = ask(stack, head(fields=["X-Long: " + "a" * (size - len("X-Long: "))]))
        assert status in answer.split(b"\r\n")[0], (size, answer)
    # With a body that nobody wants, too; and the server is none the worse.
    answer = ask(stack, head(fields=["X: " + "a" * 400, "Content-Length: 5"], method="POST") + b"hello")
    assert b" 431 " in answer.split(b"\r\n")[0]
    assert b" 200 " in ask(stack, head())


def test_defaults_and_none(make_stack):
    stack = make_stack(workers=1, server='connection_memory = "64K";')
    assert b" 200 " in ask(stack, head("/health/liveness?" + "a" * 8100))
    assert b" 414 " in ask(stack, head("/health/liveness?" + "a" * 8200))
    assert b" 431 " in ask(stack, head(fields=[f"X-{n}: 1" for n in range(120)]))
    stack.write_config(server="limit_request_line = 0; limit_request_fields = 0;"
                              'limit_request_field_size = 0; connection_memory = "64K";')
    assert stack.ctl("reload", "--wait").returncode == 0
    assert b" 200 " in ask(stack, head("/health/liveness?" + "a" * 9000))
    assert b" 200 " in ask(stack, head(fields=[f"X-{n}: 1" for n in range(300)]))
    # What does not fit into connection_memory at all is refused by the parser.
    answer = ask(stack, head(fields=["X: " + "a" * 100_000]))
    assert b" 200 " not in answer


class Slow(threading.Thread):
    """So many clients that send a byte of their head now and then, and come again."""

    def __init__(self, stack, count):
        super().__init__(daemon=True)
        self.stack, self.count, self.stopping = stack, count, threading.Event()
        self.dropped = 0
        self.start()

    def run(self):
        connections = []
        while not self.stopping.is_set():
            while len(connections) < self.count:
                connection = socket.socket()
                connection.setblocking(False)
                try:
                    connection.connect(("127.0.0.1", self.stack.port))
                except BlockingIOError:
                    pass
                connections.append(connection)
            for connection in list(connections):
                try:
                    connection.send(b"X")
                except BlockingIOError:
                    continue
                except OSError:
                    connections.remove(connection)
                    connection.close()
                    self.dropped += 1
            time.sleep(0.1)
        for connection in connections:
            connection.close()

    def stop(self):
        self.stopping.set()
        self.join(10)


def test_slow_clients_do_not_keep_others_out(make_stack):
    """Slowloris: more of them than the worker has places, for as long as they like."""
    stack = make_stack(workers=1, server='header_timeout = "1s"; worker_connections = 30; backlog = 512;')
    slow = Slow(stack, 45)
    try:
        wait_until(lambda: slow.dropped > 0, 20, "the first are dropped")
        answered = 0
        for _ in range(5):
            answered += b" 200 " in ask(stack, head(), seconds=30)
        assert answered == 5
        wait_until(lambda: slow.dropped > 60, 30, "each is dropped in its turn")
    finally:
        slow.stop()
    assert stack.children("worker")


def test_a_slow_body_has_its_own_time(make_stack):
    stack = make_stack(workers=1, server='header_timeout = "30s"; body_timeout = "1s";')
    with socket.create_connection(("127.0.0.1", stack.port), 10) as connection:
        connection.settimeout(0.2)
        connection.sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 20:
            try:
                connection.sendall(b"x")
                if not connection.recv(65536):
                    break
            except socket.timeout:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - began < 15


def test_keepalive_is_told_and_kept(make_stack):
    stack = make_stack(workers=1, server='keepalive = "2s";')
    request = head().replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", stack.port), 10) as connection:
        connection.settimeout(20)
        for _ in range(3):
            connection.sendall(request)
            assert b"Keep-Alive: timeout=2" in connection.recv(65536)
        time.sleep(1)  # within the promise
        connection.sendall(request)
        assert b" 200 " in connection.recv(65536)
        began = time.monotonic()
        assert connection.recv(65536) == b""
        assert 1.9 < time.monotonic() - began < 15


def test_past_worker_connections_clients_wait_in_the_backlog(make_stack):
    stack = make_stack(workers=1, server="worker_connections = 5; backlog = 77;")
    idle = [socket.create_connection(("127.0.0.1", stack.port), 10) for _ in range(5)]
    workers = lambda: next(line for line in stack.ctl("status").stdout.splitlines() if "worker 1" in line)
    wait_until(lambda: " 5 connections" in workers(), 10, "it is full")
    with socket.create_connection(("127.0.0.1", stack.port), 10) as waiting:
        waiting.sendall(head())
        waiting.settimeout(1)
        try:
            assert waiting.recv(100) is None, "nobody takes it"
        except socket.timeout:
            pass
        idle.pop().close()
        waiting.settimeout(20)
        assert b" 200 " in read_all(waiting)
    # As the kernel has it.
    assert json.loads(stack.ctl("--json", "show", "listeners").stdout)[0]["backlog"] == 77
    for connection in idle:
        connection.close()
