"""nginx and HAProxy, with the files of config/, in front of two servers."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from balancer import BEHIND, HOST, HAProxy, Nginx
from load import Load
from services import Postgres, wait_until
from stack import HIGH_LIMITS, Stream

JSON_LOG = 'access = true; format = "json";'
ASK = ("GET {path} HTTP/1.1\r\nHost: " + HOST + "\r\nConnection: close\r\n{headers}\r\n")


@pytest.fixture(params=[Nginx, HAProxy], ids=["nginx", "haproxy"])
def kind(request):
    return request.param


@pytest.fixture
def behind(kind):
    return BEHIND[kind]


@pytest.fixture
def servers(make_servers, behind):
    return make_servers(2, workers=1, consumers=1, server=behind, log=JSON_LOG,
                        limits=HIGH_LIMITS.replace('login = "1000000/1m"', 'login = "5/15m"'))


def access_line(servers, name):
    """Who answered the request of that id, and what the access log says of it."""
    def look():
        for server in servers:
            for line in server.log_text().splitlines():
                if f'"request_id":"{name}"' in line:
                    return server, json.loads(line)
        return None
    return wait_until(look, 10, f"a line of {name}")


def read_all(connection):
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except (ConnectionError, ssl.SSLError):
        pass
    return answer.decode("latin-1")


def ask(balancer, path="/health/liveness", source="127.0.0.9", **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    with balancer.connect(source) as connection:
        connection.sendall(ASK.format(path=path, headers=lines).encode())
        return read_all(connection)


def direct(server, data, source):
    with socket.create_connection(("127.0.0.1", server.port), 20, source_address=(source, 0)) as connection:
        connection.sendall(data)
        return read_all(connection)


FORGED = {"X_Forwarded_For": "192.0.2.66", "X_Forwarded_Proto": "http", "Forwarded": "for=192.0.2.66",
          "CF_Connecting_IP": "192.0.2.66", "X_Real_IP": "192.0.2.66"}


def test_address_scheme_and_request_id_are_the_clients(make_balancer, kind, servers):
    balancer = make_balancer(kind, servers)
    assert " 200 " in ask(balancer, X_Request_ID="mine-1", **FORGED)
    _, line = access_line(servers, "mine-1")
    assert (line["client_ip"], line["scheme"]) == ("127.0.0.9", "https"), line
    # An id that forkmark would not take is replaced, and is the same in both logs.
    answer = ask(balancer, X_Request_ID="no good", **FORGED)
    made = re.search(r"(?i)x-request-id: (\S+)", answer).group(1)
    assert "no" != made and access_line(servers, made)[1]["client_ip"] == "127.0.0.9"
    wait_until(lambda: made in balancer.access_log(), 10, "the balancer's log has it as well")
    # A limit counts clients, whatever they call themselves.
    body = json.dumps({"email": "nobody@example.com", "password": "Passw0rd!x"})
    seen = []
    for number in range(7):
        with balancer.connect("127.0.0.10") as connection:
            connection.sendall((f"POST /api/auth/login HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
                                f"X-Forwarded-For: 192.0.2.{number}\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
            seen.append(read_all(connection).split()[1])
    assert seen == ["401"] * 5 + ["429"] * 2  # over both servers


def test_whoever_goes_around_the_balancer_is_not_believed(servers, kind):
    request = ASK.format(path="/health/liveness", headers="X-Forwarded-For: 192.0.2.66\r\n"
                         "X-Forwarded-Proto: https\r\nX-Request-ID: around\r\n").encode()
    assert " 200 " in direct(servers[0], request, "127.0.0.5")
    _, line = access_line(servers, "around")
    assert (line["client_ip"], line["scheme"]) == ("127.0.0.5", "http"), line
    if kind is HAProxy:
        for header in (b"PROXY TCP4 192.0.2.66 10.0.0.1 4711 80\r\n",
                       b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x42\x0a\0\0\1\x12\x67\0\x50"):
            assert " 200 " not in direct(servers[0], header + request.replace(b"around", b"forged"), "127.0.0.5")
        time.sleep(0.2)
        assert "192.0.2.66" not in servers[0].log_text()


def test_behind_cloudflare_its_word_counts_and_nobody_elses(make_balancer, kind, servers):
    balancer = make_balancer(kind, servers, trusts="127.0.0.7/32")
    for name, source, client in (("by-cloudflare", "127.0.0.7", "192.0.2.66"),
                                 ("by-another", "127.0.0.9", "127.0.0.9")):
        assert " 200 " in ask(balancer, source=source, X_Request_ID=name, **FORGED)
        _, line = access_line(servers, name)
        assert (line["client_ip"], line["scheme"]) == (client, "https"), line


def test_http_2_redirect_limits_and_streams(make_balancer, kind, servers):
    balancer = make_balancer(kind, servers)
    with balancer.connect(alpn=("h2", "http/1.1")) as connection:
        assert connection.selected_alpn_protocol() == "h2"
    # A whole session over HTTP/2.
    curl = subprocess.run(["curl", "-sS", "--http2", "--cacert", balancer.certificate,
                           "-w", "%{http_version} %{http_code}", "-o", os.devnull,
                           f"{balancer.url}/api/health"], capture_output=True, text=True, check=False)
    assert curl.stdout == "2 200", curl
    with socket.create_connection(("127.0.0.1", balancer.plain_port), 10) as connection:
        connection.sendall(ASK.format(path="/x?y=1", headers="").encode())
        answer = read_all(connection)
    assert " 308 " in answer.split("\r\n")[0] and f"https://{HOST}/x?y=1" in answer
    client = balancer.client().sign_up()
    # What is too much for forkmark is forkmark's to say.
    large = client.post("/api/bookmarks", data=b'{"url":"' + b"x" * (1 << 20) + b'"}',
                        headers={"Content-Type": "application/json", "Origin": "http://localhost:3000"})
    assert large.status_code == 413 and large.json()["error"] == "payload_too_large"
    assert large.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert client.get("/api/bookmarks", headers={"X-Padding": "x" * 6000}).status_code == 200
    # Frames arrive as they are written, and the token in the query is in nobody's log.
    watcher = balancer.client()
    watcher.log_in(client.user["username"])
    token = watcher.headers.pop("Authorization").split()[1]
    stream = Stream(watcher, token=token)
    assert stream.next()[0] == "system.connected"
    number = client.save("http://127.0.0.1:9/streamed")
    frames = stream.until("bookmark.pipeline.scraping.started")
    assert frames[-1][2]["bookmark_id"] == number
    stream.close()
    assert token not in balancer.access_log()


def test_the_numbers_are_for_nobody_outside(make_balancer, kind, servers):
    """However it is spelled: what forkmark takes for /metrics, and what it might."""
    balancer = make_balancer(kind, servers)
    paths = [f"{path}{query}" for query in ("", "?", "?x=1", "?/") for path in (
        "/metrics", "/metrics/", "//metrics", "/metrics//", "//metrics/", "/%6detrics", "/%6Detrics/", "/metrics%2F",
        "/metrics/.", "/./metrics", "/x/../metrics/", "/metrics;", "/METRICS")]
    proxys = [f"{scheme}://{HOST}{rest}" for scheme in ("http", "https", "HTTPS") for rest in (
        "/metrics", "/metrics/", "/metrics/?x", "//metrics", "?/metrics", "?/metrics/", "#/metrics")]
    assert not [target for target in paths + proxys if "forkmark_" in ask(balancer, target)]
    curl = subprocess.run(["curl", "-sS", "--http2", "--path-as-is", "--cacert", balancer.certificate,
                           "-w", "%{http_version} %{http_code}\n", *(balancer.url + path for path in paths)],
                          capture_output=True, text=True, check=True)
    assert curl.stdout.count("2 404") >= 8 and "forkmark_" not in curl.stdout
    # Where it is allowed, the same question is answered.
    for path in ("/metrics", "/metrics/"):
        assert "forkmark_" in direct(servers[0], ASK.format(path=path, headers="").encode(), "127.0.0.9")


def stop_and_look(load, server, number):
    """Ends that server under load, and waits until the other one has served alone a while."""
    wait_until(lambda: sum(load.answers.values()) > 100, 30, "a load")
    moment = time.monotonic()
    server.master.signal(number)
    wait_until(lambda: not server.master.is_running(), 60, "it has ended")
    ended = time.monotonic()
    count = sum(load.answers.values())
    wait_until(lambda: sum(load.answers.values()) > count + 200, 60, "the other one serves")
    return moment, ended


def check_saved(server, load):
    found = {url for (url,) in server.sql("SELECT url FROM saved_content")}
    assert set(load.saved) <= found
    # Nothing twice: each URL is one row, whatever was retried.
    assert len(found) == server.sql("SELECT count(*) FROM saved_content")[0][0]


def test_a_server_that_is_stopped_loses_nothing(make_balancer, kind, servers):
    balancer = make_balancer(kind, servers)
    client = balancer.client().sign_up()
    load = Load(client, connections=8, save_every=4)
    stop_and_look(load, servers[1], signal.SIGTERM)
    # Back again, it gets its share.
    servers[1].start()
    wait_until(lambda: servers[1].log_text()[servers[1].log_begins:].count("/api/bookmarks") > 20, 60,
               "it is asked again")
    load.stop()
    assert not load.unanswered and not load.refused, (load.unanswered[:3], load.refused[:3], load.answers)
    check_saved(servers[1], load)


def test_a_server_that_is_killed_fails_what_it_had_and_no_more(make_balancer, kind, servers):
    balancer = make_balancer(kind, servers)
    client = balancer.client().sign_up()
    load = Load(client, connections=8, save_every=3)
    moment, ended = stop_and_look(load, servers[1], signal.SIGKILL)
    load.stop()
    failed = load.unanswered + load.refused
    # Reads were asked again elsewhere. A save that was under way then may or may not have
    # been done, and nobody did it again.
    assert all(method == "POST" for _, _, method, _ in failed), failed
    # A balancer needs a moment to see that a kept connection has ended.
    assert all(began <= ended + 0.1 and end >= moment - 0.1 for began, end, _, _ in failed), (failed, moment, ended)
    assert len(failed) <= 8
    assert all(what in (502, 504) for _, _, _, what in load.refused), failed
    print(f"{load.answers}, failed at the kill: {failed}")
    check_saved(servers[0], load)


def test_haproxy_sends_nothing_more_once_readiness_says_no(make_balancer, make_servers):
    """What the notice is for: requests end before the drain begins."""
    servers = make_servers(2, workers=1, log=JSON_LOG, server=(
        'proxy_protocol = true; proxy_allow_ips = [ "127.0.0.1" ]; forwarded_allow_ips = [ ];'
        'drain_delay = "10s";'))
    balancer = make_balancer(HAProxy, servers)
    client = balancer.client().sign_up()
    load = Load(client, connections=4, save_every=0)
    wait_until(lambda: sum(load.answers.values()) > 50, 30, "a load")
    servers[1].master.signal(signal.SIGTERM)
    wait_until(lambda: re.search(r"Server forkmark/more0 is DOWN", balancer.log_text()), 9, "it is taken out")
    assert "draining" not in servers[1].log_text()
    lines = servers[1].log_text().count("/api/bookmarks")
    time.sleep(1)
    assert servers[1].log_text().count("/api/bookmarks") <= lines + 4  # what was under way
    load.stop()
    assert not load.unanswered and not load.refused


@pytest.fixture
def own_postgres(folder):
    """One that may be stopped."""
    server = Postgres(os.path.join(folder, "pg"))
    yield server
    server.stop()


def test_without_the_database_the_answers_are_forkmarks(own_postgres, make_balancer, make_servers, kind, behind):
    servers = make_servers(2, start=False, workers=1, consumers=0, server=behind, pooler=None)
    own_postgres.create(servers[0].database)
    for server in servers:
        server.postgres = own_postgres
    servers[0].start()  # which migrates
    servers[1].start()
    balancer = make_balancer(kind, servers)
    client = balancer.client().sign_up()
    client.headers["Origin"] = "http://localhost:3000"
    client.save("http://127.0.0.1:9/before")
    cached = [client.get("/api/bookmarks?per_page=5").json() for _ in range(3)][-1]
    own_postgres.stop()

    def all_say(status):
        return all(server.client().get("/health/readiness").status_code == status for server in servers)
    wait_until(lambda: all_say(503), 30, "the servers have noticed")
    if kind is HAProxy:
        for name in ("one", "more0"):
            wait_until(lambda n=name: f"Server forkmark/{n} is DOWN" in balancer.log_text(), 30, f"{name} is down")
    # What needs no database is served; what does says so, as without a balancer.
    assert client.get("/health/liveness").status_code == 200
    assert client.get("/api/bookmarks?per_page=5").json() == cached
    ready = client.get("/health/readiness")
    assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
    for answer in (client.post("/api/bookmarks", json={"url": "http://127.0.0.1:9/meanwhile"}),
                   client.post("/api/auth/login", json={"email": "somebody", "password": "Passw0rd!x"})):
        assert answer.status_code == 503 and answer.headers["Content-Type"].startswith("application/json"), answer.text
        assert answer.json().keys() & {"error", "message"} and int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    own_postgres.start()
    wait_until(lambda: all_say(200), 60, "the servers have it again")
    client.save("http://127.0.0.1:9/after")
    urls = {row["url"] for row in client.get("/api/bookmarks").json()["bookmarks"]}
    assert urls == {"http://127.0.0.1:9/before", "http://127.0.0.1:9/after"}
