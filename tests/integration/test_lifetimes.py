"""Requests that end in the middle of a wait: by their deadline, by their client, by a drain.

The sanitizer reads along: what a cancelled task leaves behind shows in the log.
"""

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import requests

from pages import article
from services import wait_until
from stack import PASSWORD, Stream

SHORT = dict(workers=1, database_more='pool_size = 2; max_overflow = 1; pool_timeout = "300ms";',
             server='request_timeout = "600ms"; graceful_timeout = 3;')


@contextmanager
def locked(stack, *tables):
    """Nobody else may as much as look at these tables."""
    with closing(stack.postgres.connect(stack.database)) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
        connection.rollback()


def calls_of(client, pages):
    """One of each kind of wait: a query, a transaction, a hash, a thread, a fetch, a stream."""
    token, name = client.token, client.user["username"]
    pages.put("/slow", article("Slow", "word " * 60), delay=2)
    last = {"token": token, "last_event_id": "evt_none"}
    return [
        ("get", "/api/bookmarks?search=a", {}),
        ("post", "/api/bookmarks", {"json": {"url": pages.url("/slow")}}),
        ("post", "/api/bookmarks/quick-save", {"json": {"url": pages.url("/slow") + "?2"}}),
        ("post", "/api/bookmarks/check-duplicate", {"json": {"url": pages.url("/slow")}}),
        ("post", "/api/bookmarks/extract-url", {"json": {"url": pages.url("/slow")}}),
        ("post", "/api/auth/login", {"json": {"email": name, "password": PASSWORD}}),
        ("post", "/api/auth/login", {"json": {"email": "nobody", "password": PASSWORD}}),
        ("post", "/api/auth/register", {"json": {"username": "new1", "email": "new1@example.com",
                                                 "password": PASSWORD}}),
        ("delete", "/api/bookmarks/1", {}),
        ("delete", "/api/bookmarks/all", {}),
        ("get", "/api/auth/verify", {}),
        ("get", "/api/search/text?q=a", {}),
        ("get", "/api/realtime/stream", {"params": last, "stream": True}),
        ("get", "/api/health", {}),
    ]


def knock(stack, client, call):
    method, path, options = call
    headers = {"Authorization": f"Bearer {client.token}"}
    answer = requests.request(method, stack.url + path, headers=headers, timeout=20, **options)
    answer.close()
    return answer.status_code


def metric(client, name):
    text = client.get("/metrics").text
    return [float(line.split()[1]) for line in text.splitlines() if line.startswith(f"forkmark_{name} ")]


def assert_nothing_is_held(stack, client):
    wait_until(lambda: metric(client, "database_connections_in_use") == [0], 5, "no connection is in use")
    wait_until(lambda: metric(client, "event_streams") == [0], 20, "no stream is left")
    assert stack.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                     " AND state LIKE 'idle in transaction%%' AND application_name LIKE 'forkmark-worker%%'") == [(0,)]


@pytest.fixture
def short(make_stack):
    return make_stack(**SHORT)


def test_requests_out_of_time_hold_nothing(short, pages):
    client = short.client().sign_up()
    worker = short.children("worker")
    calls = calls_of(client, pages)
    with ThreadPoolExecutor(len(calls) * 2) as pool:
        for _ in range(2):
            with locked(short, "saved_content", "users", "bookmark_events", "outbox"):
                began = time.monotonic()
                statuses = list(pool.map(lambda call: knock(short, client, call), calls * 2))
                assert time.monotonic() - began < 6
            # Nothing but "later", and what the pool or the page's own limit says.
            assert set(statuses) <= {200, 503}, statuses
            assert statuses.count(503) >= len(calls)
            assert_nothing_is_held(short, client)
            assert client.get("/api/bookmarks").status_code == 200
    assert short.children("worker") == worker
    assert short.client().log_in(client.user["username"])


def test_clients_that_leave_in_the_middle(short, pages):
    client = short.client().sign_up()
    worker = short.children("worker")
    head = f"Host: a\r\nAuthorization: Bearer {client.token}\r\n"
    body = f'{{"url": "{pages.url("/a")}"}}'
    starts = [
        f"GET /api/bookmarks?search=x HTTP/1.1\r\n{head}\r\n",
        f"POST /api/bookmarks HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}",
        f"POST /api/bookmarks HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body[:9]}",
        f"POST /api/bookmarks HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"ur",
        f"GET /api/realtime/stream?token={client.token}&last_event_id=x HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /api/realtime/stream?token={client.token} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /api/bookmarks HTTP/1.1\r\n{head}\r\n" * 5,  # pipelined
        "GET /api/bookmarks HTTP/1.1\r\nHost:",
    ]
    with locked(short, "saved_content", "bookmark_events"):
        for how in (0, 0.05, 0.3):
            for start in starts * 3:
                link = socket.create_connection(("127.0.0.1", short.port))
                link.sendall(start.encode())
                time.sleep(how / 10)
                if how:  # a reset instead of an end
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                link.close()
        time.sleep(0.8)
    assert_nothing_is_held(short, client)
    assert client.get("/api/bookmarks").status_code == 200
    assert short.children("worker") == worker


def test_a_drain_in_the_middle_answers_everyone(short, pages):
    short.reload(server="request_timeout = 60; graceful_timeout = 3;",
                 database_more="pool_size = 2; max_overflow = 1; pool_timeout = 60;")
    client = short.client().sign_up()
    # Not over the client's connection: the former worker holds it, until its drain is over.
    wait_until(lambda: len(short.children("worker")) == 1 and
               requests.get(short.url + "/health/readiness", timeout=20).ok, 10,
               "the new worker serves alone")
    calls = calls_of(client, pages)
    stream = Stream(client, token=client.token)
    assert stream.next()[0] == "system.connected"
    statuses = []

    def ask(call):
        try:
            statuses.append(knock(short, client, call))
        except requests.ConnectionError as error:
            statuses.append(str(error))

    threads = [threading.Thread(target=ask, args=(call,)) for call in calls]
    with locked(short, "saved_content", "users", "bookmark_events", "outbox"):
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        short.master.signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
    assert len(statuses) == len(calls) and set(statuses) <= {200, 503}, statuses
    assert 503 in statuses
    assert stream.next() is None, "the stream ended by its last chunk"
    assert short.master.wait(20) == 0


def test_redis_stands_still_in_the_middle(short, pages):
    client = short.client().sign_up()
    calls = [call for call in calls_of(client, pages) if "extract" not in call[1]]
    short.redis_server.server.signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda call: knock(short, client, call), calls * 2))
    finally:
        short.redis_server.server.signal(signal.SIGCONT)
    assert set(statuses) <= {200, 201, 401, 404, 409, 503}, statuses
    wait_until(lambda: "X-RateLimit-Limit" in client.get("/api/bookmarks").headers, 5, "Redis is used again")
    assert_nothing_is_held(short, client)
