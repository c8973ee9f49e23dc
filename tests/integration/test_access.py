"""Who may pass: where a token is found, what refuses it, limits, and life without Redis."""

import base64
import hashlib
import hmac
import json
import signal
import time
import uuid
from contextlib import closing

import pytest
import requests

from services import wait_until

REQUIRED = {"message": "Access token required", "error": "authorization_required"}
EXPIRED = {"message": "Token has expired", "error": "token_expired"}
INVALID = {"message": "Signature verification failed", "error": "invalid_token"}
REVOKED = {"message": "Token has been revoked", "error": "token_revoked"}
NO_BACKEND = {"message": "Service temporarily unavailable", "error": "auth_backend_unavailable"}
TOO_MANY = "Too many requests. Please slow down and try again later."
LIST = "/api/bookmarks"


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def sign(claims, secret="test-jwt-secret"):
    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    text = (encode(b'{"alg":"HS256","typ":"JWT"}') + "." +
            encode(json.dumps(claims, separators=(",", ":")).encode()))
    return text + "." + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def changed(token, **changes):
    return sign({**claims_of(token), **changes})


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def cookie(token, **headers):
    return {"Cookie": f"access_token_cookie={token}", **headers}


def ask(stack, headers, method="get", path=LIST, **options):
    """Without a session, so that nothing but `headers` is sent."""
    return requests.request(method, stack.url + path, headers=headers, timeout=10, **options)


def shown(answer):
    return answer.status_code, answer.json()


def test_where_a_token_is_found(stack):
    token = stack.client().sign_up().token
    csrf = claims_of(token)["csrf"]
    other = stack.client().sign_up().token

    assert ask(stack, bearer(token)).status_code == 200
    assert ask(stack, {"Authorization": f"bearer  {token} \t"}).status_code == 200
    assert ask(stack, cookie(token)).status_code == 200
    assert ask(stack, cookie(token), method="head").status_code == 200
    # Another scheme is no token at all; a bad Bearer token is one, and the cookie is not tried.
    assert ask(stack, {**cookie(token), "Authorization": "Basic YTpi"}).status_code == 200
    assert shown(ask(stack, {**cookie(token), **bearer("rubbish")})) == (401, INVALID)
    # The header wins.
    answer = ask(stack, {**cookie(other), **bearer(token)}, path="/api/auth/verify")
    assert answer.json()["user"]["id"] == int(claims_of(token)["sub"])

    page = {"json": {"url": "http://example.org/" + uuid.uuid4().hex}, "method": "post"}
    assert shown(ask(stack, cookie(token), **page)) == (401, REQUIRED)
    assert shown(ask(stack, cookie(token, **{"X-CSRF-TOKEN": "wrong"}), **page)) == (401, REQUIRED)
    assert ask(stack, cookie(token, **{"X-CSRF-TOKEN": csrf}), **page).status_code == 201
    wrong = {**bearer(token), "X-CSRF-TOKEN": "wrong"}
    assert ask(stack, wrong, **page).status_code in (200, 201)


def test_what_is_refused(stack):
    token = stack.client().sign_up().token
    now = int(time.time())
    refresh = changed(token, type="refresh")
    cases = [
        ({}, REQUIRED),
        (bearer(""), INVALID),
        (bearer("null"), INVALID),
        (bearer(token[:-2] + ("AA" if token[-2:] != "AA" else "BB")), INVALID),
        (bearer(sign(claims_of(token), secret="another")), INVALID),
        (bearer(refresh), INVALID),
        (cookie(refresh), INVALID),
        (bearer(changed(token, exp=now - 1)), EXPIRED),
        (cookie(changed(token, exp=now - 1)), EXPIRED),
        (bearer(changed(token, family_id=str(uuid.uuid4()))), REVOKED),
        (bearer(changed(token, sub="2147483647")), REVOKED),
    ]
    for headers, body in cases:
        assert shown(ask(stack, headers)) == (401, body), headers


def test_the_streams_ways_in(stack):
    client = stack.client().sign_up()
    token, path = client.token, "/api/realtime/stream"
    late = changed(token, exp=int(time.time()) - 1)
    none = {"message": "Authentication required for SSE stream"}

    def enter(headers, query=None):
        answer = ask(stack, headers, path=path, stream=True,
                     params={"token": query} if query else None)
        status = answer.status_code
        body = answer.json() if status != 200 else None
        answer.close()
        return status, body

    assert enter({}, token) == (200, None)
    assert enter(bearer(token)) == (200, None)
    assert enter(cookie(token)) == (200, None)
    # A stale cookie does not stand in the way of a good token.
    assert enter(cookie(late), token) == (200, None)
    assert enter(cookie(token), late) == (200, None)
    assert enter({}) == (401, none)
    assert enter({}, late) == (401, none)
    assert enter({}, "rubbish") == (401, none)
    assert enter(bearer(late), token) == (401, EXPIRED)
    assert shown(ask(stack, {}, params={"token": token})) == (401, REQUIRED)
    assert token not in stack.log_text()


def test_logout_is_known_everywhere_at_once(make_stack):
    stack = make_stack(workers=3)
    client = stack.client().sign_up()
    headers = client.headers["Authorization"]
    for _ in range(20):
        assert ask(stack, {"Authorization": headers}).status_code == 200
    assert client.post("/api/auth/logout").status_code == 200
    for _ in range(20):
        assert shown(ask(stack, {"Authorization": headers})) == (401, REVOKED)
    # Redis forgets; the database does not.
    stack.redis.flushall()
    for _ in range(6):
        assert shown(ask(stack, {"Authorization": headers})) == (401, REVOKED)


def test_limits(make_stack):
    stack = make_stack(limits='standard = "40/1h,5/1m"; login = "3/15m"; register = "1000/1h";')
    token = stack.client().sign_up().token
    other = stack.client().sign_up().token

    for left in (4, 3, 2, 1, 0):
        answer = ask(stack, bearer(token))
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Limit"] == "5"
        assert answer.headers["X-RateLimit-Remaining"] == str(left)
        assert 0 <= int(answer.headers["X-RateLimit-Reset"]) - time.time() < 61
        assert "Retry-After" not in answer.headers
    answer = ask(stack, bearer(token))
    assert shown(answer) == (429, {"error": "rate_limit_exceeded", "message": TOO_MANY,
                                   "retry_after": "5 per 1 minute"})
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    # Another route, another user from the same address: counted apart.
    assert ask(stack, bearer(token), path="/api/dashboard/stats").status_code in (200, 404)
    assert ask(stack, bearer(other)).status_code == 200
    # Never limited.
    for path in ("/health/liveness", "/api/health"):
        for _ in range(8):
            answer = ask(stack, {}, path=path)
            assert answer.status_code == 200
            assert "X-RateLimit-Limit" not in answer.headers
    for _ in range(8):
        assert ask(stack, bearer(token), path="/api/auth/verify").status_code == 200
    # Two logins were made above.
    body = {"json": {"email": "nobody", "password": "x"}, "path": "/api/auth/login"}
    assert ask(stack, {}, method="post", **body).status_code == 401
    answer = ask(stack, {}, method="post", **body)
    assert shown(answer)[1]["retry_after"] == "3 per 15 minute"
    assert answer.status_code == 429
    # Without a usable token the address counts.
    for _ in range(5):
        assert ask(stack, bearer("rubbish")).status_code == 401
    assert ask(stack, bearer("rubbish")).status_code == 429


def test_the_client_behind_a_proxy(make_stack):
    stack = make_stack(limits='login = "1/15m";',
                       server='forwarded_allow_ips = [ "127.0.0.1", "10.0.0.0/8" ];')
    body = {"json": {"email": "nobody", "password": "x"}, "path": "/api/auth/login",
            "method": "post"}

    def knock(forwarded):
        return ask(stack, {"X-Forwarded-For": forwarded} if forwarded else {}, **body).status_code

    assert [knock("192.0.2.1"), knock("192.0.2.1")] == [401, 429]
    # What the client itself wrote, further left, changes nothing.
    assert knock("198.51.100.9, 192.0.2.1") == 429
    assert knock("192.0.2.2, 10.0.0.5") == 401
    assert knock("198.51.100.9, 192.0.2.2, 10.0.0.6") == 429
    assert [knock(None), knock(None)] == [401, 429]


def test_limits_can_be_off(make_stack):
    stack = make_stack(limits='enabled = false; standard = "1/1h";')
    token = stack.client().sign_up().token
    for _ in range(4):
        answer = ask(stack, bearer(token))
        assert answer.status_code == 200
        assert "X-RateLimit-Limit" not in answer.headers


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_without_redis(make_stack, how):
    stack = make_stack(workers=1, limits='standard = "3/1h";')
    first = stack.client().sign_up()
    second = stack.client().sign_up()
    if how == "killed":
        stack.redis_server.stop(signal.SIGKILL)
    else:
        stack.redis_server.server.signal(signal.SIGSTOP)

    # Limits fail open, tokens are looked up in PostgreSQL.
    slowest = 0
    for _ in range(10):
        before = time.time()
        answer = ask(stack, bearer(first.token))
        slowest = max(slowest, time.time() - before)
        assert answer.status_code == 200
        assert "X-RateLimit-Limit" not in answer.headers
    assert slowest < 1
    assert second.post("/api/auth/logout").status_code == 200
    assert shown(ask(stack, bearer(second.token))) == (401, REVOKED)

    if how == "killed":
        stack.redis_server.start()
    else:
        stack.redis_server.server.signal(signal.SIGCONT)
    wait_until(lambda: "X-RateLimit-Limit" in ask(stack, bearer(first.token)).headers, 5,
               "limits count again")
    assert shown(ask(stack, bearer(second.token))) == (401, REVOKED)


def test_without_redis_and_postgres(make_stack):
    stack = make_stack(workers=1)
    client = stack.client().sign_up()
    stack.redis_server.stop(signal.SIGKILL)
    with closing(stack.postgres.connect("postgres")) as connection:
        cursor = connection.cursor()
        cursor.execute(f'ALTER DATABASE "{stack.database}" ALLOW_CONNECTIONS false')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       " WHERE datname = %s", (stack.database,))
    answer = ask(stack, bearer(client.token))
    assert shown(answer) == (503, NO_BACKEND)
    assert int(answer.headers["Retry-After"]) >= 1
    # What a signature alone can refuse is still refused.
    assert shown(ask(stack, bearer("rubbish"))) == (401, INVALID)
