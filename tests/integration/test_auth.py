"""Accounts and sessions: signing up, in and out, refreshing, the lock, names and passwords."""

import base64
import concurrent.futures
import hashlib
import hmac
import json
import time
import uuid

import pytest

from services import wait_until
from stack import PASSWORD

COOKIES = {"access_token_cookie": True, "csrf_access_token": False,
           "refresh_token_cookie": True, "csrf_refresh_token": False}
USERNAME_TEXT = ("Username must be 3-50 characters and contain only letters, numbers, "
                 "underscores, and hyphens")
EXISTS = "An account already exists with those credentials."


def register(client, name, email=None, password=PASSWORD):
    return client.post("/api/auth/register", json={
        "username": name, "email": email or f"{name}@example.com", "password": password})


def login(client, name, password=PASSWORD):
    return client.post("/api/auth/login", json={"email": name, "password": password})


def set_cookies(answer):
    """name -> the whole Set-Cookie line"""
    return {line.split("=", 1)[0]: line for line in answer.raw.headers.getlist("Set-Cookie")}


def cookie_values(answer):
    return {name: line.split("=", 1)[1].split(";")[0]
            for name, line in set_cookies(answer).items()}


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def forge(secret="test-jwt-secret", **changes):
    """A token as an older server would have made it."""
    now = int(time.time())
    payload = {"fresh": False, "iat": now, "jti": str(uuid.uuid4()), "type": "access", "sub": "1",
               "nbf": now, "csrf": str(uuid.uuid4()), "exp": now + 3600, **changes}

    def encode(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    text = (encode(b'{"alg":"HS256","typ":"JWT"}') + "." +
            encode(json.dumps(payload, separators=(",", ":")).encode()))
    return text + "." + encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def refresh(client, values, csrf=None, bearer=None):
    """As the web client does: cookies and CSRF header, and often a stale Bearer token."""
    headers = {"X-CSRF-TOKEN": values["csrf_refresh_token"] if csrf is None else csrf,
               "Cookie": f"refresh_token_cookie={values['refresh_token_cookie']}"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    return client.post("/api/auth/refresh", json={}, headers=headers)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_sign_up_and_in(stack):
    client = stack.client()
    answer = register(client, "Ann_1", "Ann@Example.com")
    assert (answer.status_code, answer.json()) == (201, {"message": "User registered successfully"})
    assert "Set-Cookie" not in answer.headers
    [(number, stored)] = stack.sql("SELECT id, password_hash FROM users WHERE username = 'ann_1'"
                                   " AND email = 'ann@example.com'")
    assert stored.startswith("$2b$04$")

    for name in ("ann_1", "ANN_1", "ann@example.com", "ANN@example.COM", "  ann_1 "):
        answer = login(client, name)
        assert answer.status_code == 200, name
        body = answer.json()
        assert body["user"] == {"id": number, "username": "ann_1", "email": "ann@example.com"}
    by_username = client.post("/api/auth/login", json={"username": "ann_1", "password": PASSWORD})
    assert by_username.status_code == 200

    lines, values = set_cookies(answer), cookie_values(answer)
    assert set(lines) == set(COOKIES)
    for name, is_http_only in COOKIES.items():
        parts = lines[name].split("; ")[1:]
        assert ("HttpOnly" in parts) == is_http_only
        assert "Path=/" in parts and "SameSite=Lax" in parts
        assert "Secure" not in parts and not any(part.startswith("Expires") for part in parts)
    access, again = claims(body["access_token"]), claims(values["refresh_token_cookie"])
    assert values["access_token_cookie"] == body["access_token"]
    assert values["csrf_access_token"] == access["csrf"]
    assert values["csrf_refresh_token"] == again["csrf"]
    assert access["family_id"] == again["family_id"] and access["sub"] == str(number)
    assert (access["type"], again["type"], access["fresh"]) == ("access", "refresh", False)
    assert access["exp"] - access["iat"] == 3600 and again["exp"] - again["iat"] == 30 * 86400
    assert stack.sql("SELECT current_jti FROM token_families WHERE family_id = %s",
                     access["family_id"]) == [(again["jti"],)]


def test_cookies_are_secure_outside_development(make_stack):
    stack = make_stack(server='environment = "staging";')
    register(stack.client(), "ann")
    lines = set_cookies(login(stack.client(), "ann"))
    assert len(lines) == 4 and all("; Secure" in line for line in lines.values())


def test_what_register_refuses(stack):
    client = stack.client()
    good = {"username": "ann", "email": "ann@example.com", "password": PASSWORD}
    required = "Username, email, and password are required"
    table = [
        ({}, "Request body is required"),
        ({"name": "Ann"}, required),
        ({**good, "username": ""}, required),
        ({**good, "email": None}, required),
        ({**good, "password": ""}, required),
        ({**good, "username": 7}, "Invalid input format"),
        ({**good, "password": ["x"]}, "Invalid input format"),
        ({**good, "email": "ann@example"}, "Invalid email format"),
        ({**good, "email": "a" * 110 + "@example.com"}, "Invalid email format"),
        ({**good, "username": "an"}, USERNAME_TEXT),
        ({**good, "username": "a" * 51}, USERNAME_TEXT),
        ({**good, "username": "ann b"}, USERNAME_TEXT),
        ({**good, "password": "Passw0r"}, "Password must be at least 8 characters long"),
        ({**good, "password": "12345678"}, "Password must contain at least one letter"),
        ({**good, "password": "password"}, "Password must contain at least one number"),
    ]
    for body, text in table:
        answer = client.post("/api/auth/register", json=body)
        assert (answer.status_code, answer.json()) == (400, {"message": text}), body
    for data in ("{", "[1]", "nope"):
        answer = client.post("/api/auth/register", data=data)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_json")
    assert stack.sql("SELECT count(*) FROM users") == [(0,)]


def test_names_and_emails_that_are_taken(stack):
    client = stack.client()
    register(client, "ann")
    register(client, "ann1")

    answer = register(client, "ann", "other@example.com")
    assert answer.status_code == 409
    assert answer.json() == {"message": EXISTS, "suggestions": ["ann2", "ann3", "ann4"]}
    answer = register(client, "ANN", "other@example.com")
    assert answer.json()["case_insensitive_conflict"] == "ann"
    answer = register(client, "ben", "ANN@example.com")
    assert (answer.status_code, answer.json()) == (409, {"message": EXISTS})

    def check(name):
        return client.post("/api/auth/check-username", json={"username": name})

    assert check("carl").json() == {"available": True, "username": "carl"}
    assert check("ann").json() == {"available": False, "username": "ann",
                                   "suggestions": ["ann2", "ann3", "ann4"]}
    assert check("Ann").json()["case_insensitive_conflict"] == "ann"
    long = "a" * 50
    register(client, long, "long@example.com")
    suggestions = check(long).json()["suggestions"]
    assert len(suggestions) == 3 and all(len(name) <= 50 for name in suggestions)
    for body, text in (({}, "Username is required"), ({"username": ""}, "Username is required"),
                       ({"username": "a b"}, USERNAME_TEXT)):
        answer = client.post("/api/auth/check-username", json=body)
        assert answer.status_code == 400
        assert answer.json() == {"available": False, "error": text}


def test_one_name_and_many_at_once(stack):
    def one(number):
        return register(stack.client(), "ann", f"ann{number}@example.com").status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(one, range(8)))
    assert codes == [201] + [409] * 7


def test_what_login_refuses(stack):
    client = stack.client()
    register(client, "ann")
    table = [
        ({}, 400, "Request body is required"),
        ({"email": "ann"}, 400, "Username/email and password required"),
        ({"password": "x"}, 400, "Username/email and password required"),
        ({"email": 7, "password": "x"}, 400, "Invalid input format"),
        ({"email": "ann", "password": 7}, 400, "Invalid input format"),
        ({"email": "ann", "password": "wrong"}, 401, "Invalid credentials"),
        ({"email": "nobody", "password": PASSWORD}, 401, "Invalid credentials"),
    ]
    for body, status, text in table:
        answer = client.post("/api/auth/login", json=body)
        assert (answer.status_code, answer.json()) == (status, {"message": text}), body
        assert "Set-Cookie" not in answer.headers


def test_the_lock(stack):
    client = stack.client()
    register(client, "ann")
    for _ in range(4):
        assert login(client, "ann", "wrong").status_code == 401
    assert login(client, "ann").status_code == 200
    assert stack.sql("SELECT failed_login_count FROM users") == [(0,)]

    for _ in range(5):
        assert login(client, "ann", "wrong").status_code == 401
    answer = login(client, "ann")
    assert (answer.status_code, answer.json()) == (401, {"message": "Invalid credentials"})
    [(seconds,)] = stack.sql("SELECT extract(epoch FROM account_locked_until"
                             " - now() AT TIME ZONE 'utc')::int FROM users")
    assert 880 < seconds <= 900

    # A lock that has ended starts the count anew: one slip does not lock again.
    stack.sql("UPDATE users SET account_locked_until = now() AT TIME ZONE 'utc' - interval '1 s'")
    assert login(client, "ann", "wrong").status_code == 401
    assert stack.sql("SELECT failed_login_count FROM users") == [(1,)]
    assert login(client, "ann").status_code == 200
    assert stack.sql("SELECT failed_login_count, account_locked_until FROM users") == [(0, None)]


def test_wrong_passwords_at_once_are_all_counted(stack):
    register(stack.client(), "ann")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: login(stack.client(), "ann", "wrong"), range(8)))
    [(count, locked)] = stack.sql("SELECT failed_login_count, account_locked_until IS NOT NULL"
                                  " FROM users")
    assert count == 5 and locked


WERKZEUG = "pbkdf2:sha256:1000$saltSALT$" + hashlib.pbkdf2_hmac(
    "sha256", PASSWORD.encode(), b"saltSALT", 1000).hex()
SCRYPT = "scrypt:1024:8:1$saltSALT$" + hashlib.scrypt(
    PASSWORD.encode(), salt=b"saltSALT", n=1024, r=8, p=1).hex()


@pytest.mark.parametrize("stored", [WERKZEUG, SCRYPT])
def test_old_hashes_are_made_anew(stack, stored):
    client = stack.client()
    register(client, "ann")
    stack.sql("UPDATE users SET password_hash = %s", stored)
    assert login(client, "ann", "wrong").status_code == 401
    assert stack.sql("SELECT password_hash FROM users") == [(stored,)]
    assert login(client, "ann").status_code == 200
    assert stack.sql("SELECT left(password_hash, 7) FROM users") == [("$2b$04$",)]
    assert login(client, "ann").status_code == 200


def test_refresh_rotates(stack):
    client = stack.client()
    register(client, "ann")
    first = login(client, "ann")
    old = cookie_values(first)

    # D2: the Authorization header is ignored when the cookie is there, whatever it holds.
    answer = refresh(client, old, bearer=first.json()["access_token"])
    assert answer.status_code == 200
    new = cookie_values(answer)
    assert set(new) == set(COOKIES) and answer.json() == {"access_token": new["access_token_cookie"]}
    assert claims(new["access_token_cookie"])["family_id"] == claims(
        old["access_token_cookie"])["family_id"]
    assert client.get("/api/auth/verify", headers=bearer(answer.json()["access_token"])).ok

    # A second tab with the token before: an access token, and no rotation.
    grace = refresh(client, old, bearer="rubbish")
    assert grace.status_code == 200
    assert set(cookie_values(grace)) == {"access_token_cookie", "csrf_access_token"}

    # The same after the grace: somebody has a copy. The whole family ends.
    stack.sql("UPDATE token_families SET rotated_at = rotated_at - interval '31 s'")
    answer = refresh(client, old)
    assert (answer.status_code, answer.json()) == (
        401, {"message": "Session compromised. Please log in again."})
    assert stack.sql("SELECT revoked, revoked_reason FROM token_families") == [
        (True, "reuse_detected")]
    answer = refresh(client, new)
    assert (answer.status_code, answer.json()) == (
        401, {"message": "Session expired. Please log in again."})
    answer = client.get("/api/auth/verify", headers=bearer(new["access_token_cookie"]))
    assert (answer.status_code, answer.json()["error"]) == (401, "token_revoked")


def test_a_token_two_rotations_old_ends_the_family(stack):
    client = stack.client()
    register(client, "ann")
    oldest = cookie_values(login(client, "ann"))
    old = cookie_values(refresh(client, oldest))
    refresh(client, old)
    assert refresh(client, oldest).json()["message"].startswith("Session compromised")


def test_many_refreshes_at_once_rotate_once(stack):
    register(stack.client(), "ann")
    values = cookie_values(login(stack.client(), "ann"))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: refresh(stack.client(), values), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert sorted(len(cookie_values(answer)) for answer in answers) == [2] * 5 + [4]


def test_what_refresh_refuses(stack):
    client = stack.client()
    register(client, "ann")
    first = login(client, "ann")
    values = cookie_values(first)
    client.cookies.clear()

    def code(answer):
        return answer.status_code, answer.json().get("error")

    assert code(client.post("/api/auth/refresh", json={})) == (401, "authorization_required")
    assert code(refresh(client, values, csrf="wrong")) == (401, "authorization_required")
    assert code(refresh(client, values, csrf="")) == (401, "authorization_required")
    assert code(client.post("/api/auth/refresh", headers=bearer(first.json()["access_token"]))) == (
        401, "invalid_token")
    for token, expected in ((forge(type="refresh", exp=1000), "token_expired"),
                            (forge(type="refresh", secret="other"), "invalid_token"),
                            ("rubbish", "invalid_token")):
        assert code(client.post("/api/auth/refresh", headers=bearer(token))) == (401, expected)
    unknown = forge(type="refresh", family_id=str(uuid.uuid4()))
    answer = client.post("/api/auth/refresh", headers=bearer(unknown))
    assert answer.json() == {"message": "Session expired. Please log in again."}

    # A Bearer refresh token does as well as the cookie, body or no body.
    answer = client.post("/api/auth/refresh", headers=bearer(values["refresh_token_cookie"]))
    assert answer.status_code == 200 and len(cookie_values(answer)) == 4


def test_a_refresh_token_without_a_family(stack):
    client = stack.client().sign_up()
    token = forge(type="refresh", sub=str(client.user["id"]))
    answer = stack.client().post("/api/auth/refresh", headers=bearer(token))
    assert answer.status_code == 200
    assert "refresh_token_cookie" not in cookie_values(answer)
    assert "family_id" not in claims(answer.json()["access_token"])
    nobody = forge(type="refresh", sub="999999")
    answer = stack.client().post("/api/auth/refresh", headers=bearer(nobody))
    assert answer.status_code == 401


def assert_cleared(answer):
    lines = set_cookies(answer)
    assert set(lines) == set(COOKIES)
    for name, line in lines.items():
        assert line.startswith(name + "=;"), line
        assert "Expires=Thu, 01 Jan 1970 00:00:00 GMT" in line and "Path=/" in line


def test_logout(stack):
    client = stack.client()
    register(client, "ann")
    first = login(client, "ann")
    values = cookie_values(first)
    other_tab = refresh(client, values).json()["access_token"]
    another_login = login(client, "ann").json()["access_token"]

    answer = client.post("/api/auth/logout", headers=bearer(first.json()["access_token"]))
    assert (answer.status_code, answer.json()) == (200, {"message": "Logout successful"})
    assert_cleared(answer)
    assert stack.sql("SELECT revoked_reason FROM token_families ORDER BY id") == [
        ("logout",), (None,)]

    # At once, in every process, for every token of the session; other sessions go on.
    for _ in range(6):
        for token in (first.json()["access_token"], other_tab):
            answer = stack.client().get("/api/auth/verify", headers=bearer(token))
            assert (answer.status_code, answer.json()) == (401, {
                "message": "Token has been revoked", "error": "token_revoked"})
    assert client.get("/api/auth/verify", headers=bearer(another_login)).ok


def test_logout_without_a_usable_token_still_clears_the_cookies(stack):
    client = stack.client()
    register(client, "ann")
    token = login(client, "ann").json()["access_token"]
    client.cookies.clear()
    client.post("/api/auth/logout", headers=bearer(token))
    client.cookies.clear()
    for headers, expected in (({}, "authorization_required"),
                              (bearer("rubbish"), "invalid_token"),
                              (bearer(forge(exp=1000)), "token_expired"),
                              (bearer(token), "token_revoked")):
        answer = client.post("/api/auth/logout", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, expected)
        assert_cleared(answer)


def test_logout_by_cookie_needs_the_csrf_value(stack):
    client = stack.client()
    register(client, "ann")
    values = cookie_values(login(client, "ann"))
    client.cookies.clear()
    cookie = {"Cookie": f"access_token_cookie={values['access_token_cookie']}"}
    answer = client.post("/api/auth/logout", headers=cookie)
    assert (answer.status_code, answer.json()["error"]) == (401, "authorization_required")
    answer = client.post("/api/auth/logout",
                         headers={**cookie, "X-CSRF-TOKEN": values["csrf_access_token"]})
    assert answer.status_code == 200


def test_verify(stack):
    client = stack.client().sign_up("ann")
    body = client.get("/api/auth/verify").json()
    created = body["user"].pop("created_at")
    assert body == {"valid": True, "message": "Token is valid", "user": {
        "id": client.user["id"], "username": "ann", "email": "ann@example.com",
        "technology_interests": None, "provider_name": None}}
    assert created[10] == "T" and not created.endswith("Z")

    ghost = stack.client()
    ghost.headers.update(bearer(forge(sub="999999")))
    answer = ghost.get("/api/auth/verify")
    assert (answer.status_code, answer.json()) == (404, {"message": "User not found"})


def test_update_username(stack):
    other, client = stack.client().sign_up("ben"), stack.client().sign_up("ann")

    def rename(name):
        return client.post("/api/auth/update-username", json={"new_username": name})

    answer = rename("Ann-2")
    assert (answer.status_code, answer.json()) == (
        200, {"message": "Username updated successfully", "username": "ann-2"})
    assert client.get("/api/auth/verify").json()["user"]["username"] == "ann-2"
    assert rename("ann-2").status_code == 200

    answer = rename("BEN")
    assert answer.status_code == 409 and answer.json()["message"] == EXISTS
    assert answer.json()["case_insensitive_conflict"] == "ben"
    assert answer.json()["suggestions"] == ["ben1", "ben2", "ben3"]
    assert other.get("/api/auth/verify").json()["user"]["username"] == "ben"

    for body, text in (({}, "New username is required"), ({"new_username": None},
                       "New username is required"), ({"new_username": "a"}, USERNAME_TEXT)):
        answer = client.post("/api/auth/update-username", json=body)
        assert (answer.status_code, answer.json()) == (400, {"message": text})
    client.headers.update(bearer(forge(sub="999999")))
    assert rename("ghost").status_code == 404


def test_set_password(stack):
    client = stack.client().sign_up("ann")
    elsewhere = stack.client().log_in("ann")

    def change(new, current=PASSWORD):
        answer = client.post("/api/auth/set-password", json={
            "new_password": new, "current_password": current})
        return answer.status_code, answer.json()["message"]

    assert change("") == (400, "New password is required")
    assert change("N3w-password", "") == (400, "Current password required")
    assert change("short1") == (400, "Password must be at least 8 characters long")
    assert change("N3w-password", "wrong") == (400, "Current password is incorrect")
    assert elsewhere.get("/api/auth/verify").ok

    assert change("N3w-password") == (200, "Password updated successfully")
    assert client.get("/api/auth/verify").ok
    answer = elsewhere.get("/api/auth/verify")
    assert (answer.status_code, answer.json()["error"]) == (401, "token_revoked")
    assert stack.sql("SELECT revoked_reason FROM token_families ORDER BY id") == [
        (None,), ("password_changed",)]
    assert login(stack.client(), "ann").status_code == 401
    assert login(stack.client(), "ann", "N3w-password").status_code == 200


def test_who_came_by_a_provider_may_choose_a_first_password(stack):
    client = stack.client().sign_up("ann")
    stack.sql("UPDATE users SET provider_name = 'google'")
    body = {"new_password": "N3w-password"}
    assert client.post("/api/auth/set-password", json=body).status_code == 200
    answer = client.post("/api/auth/set-password", json=body)
    assert (answer.status_code, answer.json()) == (400, {"message": "Current password required"})
    assert login(stack.client(), "ann", "N3w-password").status_code == 200


def test_long_passwords(stack):
    client = stack.client()
    password = "Passw0rd" + "x" * 500
    assert register(client, "ann", password=password).status_code == 201
    assert login(client, "ann", password).status_code == 200
    assert login(client, "ann", password[:72]).status_code == 200
    assert login(client, "ann", password[:71]).status_code == 401


def test_login_without_a_database(stack):
    client = stack.client()
    register(client, "ann")
    connection = stack.postgres.connect("postgres")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"ALTER DATABASE {stack.database} ALLOW_CONNECTIONS false")
    cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                   (stack.database,))
    try:
        answer = login(client, "ann")
    finally:
        cursor.execute(f"ALTER DATABASE {stack.database} ALLOW_CONNECTIONS true")
        connection.close()
    assert (answer.status_code, answer.json()) == (
        503, {"message": "Database connection failed. Please try again."})
    assert int(answer.headers["Retry-After"]) > 0
    wait_until(lambda: login(client, "ann").status_code == 200, 20, "logins go on")
