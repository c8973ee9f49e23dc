"""What is served without a token: the page, probes, metrics, and the limits of a request."""

import os
import re
import signal
import socket
import time

from services import wait_until


def raw(stack, data, seconds=5):
    """Everything the server says to these bytes until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass  # a server that closes on unread bytes resets
        return answer


def test_the_built_in_page(stack):
    client = stack.client()
    page = client.get("/")
    assert page.status_code == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    again = client.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304 and again.content == b""
    for name in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert client.get(name).status_code == 200, name
    assert client.get("/main.js").headers["Content-Type"].startswith("text/javascript")
    assert client.get("/nothing").json() == {"message": "Not found", "error": "not_found"}
    assert client.head("/").headers["Content-Length"] == str(len(page.content))


def test_a_static_folder(make_stack, folder):
    web = os.path.join(folder, "web")
    os.makedirs(os.path.join(web, "assets"))
    for name, text in (("index.html", "<title>app</title>"), ("sw.js", "// worker"),
                       ("assets/a.1234.js", "1"), (".env", "secret")):
        with open(os.path.join(web, name), "w", encoding="utf-8") as file:
            file.write(text)
    with open(os.path.join(folder, "outside"), "w", encoding="utf-8") as file:
        file.write("outside")
    os.chmod(folder, 0o755)
    stack = make_stack(server=f'static_dir = "{web}";')
    client = stack.client()
    assert client.get("/").text == "<title>app</title>"
    assert "no-store" in client.get("/").headers["Cache-Control"]
    assert "no-store" in client.get("/sw.js").headers["Cache-Control"]
    asset = client.get("/assets/a.1234.js")
    assert asset.text == "1" and "immutable" in asset.headers["Cache-Control"]
    assert client.get("/assets/a.1234.js", headers={"If-None-Match": asset.headers["ETag"]}).status_code == 304
    assert client.get("/bookmarks/17?x=1").text == "<title>app</title>"  # the app routes by itself
    for path in (b"/.env", b"/../outside", b"/%2e%2e/outside", b"/..%2foutside", b"/assets/../../outside", b"/assets"):
        answer = raw(stack, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"secret" not in answer and b"outside" not in answer and b"<title>app" in answer, path
    assert client.get("/api/nothing").status_code == 404
    assert client.post("/anything").status_code == 404


def test_probes(stack, redis_server):
    client = stack.client()
    alive = client.get("/health/liveness").json()
    assert alive["status"] == "alive" and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", alive["timestamp"])
    assert client.get("/api/health/readiness").json() == {"status": "ready", "database": "ready", "redis": "ready"}
    health = client.get("/api/health").json()
    assert health["status"] == "healthy" and health["redis"]["connected"] is True
    queue = client.get("/health/queue").json()
    assert queue["status"] == "connected" and queue["active_workers"] == 1
    assert client.get("/api/health/redis").json()["connected"] is True
    assert client.get("/api/health/database").json() == {"status": "healthy", "service": "database"}

    redis_server.stop()
    wait_until(lambda: client.get("/health/readiness").json() ==
               {"status": "degraded", "database": "ready", "redis": "unhealthy"}, 5, "degraded")
    assert client.get("/health/readiness").status_code == 200
    health = client.get("/api/health")
    assert health.status_code == 200 and health.json()["status"] == "degraded"
    assert client.get("/health/queue").status_code == 503


def test_metrics_add_up(make_stack):
    stack = make_stack(workers=2, more='metrics: { auth_token = "letmein"; };')
    client = stack.client()
    assert client.get("/metrics").json() == {"message": "Unauthorized"}
    client.headers["Authorization"] = "Bearer letmein"

    def total():
        text = client.get("/metrics").text
        return int(re.search(r"^forkmark_http_requests_total (\d+)$", text, re.M).group(1))

    before = total()
    for _ in range(50):
        stack.client().get("/health/liveness")
    assert 50 <= total() - before <= 53
    text = client.get("/metrics").text
    assert 'forkmark_rq_queue_depth{queue="default"} 0' in text
    assert 'forkmark_http_request_duration_seconds_bucket{le="+Inf"}' in text


def test_streams_end_with_a_drain_and_no_token_is_logged(stack):
    client = stack.client().sign_up()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as stream:
        stream.sendall(b"GET /api/realtime/stream?token=" + client.token.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while b"system.connected" not in answer:
            answer += stream.recv(65536)
        began = time.monotonic()
        stack.master.signal(signal.SIGTERM)
        while part := stream.recv(65536):
            answer += part
    assert answer.endswith(b"0\r\n\r\n") and time.monotonic() - began < 3
    assert stack.master.wait(20) == 0
    assert client.token not in stack.log_text() and "/api/realtime/stream" in stack.log_text()


def test_slow_and_broken_clients(make_stack):
    stack = make_stack(server='header_timeout = "1s"; body_timeout = "1s"; keepalive = "1s";')
    for begin in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n",
                  b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"):
        began = time.monotonic()
        raw(stack, begin, seconds=6)
        assert time.monotonic() - began < 4, begin
    answer = raw(stack, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 1)
    assert b" 200 " not in answer
    raw(stack, b"\0\1\2 nonsense\r\n\r\n", 1)
    assert stack.client().get("/health/liveness").status_code == 200


def test_bodies_that_are_too_much(stack):
    client = stack.client()
    nested = b'{"a":' + b"[" * 10000 + b"]" * 10000 + b"}"
    for body in (nested, b'{"a":[' + b"0," * 30000 + b"0]}"):
        answer = client.post("/api/auth/login", data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["error"] == "invalid_json"
    answer = client.post("/api/auth/login", data=b"x" * 3_000_000)
    assert answer.status_code == 413 and answer.json()["error"] == "payload_too_large"
    assert answer.headers["Connection"] == "close"
    chunks = (b"x" * 65536 for _ in range(30))
    assert client.post("/api/auth/login", data=chunks).status_code == 413
    assert client.get("/health/liveness").status_code == 200


def test_a_unix_socket(make_stack, folder):
    path = os.path.join(folder, "http")
    stack = make_stack(start=False)
    stack.write_config()
    original = stack.write_config

    def with_socket(**changes):
        original(**changes)
        with open(stack.config, encoding="utf-8") as file:
            text = file.read()
        with open(stack.config, "w", encoding="utf-8") as file:
            file.write(text.replace('" ]; control', f'", "unix:{path}" ]; control'))

    stack.write_config = with_socket
    stack.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        for _ in range(3):
            connection.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
            assert b'"alive"' in connection.recv(65536)
    wait_until(lambda: "192.0.2.7" in stack.log_text(), 2, "a Unix-socket peer is trusted")
