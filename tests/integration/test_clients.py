"""What Fuze's two clients really send, in their order, and what they read of the answers."""

import json
import os
import socket
import time
import uuid
from contextlib import closing
from urllib.parse import quote

import pytest
import requests

from pages import article
from services import wait_until
from stack import PASSWORD, Stream

WEB = "http://localhost:5173"
EXTENSION = "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
FOREIGN = "https://evil.example.net"
ALLOWED = {"content-type", "authorization", "x-csrf-token", "x-request-id", "x-requested-with",
           "accept", "cache-control", "last-event-id"}
EXPOSED = {"x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
           "retry-after"}
NOT_FOUND = {"message": "Not found", "error": "not_found"}
WRONG_METHOD = {"message": "Method not allowed", "error": "method_not_allowed"}
INVALID_JSON = {"message": "Bad request", "error": "invalid_json"}
TOO_LARGE = {"message": "Request body too large", "error": "payload_too_large"}
REQUIRED = {"message": "Access token required", "error": "authorization_required"}


def words(text):
    return {word.strip().lower() for word in text.split(",")}


def call(stack, method, path, headers=None, **options):
    """One request with nothing in it but what is given, as a fresh tab would send it."""
    return requests.request(method, stack.url + path, headers=headers or {}, timeout=10, **options)


def web(token=None, **more):
    """The axios instance's habits: an origin, a fresh request id, and the token if it has one."""
    headers = {"Origin": WEB, "X-Request-ID": str(uuid.uuid4()), **more}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def extension(token, **more):
    return {"Origin": EXTENSION, "Authorization": f"Bearer {token}", **more}


def shown(answer):
    return answer.status_code, answer.json()


def cookies_of(answer):
    """name -> value, of a login or refresh"""
    lines = answer.raw.headers.getlist("Set-Cookie")
    return {line.split("=", 1)[0]: line.split("=", 1)[1].split(";")[0] for line in lines}


def jar_header(jar, *names):
    return "; ".join(f"{name}={jar[name]}" for name in names or jar)


def refresh(stack, jar, token=None):
    """Section 1.11: the cookies, their CSRF value, and the old access token as Bearer."""
    headers = web(token, **{"X-CSRF-TOKEN": jar["csrf_refresh_token"], "Cookie": jar_header(jar)})
    return call(stack, "post", "/api/auth/refresh", headers, json={})


def has_cors(answer, origin=WEB, credentials=True):
    headers = answer.headers
    return (headers.get("Access-Control-Allow-Origin") == origin
            and headers.get("Access-Control-Allow-Credentials") == ("true" if credentials else None)
            and "origin" in words(headers.get("Vary", ""))
            and words(headers.get("Access-Control-Expose-Headers", "")) == EXPOSED)


def raw(stack, data, seconds=5):
    """Bytes in, bytes out, until the connection closes. Libmicrohttpd answers what it cannot
    read and closes with the rest unread: then the answer may be lost to a reset."""
    answer = b""
    with closing(socket.create_connection(("127.0.0.1", stack.port), timeout=seconds)) as link:
        try:
            link.sendall(data)
            while piece := link.recv(65536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


def raw_status(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


@pytest.fixture
def ann(stack):
    """Registered and logged in as the web client does it: her answer to the login."""
    name = "ann" + uuid.uuid4().hex[:8]
    answer = call(stack, "post", "/api/auth/register", web(), json={
        "username": name, "email": f"{name}@example.com", "password": PASSWORD, "name": "Ann"})
    assert shown(answer) == (201, {"message": "User registered successfully"})
    assert "Set-Cookie" not in answer.headers
    answer = call(stack, "post", "/api/auth/login", web(),
                  json={"email": f"{name}@example.com", "password": PASSWORD})
    assert answer.status_code == 200 and has_cors(answer)
    assert answer.json()["user"] == {"id": answer.json()["user"]["id"], "username": name,
                                     "email": f"{name}@example.com"}
    answer.token, answer.jar = answer.json()["access_token"], cookies_of(answer)
    return answer


# ---- CORS ----

@pytest.mark.parametrize("path", ["/api/dashboard/summary", "/api/bookmarks", "/api/nothing", "/"])
def test_preflights_need_no_token_and_no_route(stack, path):
    ask = {"Access-Control-Request-Method": "GET",
           "Access-Control-Request-Headers": "authorization,x-request-id"}
    answer = call(stack, "options", path, {"Origin": WEB, **ask})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == WEB
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert words(answer.headers["Access-Control-Allow-Headers"]) == ALLOWED
    assert words(answer.headers["Access-Control-Allow-Methods"]) == {
        "get", "post", "put", "patch", "delete", "options"}
    assert answer.headers["Access-Control-Max-Age"] == "86400"
    assert answer.headers["Vary"] == "Origin"
    assert "X-RateLimit-Limit" not in answer.headers

    answer = call(stack, "options", path, {"Origin": EXTENSION, **ask})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == EXTENSION
    assert "Access-Control-Allow-Credentials" not in answer.headers

    for origin in (FOREIGN, "null", WEB + ".evil.example", "http://localhost:51733"):
        answer = call(stack, "options", path, {"Origin": origin, **ask})
        assert not [name for name in answer.headers if name.startswith("Access-Control-")], origin


def test_errors_and_streams_carry_cors_headers(make_stack):
    stack = make_stack(limits='standard = "4/1h"; register = "9/1h"; login = "9/1h";')
    client = stack.client().sign_up()
    deep = b"[" * 10000 + b"]" * 10000
    cases = [
        (401, call(stack, "get", "/api/bookmarks", web())),
        (401, call(stack, "get", "/api/realtime/stream", web())),
        (404, call(stack, "get", "/api/profile/none", web())),
        (405, call(stack, "put", "/api/bookmarks", web(client.token), json={})),
        (400, call(stack, "post", "/api/bookmarks", web(client.token), data=deep)),
        (413, call(stack, "post", "/api/auth/login", web(), data=b" " * (1 << 20) + b"{}")),
        (200, call(stack, "get", "/api/bookmarks", web(client.token))),
    ]
    for status, answer in cases:
        assert answer.status_code == status and has_cors(answer), (status, answer.headers)
    for _ in range(3):
        call(stack, "get", "/api/bookmarks", web(client.token))
    answer = call(stack, "get", "/api/bookmarks", web(client.token))
    assert answer.status_code == 429 and has_cors(answer)
    assert answer.json()["retry_after"] == "4 per 1 hour" and int(answer.headers["Retry-After"]) > 0

    answer = call(stack, "get", "/api/realtime/stream", {"Origin": WEB}, stream=True,
                  params={"token": client.token})
    assert answer.status_code == 200 and has_cors(answer)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    answer.close()
    answer = call(stack, "get", "/api/bookmarks", extension(client.token))
    assert answer.status_code == 429 and has_cors(answer, EXTENSION, credentials=False)
    answer = call(stack, "get", "/api/bookmarks", {**web(client.token), "Origin": FOREIGN})
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]


# ---- the web client ----

def test_a_page_load_without_a_session(stack):
    assert shown(call(stack, "get", "/api/bookmarks", web())) == (401, REQUIRED)
    answer = call(stack, "post", "/api/auth/refresh", web(), json={})
    assert shown(answer) == (401, REQUIRED) and has_cors(answer)
    answer = call(stack, "post", "/api/auth/logout", web())
    assert shown(answer) == (401, REQUIRED)
    assert set(cookies_of(answer)) == {"access_token_cookie", "csrf_access_token",
                                       "refresh_token_cookie", "csrf_refresh_token"}
    assert set(cookies_of(answer).values()) == {""}


def test_a_session_from_the_refresh_cookie_alone(stack, ann):
    """Step 2 of section 1.1: local storage is empty, the cookies are there."""
    answer = refresh(stack, ann.jar)
    assert answer.status_code == 200 and set(answer.json()) == {"access_token"}
    assert call(stack, "get", "/api/bookmarks", web(answer.json()["access_token"])).status_code == 200


def test_refresh_as_the_web_client_does_it(stack, ann):
    second = refresh(stack, ann.jar, ann.token)
    assert second.status_code == 200 and set(second.json()) == {"access_token"}
    fresh = cookies_of(second)
    assert set(fresh) == set(ann.jar) and not set(fresh.values()) & set(ann.jar.values())

    # The other tab, with the old jar, a moment later: an access token only.
    grace = refresh(stack, ann.jar, ann.token)
    assert grace.status_code == 200 and set(cookies_of(grace)) == {"access_token_cookie", "csrf_access_token"}
    token = grace.json()["access_token"]
    assert call(stack, "get", "/api/bookmarks", web(token)).status_code == 200

    # The same jar after the grace: somebody has a copy. Everything of the session ends.
    stack.sql("UPDATE token_families SET rotated_at = rotated_at - interval '31 seconds'")
    answer = refresh(stack, ann.jar, ann.token)
    assert shown(answer) == (401, {"message": "Session compromised. Please log in again."})
    assert stack.sql("SELECT revoked, revoked_reason FROM token_families") == [(True, "reuse_detected")]
    assert shown(refresh(stack, fresh)) == (401, {"message": "Session expired. Please log in again."})
    for each in (ann.token, second.json()["access_token"], token):
        assert call(stack, "get", "/api/bookmarks", web(each)).status_code == 401


def test_bearer_and_csrf_together(stack, ann):
    """Page and API on one origin: the page sees its CSRF cookie and sends it beside the token."""
    save = {"json": {"url": "http://example.org/csrf"}}
    csrf = {"X-CSRF-TOKEN": ann.jar["csrf_access_token"]}
    both = web(ann.token, **csrf, Cookie=jar_header(ann.jar))
    assert call(stack, "post", "/api/bookmarks", both, **save).status_code == 201
    # The cookies alone: reading needs no CSRF value, writing does, and it must be this token's.
    alone = {"Cookie": jar_header(ann.jar)}
    assert call(stack, "get", "/api/bookmarks", alone).status_code == 200
    assert shown(call(stack, "delete", "/api/bookmarks/all", alone)) == (401, REQUIRED)
    for wrong in ("", "x", ann.jar["csrf_refresh_token"]):
        headers = {**alone, "X-CSRF-TOKEN": wrong}
        assert shown(call(stack, "delete", "/api/bookmarks/all", headers)) == (401, REQUIRED)
    assert call(stack, "delete", "/api/bookmarks/all", {**alone, **csrf}).status_code == 200


def test_log_out_in_one_tab(stack, ann):
    """Same origin: by cookie and CSRF value. The other tab's token and its refresh end with it."""
    other = refresh(stack, ann.jar, ann.token)
    jar = cookies_of(other)
    headers = {"Cookie": jar_header(jar), "X-CSRF-TOKEN": jar["csrf_access_token"]}
    answer = call(stack, "post", "/api/auth/logout", headers)
    assert shown(answer) == (200, {"message": "Logout successful"})
    assert set(cookies_of(answer).values()) == {""}
    for token in (ann.token, other.json()["access_token"]):
        assert call(stack, "get", "/api/bookmarks", web(token)).status_code == 401
    assert refresh(stack, jar).json() == {"message": "Session expired. Please log in again."}
    answer = call(stack, "post", "/api/auth/logout", web(ann.token))
    assert answer.status_code == 401 and set(cookies_of(answer).values()) == {""}


def test_saving_as_the_form_does(stack, ann, pages):
    url = pages.put("/long.html", article("Long page", "word " * 80))
    token = ann.token
    empty = {"isDuplicate": False, "duplicateType": None, "existingBookmark": None}
    before = call(stack, "get", "/api/bookmarks/dashboard/stats", web(token)).json()
    for typed in (url[:12], url, "not yet a url"):
        answer = call(stack, "post", "/api/bookmarks/check-duplicate", web(token), json={"url": typed})
        assert shown(answer) == (200, empty), typed
    seen = call(stack, "post", "/api/bookmarks/extract-url", web(token), json={"url": url}).json()
    assert seen["success"] is True and seen["title"] == "Long page" and 0 < seen["quality_score"] <= 1

    body = {"url": url, "title": "Long page", "description": "a note", "category": "other",
            "tags": "c, redis", "project_id": 7}
    answer = call(stack, "post", "/api/bookmarks", web(token), json=body)
    number = answer.json()["bookmark"]["id"]
    assert shown(answer) == (201, {"message": "Bookmark saved", "bookmark": {"id": number, "url": url},
                                   "processing": "background", "wasDuplicate": False})
    after = call(stack, "get", "/api/bookmarks/dashboard/stats", web(token)).json()
    assert after["total_bookmarks"]["value"] == before["total_bookmarks"]["value"] + 1
    answer = call(stack, "post", "/api/bookmarks", web(token), json=body).json()
    assert answer["wasDuplicate"] is True and answer["duplicateType"] == "exact"

    rows = call(stack, "get", "/api/bookmarks?page=1&per_page=10&search=LONG&category=other", web(token)).json()
    assert [row["id"] for row in rows["bookmarks"]] == [number] and rows["pages"] == 1
    assert {"id", "url", "title", "description", "category", "saved_at"} <= set(rows["bookmarks"][0])
    assert rows["bookmarks"][0]["description"] == "a note"
    answer = call(stack, "delete", f"/api/bookmarks/{number}", web(token))
    assert answer.status_code == 200
    assert call(stack, "get", "/api/bookmarks", web(token)).json()["bookmarks"] == []


def test_the_share_target_and_a_reopened_stream(stack, ann, pages):
    client = stack.client()
    stream = Stream(client, token=ann.token)
    assert stream.next()[2]["user_id"] == ann.json()["user"]["id"]
    url = pages.put("/shared", article("Shared", "word " * 80))
    answer = call(stack, "post", "/api/bookmarks/quick-save", web(ann.token),
                  json={"url": url, "title": "Shared", "description": ""})
    assert answer.status_code == 201
    first = stream.until("bookmark.pipeline.scraping.started")[-1]
    stream.until("bookmark.pipeline.analysis.completed")
    stream.close()
    # EventSource is opened anew with the last id it saw; HEAD and junk ids do no harm.
    again = Stream(client, token=ann.token, last_event_id=first[1])
    names = [frame[0] for frame in again.until("bookmark.pipeline.analysis.completed")]
    assert names[:2] == ["system.connected", "bookmark.pipeline.scraping.completed"]
    again.close()
    for junk in ("x" * 3000, "evt_' OR 1=1", "\u00e9vt", "%FF"):
        stream = Stream(client, token=ann.token, last_event_id=junk)
        assert stream.next()[0] == "system.connected"
        stream.close()


# ---- the extension ----

def test_the_extensions_day(stack, pages):
    client = stack.client().sign_up()
    token = client.token
    answer = call(stack, "get", "/api/auth/verify", extension(token, Accept="application/json"))
    assert answer.status_code == 200 and has_cors(answer, EXTENSION, credentials=False)
    assert answer.json()["valid"] is True and answer.json()["user"]["id"] == client.user["id"]
    assert call(stack, "get", "/api/auth/verify", extension("stale")).status_code == 401
    answer = call(stack, "get", "/api/health", {"Accept": "application/json"})
    assert answer.status_code == 200 and answer.json()["database"] == "connected"

    url = pages.put("/popup", article("Popup", "word " * 60))
    answer = call(stack, "post", "/api/bookmarks", extension(token), json={
        "title": "From popup", "url": url, "description": "", "tags": ["a", "b"]}).json()
    assert answer["wasDuplicate"] is False and answer["bookmark"]["id"] > 0
    answer = call(stack, "post", "/api/bookmarks", extension(token), json={
        "title": "Again", "url": url, "description": "", "category": "other", "tags": []}).json()
    assert answer["wasDuplicate"] is True

    # Auto-sync: deleted by a number that is gone, then by the lower-cased URL.
    synced = pages.put("/Auto/Path/", article("Auto", "word " * 60))
    answer = call(stack, "post", "/api/bookmarks", extension(token), json={
        "url": synced, "title": "Auto synced", "description": "", "category": "other bookmarks", "tags": []})
    assert answer.status_code == 201
    headers = extension(token, **{"Content-Type": "application/json", "Accept": "application/json"})
    assert call(stack, "delete", "/api/bookmarks/2147483647", headers).status_code == 404
    lowered = quote(synced.lower().rstrip("/"), safe="")
    assert call(stack, "delete", f"/api/bookmarks/url/{lowered}", extension(token)).status_code == 200
    left = call(stack, "get", "/api/bookmarks", extension(token)).json()["bookmarks"]
    assert [row["url"] for row in left] == [url]


# ---- what every answer has ----

def test_request_ids(stack, ann):
    good = str(uuid.uuid4())
    answer = call(stack, "get", "/api/bookmarks", web(ann.token, **{"X-Request-ID": good}))
    assert answer.headers["X-Request-ID"] == good
    wait_until(lambda: f"id={good}" in stack.log_text(), 5, "the id is logged")
    for bad in ("", "x" * 129, "a b", "a\tb", "x;y", "<script>", "\u00e9", "a\"b"):
        answer = call(stack, "get", "/api/nothing", {"X-Request-ID": bad.encode("utf-8")})
        assert uuid.UUID(answer.headers["X-Request-ID"]).version == 4, bad
    longest = "A" * 120 + "z09._:-x"
    assert call(stack, "get", "/", {"X-Request-ID": longest}).headers["X-Request-ID"] == longest


def test_every_answer_is_guarded(stack, ann):
    for answer in (call(stack, "get", "/api/bookmarks", web(ann.token)), call(stack, "get", "/"),
                   call(stack, "get", "/api/nothing"), call(stack, "put", "/api/bookmarks"),
                   call(stack, "post", "/api/auth/login", data="{")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert answer.headers["X-XSS-Protection"] == "1; mode=block"
        assert "Server" not in answer.headers
        if answer.request.path_url.startswith("/api"):
            assert answer.headers["Cache-Control"] == "no-store"


def test_head_is_get_without_a_body(stack, ann):
    for path in ("/api/bookmarks", "/api/auth/verify", "/api/health", "/health/liveness", "/", "/api/nothing"):
        get = call(stack, "get", path, web(ann.token))
        head = call(stack, "head", path, web(ann.token))
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
    head = call(stack, "head", "/api/realtime/stream", {}, params={"token": ann.token})
    assert head.status_code == 200 and head.headers["Content-Type"].startswith("text/event-stream")
    # It holds no place: neither here nor on the scoreboard.
    wait_until(lambda: "\nforkmark_event_streams 0" in call(stack, "get", "/metrics").text, 5,
               "no stream is left")
    assert call(stack, "get", "/api/bookmarks", web(ann.token)).status_code == 200


def test_one_trailing_slash(stack, ann):
    assert call(stack, "get", "/api/bookmarks/", web(ann.token)).status_code == 200
    assert call(stack, "get", "/api/auth/verify/", web(ann.token)).status_code == 200
    for path in ("/api/bookmarks//", "/api//bookmarks", "/api/bookmarks/x", "/api"):
        answer = call(stack, "get", path, web(ann.token))
        assert shown(answer) == (404, NOT_FOUND), path


def test_unknown_paths_and_methods(stack, ann):
    table = [
        ("get", "/api/bookmarks/1", {"delete", "options"}),
        ("post", "/api/bookmarks/1", {"delete", "options"}),
        ("put", "/api/bookmarks", {"get", "head", "post", "options"}),
        ("get", "/api/auth/login", {"post", "options"}),
        ("delete", "/api/auth/verify", {"get", "head", "options"}),
        ("trace", "/api/bookmarks", {"get", "head", "post", "options"}),
    ]
    for method, path, allow in table:
        answer = call(stack, method, path, web(ann.token))
        assert shown(answer) == (405, WRONG_METHOD), (method, path)
        assert words(answer.headers["Allow"]) == allow, (method, path)
    for method, path in (("delete", "/api/bookmarks/x"), ("delete", "/api/bookmarks/-1"),
                         ("delete", "/api/bookmarks/2147483648"), ("delete", "/api/bookmarks/1e1"),
                         ("delete", "/api/bookmarks/99999999999999999999999"),
                         ("get", "/api/projects"), ("get", "/health/none"), ("post", "/index.html")):
        assert shown(call(stack, method, path, web(ann.token))) == (404, NOT_FOUND), path


def test_posts_without_a_body_or_a_type(stack, ann):
    empty = {"message": "Request body is required"}
    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        assert shown(call(stack, "post", "/api/auth/login", headers)) == (400, empty)
        assert call(stack, "post", "/api/auth/logout", headers).status_code == 401
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = call(stack, "post", "/api/bookmarks", web(ann.token, **{"Content-Type": kind}),
                      data=json.dumps({"url": f"http://example.org/{kind}"}))
        assert answer.status_code == 201, kind
    answer = call(stack, "post", "/api/bookmarks", web(ann.token),
                  data=iter([b'{"url": "http://exam', b'ple.org/chunked"}']))
    assert answer.status_code == 201


# ---- hostile input ----

@pytest.mark.parametrize("opening, closing_", [("[", "]"), ('{"a":', "}")])
def test_deep_bodies(stack, ann, opening, closing_):
    deep = (opening * 10000 + "1" + closing_ * 10000).encode()
    wide = b"[" + b"1," * 30000 + b"1]"
    for body in (deep, deep[:30000], wide):
        for path in ("/api/auth/login", "/api/auth/register", "/api/auth/check-username"):
            assert shown(call(stack, "post", path, data=body)) == (400, INVALID_JSON)
        assert shown(call(stack, "post", "/api/bookmarks", data=body)) == (401, REQUIRED)
        assert shown(call(stack, "post", "/api/bookmarks", web(ann.token), data=body)) == (400, INVALID_JSON)
    assert call(stack, "get", "/api/bookmarks", web(ann.token)).status_code == 200


def test_large_bodies(stack, ann):
    body = b'{"email": "' + b"x" * (1 << 20) + b'"}'
    for answer in (call(stack, "post", "/api/auth/login", data=body),
                   call(stack, "post", "/api/auth/login", data=iter([body])),
                   call(stack, "post", "/api/bookmarks", web(ann.token), data=body)):
        assert shown(answer) == (413, TOO_LARGE)
        assert answer.headers["Connection"] == "close"
    # Token before size.
    assert call(stack, "post", "/api/bookmarks", data=body).status_code == 401


def test_bytes_that_are_no_text(stack, ann):
    """Path and query may hold any byte; the database takes only UTF-8 without NUL."""
    headers = web(ann.token)
    call(stack, "post", "/api/bookmarks", headers, json={"url": "http://example.org/\u00fc"})
    for path in ("/api/bookmarks?search=%FF%FE", "/api/bookmarks?category=%C3", "/api/bookmarks?search=a%00%ED%A0%80",
                 "/api/search/text?q=%F8%88", "/api/search/text?q=owl%C3%28"):
        answer = call(stack, "get", path, headers)
        assert answer.status_code == 200, (path, answer.text)
    answer = call(stack, "delete", "/api/bookmarks/url/http%3A%2F%2Fexample.org%2F%FC", headers)
    assert shown(answer) == (404, {"message": "Bookmark not found"})
    for event in ("%FF", "a%C3"):
        answer = call(stack, "get", f"/api/realtime/stream?token={ann.token}&last_event_id={event}", stream=True)
        assert answer.status_code == 200, answer.text
        answer.close()
    answer = call(stack, "get", f"/api/realtime/stream?token={ann.token}", {"Last-Event-ID": b"\xff\xfe"},
                  stream=True)
    assert answer.status_code == 200, answer.text
    answer.close()
    answer = call(stack, "get", "/api/bookmarks?search=%C3%BC", headers)
    assert answer.json()["total"] == 1
    assert "refuses" not in stack.log_text()


def test_numbers_out_of_range(stack, ann):
    for query, page, per_page in (("page=99999999999999999999&per_page=1000", 2147483647, 1000),
                                  ("page=9223372036854775807&per_page=1000", 2147483647, 1000),
                                  ("page=-5&per_page=-5", 1, 20), ("page=&per_page=x", 1, 10),
                                  ("page=0x10&per_page=1.5", 1, 10), ("page=1&page=2&per_page=5000", 1, 1000)):
        answer = call(stack, "get", f"/api/bookmarks?{query}", web(ann.token))
        assert answer.status_code == 200, answer.text
        assert (answer.json()["page"], answer.json()["per_page"]) == (page, per_page), query


def test_patterns_are_literal_text(stack, ann):
    for name in ("100%", "under_score", "back\\slash", "plain"):
        call(stack, "post", "/api/bookmarks", web(ann.token),
             json={"url": f"http://example.org/{quote(name, safe='')}", "title": name})
    for search, titles in (("%", ["100%"]), ("_", ["under_score"]), ("\\", ["back\\slash"]),
                           ("0%", ["100%"]), ("n_e", []), ("%%", []), ("\\\\", [])):
        rows = call(stack, "get", "/api/bookmarks", web(ann.token), params={"search": search}).json()
        assert sorted(row["title"] for row in rows["bookmarks"]
                      if search in row["title"]) == titles, search
        assert all(search in row["title"] + row["url"] for row in rows["bookmarks"]), search


def test_nothing_of_a_request_breaks_a_log_line(stack, ann):
    raw(stack, b"GET /api/a%0d%0afake\x01line?token=" + ann.token.encode() + b" HTTP/1.1\r\n"
               b"Host: a\r\nConnection: close\r\nX-Request-ID: a\x0bb\r\n\r\n")
    call(stack, "get", f"/api/realtime/stream?last_event_id=x&token={ann.token}x")
    call(stack, "get", "/api/bookmarks?search=a%0aFAKE", web(ann.token))
    time.sleep(0.1)
    log = stack.log_text()
    assert ann.token not in log and "\x01" not in log
    assert not [line for line in log.splitlines() if line.startswith(("fake", "FAKE"))]


def test_static_files_stay_in_their_folder(make_stack, folder):
    site = os.path.join(folder, "site")
    os.makedirs(os.path.join(site, "assets"))
    secret = os.path.join(folder, "secret.txt")
    for path, text in ((os.path.join(site, "index.html"), "the index"), (secret, "the secret"),
                       (os.path.join(site, ".env"), "hidden"), (os.path.join(site, "assets", "a.js"), "let a")):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
    os.chmod(site, 0o755)
    os.chmod(os.path.join(site, "assets"), 0o755)
    stack = make_stack(server=f'static_dir = "{site}";')
    ways = ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets/../../secret.txt",
            "//" + secret, "/%2f" + secret, "/assets/%2e%2e%2f%2e%2e%2fsecret.txt", "/..\\secret.txt",
            "/%00../secret.txt", "/.%00./secret.txt", "/assets/..%00/../secret.txt", "/.env", "/%2eenv", "/assets")
    for way in ways:
        answer = raw(stack, f"GET {way} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert b"the secret" not in answer and b"hidden" not in answer, way
        assert raw_status(answer) == 200 and answer.endswith(b"the index"), way
    answer = call(stack, "get", "/assets/a.js")
    assert (answer.text, answer.headers["Cache-Control"]) == ("let a", "public, max-age=31536000, immutable")
    head = call(stack, "head", "/assets/a.js")
    assert (head.content, head.headers["Content-Length"]) == (b"", "5")
    assert call(stack, "get", "/any/route", {"If-None-Match": "*"}).status_code == 304


def test_heads_that_are_too_large_or_broken(stack, ann):
    large = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20000 + b"\r\n\r\n"
    answer = raw(stack, large)
    assert answer == b"" or raw_status(answer) == 431
    long_line = b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = raw(stack, long_line)
    assert answer == b"" or raw_status(answer) in (414, 431)
    for broken in (b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                   b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                   b"POST /api/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        answer = raw(stack, broken)
        assert answer == b"" or 400 <= raw_status(answer) < 600, broken
    assert call(stack, "get", "/api/bookmarks", web(ann.token)).status_code == 200
