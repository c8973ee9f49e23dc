"""Ten thousand idle event streams on one worker: memory, other requests, one event to all."""

import re
import resource
import selectors
import socket
import time

import pytest
from pages import article

STREAMS = 10000
USERS = 1  # one user's streams, so that one event concerns them all


def pss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1)) / 1024


class Streams:
    """Raw sockets, spread over loopback addresses: one address pair has 28,000 ports at most."""

    def __init__(self, port, token, count):
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        self.seen = {}
        head = (f"GET /api/realtime/stream?token={token} HTTP/1.1\r\nHost: x\r\n"
                "Accept: text/event-stream\r\n\r\n").encode()
        for number in range(count):
            one = socket.socket()
            one.bind((f"127.0.0.{2 + number // 5000}", 0))
            one.connect(("127.0.0.1", port))
            one.sendall(head)
            one.setblocking(False)
            self.sockets.append(one)
            self.seen[one] = b""
            self.selector.register(one, selectors.EVENT_READ)
            if number % 200 == 0:
                self.read(0)

    def read(self, seconds):
        end = time.monotonic() + seconds
        while True:
            for key, _ in self.selector.select(max(0, min(0.1, end - time.monotonic()))):
                chunk = key.fileobj.recv(65536)
                assert chunk, "a stream was closed"
                self.seen[key.fileobj] += chunk
            if time.monotonic() >= end:
                return

    def wait_all(self, word, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.05)
            if all(word in data for data in self.seen.values()):
                return
        missing = sum(word not in data for data in self.seen.values())
        raise AssertionError(f"{missing} streams have not seen {word} within {seconds} s")

    def forget(self):
        for one in self.seen:
            self.seen[one] = b""

    def close(self):
        for one in self.sockets:
            one.close()


@pytest.mark.parametrize("memory,limit", [("8K", 120), ("16K", 210)])
def test_ten_thousand_streams(make_stack, pages, memory, limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < STREAMS + 500:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stack = make_stack(workers=1, server=f'worker_connections = {STREAMS + 1000}; '
                                         f'connection_memory = "{memory}"; backlog = 4096;')
    client = stack.client().sign_up()
    worker = next(iter(stack.children("worker")))

    def calm_request():
        began = time.monotonic()
        assert client.get("/api/bookmarks").status_code == 200
        return time.monotonic() - began
    before = sorted(calm_request() for _ in range(50))[25]
    streams = Streams(stack.port, client.token, STREAMS)
    try:
        streams.wait_all(b"system.connected", 60)
        used = pss_mb(worker)
        with_streams = sorted(calm_request() for _ in range(50))[25]
        streams.forget()
        client.save(pages.put("/x", article("X", "word " * 60)))
        began = time.monotonic()
        streams.wait_all(b"bookmark.pipeline.analysis.completed", 30)
        took = time.monotonic() - began
    finally:
        streams.close()
    print(f"connection_memory {memory}: {used:.0f} MB PSS with {STREAMS} streams; a list "
          f"{before * 1000:.1f} -> {with_streams * 1000:.1f} ms; all events at all after {took:.2f} s")
    assert with_streams < max(before * 3, 0.02)
    assert used < limit
