"""Several servers on one database and one Redis are one service."""

import re
import time

import pytest
import requests

from services import wait_until
from stack import HIGH_LIMITS, PASSWORD, Client, Stream


def owner_of(connection, lock="rq:scheduler-lock:default"):
    value = connection.get(lock)
    return value.decode() if value else None


def test_servers_that_start_together_migrate_once(make_servers, postgres):
    servers = make_servers(3, start=False, workers=1, consumers=0)
    name = servers[0].database + "_empty"
    postgres.create(name)
    for server in servers:
        server.database = name
        server.start(wait=False)
    for server in servers:
        server.wait_ready()
    applied = [re.findall(r"migrate: applying (\S+)", server.log_text()) for server in servers]
    everything = [file for files in applied for file in files]
    known = [row[0] for row in servers[0].sql("SELECT name FROM schema_migrations ORDER BY number")]
    assert sorted(everything) == known and len(known) > 3, applied
    assert len({server.client().sign_up().user["id"] for server in servers}) == 3
    # Who looks after the queues is one of them; when that one stops, another.
    connection = servers[0].redis
    leader = wait_until(lambda: owner_of(connection), 20, "one leads")
    pid = int(connection.hget(f"rq:scheduler:{leader}", "pid"))
    [home] = [server for server in servers if pid in server.children("scheduler")]
    home.stop()
    wait_until(lambda: owner_of(connection) not in (None, leader), 20, "another one leads")


@pytest.fixture
def trio(make_servers):
    """Two machines for the web, and one that works off the jobs of both."""
    web = {"consumers": 0, "jobs": "scheduler = false;"}
    return make_servers(3, workers=1, differ=[web, web, {"workers": 0, "consumers": 2}],
                        limits=HIGH_LIMITS.replace('check_username = "1000000/1m"',
                                                   'check_username = "4/1h"'))


def test_one_service_whichever_server_is_asked(trio, pages):
    pages.put("/page", "<title>A page</title><p>some words")
    one, two, worker = trio
    first = one.client().sign_up()
    second = two.client().log_in(first.user["username"])
    with pytest.raises(requests.ConnectionError):
        worker.client().get("/health/liveness", timeout=5)
    # A stream on one of them hears of what another one saved and a third one worked off.
    stream = Stream(second)
    assert stream.next()[0] == "system.connected"
    number = first.save(pages.url("/page"))
    frames = stream.until("bookmark.pipeline.analysis.completed", 30)
    assert {frame[2]["bookmark_id"] for frame in frames} == {number}
    stream.close()
    # What one changes is in nobody's cache.
    for round_number in range(5):
        assert second.get("/api/bookmarks").json()["total"] == 1 + round_number
        assert first.get("/api/bookmarks").json()["total"] == 1 + round_number
        (first, second)[round_number % 2].save(f"http://127.0.0.1:9/{round_number}")
    name = first.user["username"] + "x"
    assert first.post("/api/auth/update-username", json={"new_username": name}).status_code == 200
    assert second.get("/api/auth/verify").json()["user"]["username"] == name
    # A limit is one over both.
    seen = [Client(server.url).post("/api/auth/check-username", json={"username": "somebody"}).status_code
            for server in (one, two, one, two, one, two)]
    assert seen == [200] * 4 + [429] * 2
    # A logout here is one there, as is a changed password for all other sessions.
    other = two.client().log_in(first.user["email"])
    assert second.post("/api/auth/logout").status_code == 200
    token = {"Authorization": f"Bearer {second.token}"}
    wait_until(lambda: requests.get(one.url + "/api/bookmarks", headers=token, timeout=10).status_code == 401,
               10, "the token is good nowhere any more")
    changed = first.post("/api/auth/set-password",
                         json={"current_password": PASSWORD, "new_password": PASSWORD + "2"})
    assert changed.status_code == 200, changed.text
    wait_until(lambda: other.get("/api/bookmarks").status_code == 401, 10, "the other session has ended")
    assert first.get("/api/bookmarks").status_code == 200


def test_another_secret_is_told(make_servers):
    """Both would work, and each refuse the other's tokens."""
    one, two = make_servers(2, start=False, workers=1, consumers=0)
    one.start()
    assert "is not what server" not in one.log_text()
    two.environ["FORKMARK_CONFIG"] = ""
    two.write_config()
    text = open(two.config, encoding="utf-8").read()
    two.write_config = lambda **_: open(two.config, "w", encoding="utf-8").write(
        text.replace("test-jwt-secret", "another-jwt-secret"))
    two.start()
    log = two.log_text()
    assert "auth.jwt_secret is not what server" in log and "refused by the other" in log
    assert "auth.secret_key is not" not in log
    assert "another-jwt-secret" not in log and "test-jwt-secret" not in log
    assert "another-jwt-secret" not in str(two.sql("SELECT * FROM deployment"))
    # And it is so: this is why.
    token = one.client().sign_up().token
    assert requests.get(two.url + "/api/bookmarks", timeout=10,
                        headers={"Authorization": f"Bearer {token}"}).status_code == 401
    # The other one hears of it at its next reload, once.
    one.reload(server='request_timeout = "20s";')
    wait_until(lambda: "auth.jwt_secret is not what server" in one.log_text(), 20, "a warning")
    time.sleep(0.1)
