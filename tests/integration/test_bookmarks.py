"""Bookmarks: saving, duplicates, the list and its cache, deleting, the look before saving."""

import concurrent.futures
import socket
import time
import urllib.parse

import pytest

from pages import article
from services import wait_until
from stack import Stream

# Nothing listens there: jobs end quickly and change no title.
BASE = "http://127.0.0.1:9"


def listed(client, **params):
    answer = client.get("/api/bookmarks", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def urls(client, **params):
    return [row["url"] for row in listed(client, **params)["bookmarks"]]


@pytest.fixture
def client(stack):
    return stack.client().sign_up()


def test_a_new_bookmark(stack, client):
    answer = client.post("/api/bookmarks", json={
        "url": f"  {BASE}/a?x=1#part ", "title": "A title", "description": "my note",
        "category": "research", "tags": "c, redis", "project_id": 3, "unknown": {"x": 1}})
    assert answer.status_code == 201
    number = answer.json()["bookmark"]["id"]
    assert answer.json() == {"message": "Bookmark saved", "processing": "background",
                             "bookmark": {"id": number, "url": f"{BASE}/a?x=1#part"},
                             "wasDuplicate": False}
    body = listed(client)
    [row] = body["bookmarks"]
    saved_at, status = row.pop("saved_at"), row.pop("scrape_status")
    assert row == {"id": number, "url": f"{BASE}/a?x=1#part", "title": "A title",
                   "description": "my note", "category": "research", "has_content": False,
                   "quality_score": 0, "reading_time": 0, "tags": ["c", "redis"]}
    assert saved_at[10] == "T" and status in ("PENDING", "RUNNING", "FAILED")
    assert (body["total"], body["page"], body["per_page"], body["pages"]) == (1, 1, 10, 1)
    assert stack.sql("SELECT type, sequence, user_id FROM bookmark_events WHERE bookmark_id = %s"
                     " ORDER BY id LIMIT 1", number) == [
                         ("bookmark.domain.created", 0, client.user["id"])]


def test_a_user_who_was_deleted(stack, client):
    """The token is good for a while; there is nobody to save for."""
    client.get("/api/bookmarks")
    stack.sql("DELETE FROM users WHERE id = %s", client.user["id"])
    answer = client.post("/api/bookmarks", json={"url": f"{BASE}/a"})
    assert (answer.status_code, answer.json()) == (404, {"message": "User not found"})


def test_the_total_is_what_counting_finds(stack, client):
    """It comes from counters that triggers keep: whoever writes, together or by many rows."""
    def save_and_delete(which):
        numbers = [client.save(f"{BASE}/t/{which}/{n}") for n in range(5)]
        assert client.delete(f"/api/bookmarks/{numbers[0]}").status_code == 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(save_and_delete, range(8)))
    assert listed(client)["total"] == 32

    other = stack.client().sign_up()
    mine, theirs = client.user["id"], other.user["id"]
    stack.sql("""INSERT INTO saved_content (user_id, url, url_norm, page_key, title)
                 SELECT CASE WHEN n %% 3 = 0 THEN %s ELSE %s END, u, u, u, 'x'
                 FROM (SELECT n, 'http://bulk.example/' || n AS u FROM generate_series(1, 90) n) t""",
              mine, theirs)
    stack.sql("DELETE FROM saved_content WHERE url LIKE '%/bulk.example/%5'")
    stack.sql("UPDATE saved_content SET title = 'y' WHERE user_id = %s", mine)
    counted = dict(stack.sql("SELECT user_id, count(*) FROM saved_content"
                             " WHERE user_id IN (%s, %s) GROUP BY user_id", mine, theirs))
    totals = dict(stack.sql("SELECT user_id, total FROM bookmark_totals"
                            " WHERE user_id IN (%s, %s)", mine, theirs))
    assert totals == counted and counted[mine] == 32 + 27 and counted[theirs] == 54

    stack.sql("DELETE FROM users WHERE id = %s", theirs)
    assert stack.sql("SELECT count(*) FROM bookmark_totals WHERE user_id = %s", theirs) == [(0,)]


def test_what_is_left_out(client):
    client.save(f"{BASE}/bare")
    client.save(f"{BASE}/nulls", title=None, description=None, category=None, tags=None)
    client.save(f"{BASE}/long", title="x" * 300, category="k" * 150, tags=["a", 7, None, "b"])
    long, nulls, bare = listed(client)["bookmarks"]
    for row in (bare, nulls):
        assert (row["title"], row["description"], row["category"], row["tags"]) == (
            "Untitled Bookmark", "", "other", [])
    assert long["title"] == "x" * 197 + "..." and long["category"] == "k" * 100
    assert long["tags"] == ["a", "b"]


def test_honest_titles_are_kept(client):
    title = "DROP TABLE users; <script>alert('UNION SELECT')</script> \u00e4\u20ac\U0001f600 \\ \" %s"
    client.save(f"{BASE}/sql", title=title, description=title)
    [row] = listed(client)["bookmarks"]
    assert row["title"] == title and row["description"] == title


def test_what_is_refused(stack, client):
    missing = {"error": "Missing required fields", "missing_fields": ["url"]}
    bad = {"message": "Only http and https URLs can be saved"}
    table = [
        ({}, missing),
        ({"url": None}, missing),
        ({"url": ""}, {"message": "URL is required"}),
        ({"url": "   "}, {"message": "URL is required"}),
        ({"url": 7}, bad),
        ({"url": "not a url"}, bad),
        ({"url": "javascript:alert(1)"}, bad),
        ({"url": "ftp://127.0.0.1/a"}, bad),
        ({"url": "http://"}, bad),
        ({"url": "http://a/" + "x" * 2040}, bad),
        ({"url": BASE, "title": "x" * 10001}, {"error": "Field title exceeds maximum length"}),
        ({"url": BASE, "description": "x" * 100001},
         {"error": "Field description exceeds maximum length"}),
    ]
    for path in ("/api/bookmarks", "/api/bookmarks/quick-save"):
        for body, expected in table:
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()) == (400, expected), body
    assert client.post("/api/bookmarks", data="{").json()["error"] == "invalid_json"
    assert client.post("/api/bookmarks", data="[]").json()["error"] == "invalid_json"
    assert stack.sql("SELECT count(*) FROM saved_content") == [(0,)]


def test_the_longest_url(client):
    url = "http://127.0.0.1:9/" + "\u4e16" * 676
    assert len(url.encode()) == 2047
    client.save(url)
    assert urls(client) == [url]


def test_duplicates(stack, client):
    number = client.save(f"{BASE}/a/", title="First", description="note", tags=["x"])

    def again(url, **fields):
        answer = client.post("/api/bookmarks", json={"url": url, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    expected = {"message": "Bookmark updated", "bookmark": {"id": number, "url": f"{BASE}/a/"},
                "wasDuplicate": True}
    assert again(f"{BASE}/a/") == {**expected, "duplicateType": "exact"}
    assert again(f"{BASE}/a") == {**expected, "duplicateType": "normalized"}
    assert again("HTTP://127.0.0.1:9/a?utm_source=x#part") == {
        **expected, "duplicateType": "normalized"}
    [row] = listed(client)["bookmarks"]
    assert (row["title"], row["description"], row["tags"]) == ("First", "note", ["x"])

    again(f"{BASE}/a", title="", description="", tags="")
    [row] = listed(client)["bookmarks"]
    assert (row["title"], row["description"], row["tags"]) == ("First", "note", [])
    again(f"{BASE}/a", title="Second", description="other note", tags="y,z", category="work")
    [row] = listed(client)["bookmarks"]
    assert (row["title"], row["description"], row["tags"], row["category"]) == (
        "Second", "other note", ["y", "z"], "other")

    # D27: another query is another page.
    client.save(f"{BASE}/watch?v=1")
    client.save(f"{BASE}/watch?v=2")
    assert stack.sql("SELECT count(*) FROM saved_content") == [(3,)]

    # And another user's bookmark is nobody else's duplicate.
    stack.client().sign_up().save(f"{BASE}/a/")


@pytest.mark.parametrize("spelling", ["", "/", "#part{0}", "?utm_source={0}"])
def test_one_page_saved_many_times_at_once(stack, client, spelling):
    def one(which):
        fresh = stack.client()
        fresh.headers["Authorization"] = client.headers["Authorization"]
        return fresh.post("/api/bookmarks", json={
            "url": f"{BASE}/race" + (spelling.format(which) if which % 2 else "")})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["bookmark"]["id"] for answer in answers}) == 1
    assert listed(client)["total"] == 1


def test_quick_save_reads_again(stack, client, pages):
    url = pages.put("/quick", article("Quick", "word " * 100))
    answer = client.post("/api/bookmarks/quick-save", json={"url": url, "title": "Mine"})
    assert answer.status_code == 201 and answer.json()["processing"] == "background"
    number = answer.json()["bookmark"]["id"]
    wait_until(lambda: client.bookmark(number)["has_content"], 10, "the page was read")
    wait_until(lambda: stack.sql("SELECT count(*) FROM outbox") == [(0,)], 10, "no job is owed")

    answer = client.post("/api/bookmarks/quick-save", json={"url": url})
    assert answer.status_code == 200
    assert answer.json() == {"message": "Bookmark updated", "processing": "background",
                             "bookmark": {"id": number, "url": url}, "wasDuplicate": True,
                             "duplicateType": "exact"}
    wait_until(lambda: pages.hits["/quick"] == 2, 10, "the page was read again")
    assert client.bookmark(number)["title"] == "Mine"


def test_open_pages_are_told(stack, client):
    stream = Stream(client, token=client.token)
    url = f"{BASE}/told"
    number = client.save(url, title="First")
    client.post("/api/bookmarks", json={"url": url, "title": "Second"})
    client.delete(f"/api/bookmarks/{number}")
    frames = [frame for frame in stream.until("bookmark.domain.deleted") if ".domain." in frame[0]]
    assert [frame[0] for frame in frames] == [
        f"bookmark.domain.{what}" for what in ("created", "updated", "deleted")]
    assert [frame[2]["type"] for frame in frames] == [frame[0] for frame in frames]
    for frame, title in zip(frames, ("First", "Second", "Second")):
        assert frame[2]["data"] == {"bookmark_id": number, "url": url, "title": title}
    stream.close()


def test_pages_of_the_list(client):
    numbers = [client.save(f"{BASE}/{i}") for i in range(12)]
    body = listed(client)
    assert [row["id"] for row in body["bookmarks"]] == numbers[:1:-1]
    assert (body["total"], body["pages"]) == (12, 2)
    assert [row["id"] for row in listed(client, page=2)["bookmarks"]] == numbers[1::-1]
    beyond = listed(client, page=3)
    assert (beyond["bookmarks"], beyond["total"], beyond["page"]) == ([], 12, 3)

    for params, page, per_page in (({"page": 0}, 1, 10), ({"page": -3}, 1, 10),
                                   ({"page": "x"}, 1, 10), ({"per_page": "x"}, 1, 10),
                                   ({"per_page": 0}, 1, 20), ({"per_page": -1}, 1, 20),
                                   ({"per_page": 5000}, 1, 1000), ({"per_page": 10**30}, 1, 1000),
                                   ({"per_page": " "}, 1, 10), ({"per_page": 12}, 1, 12)):
        body = listed(client, **params)
        assert (body["page"], body["per_page"]) == (page, per_page), params
    huge = listed(client, page=10**15, per_page=1000)
    assert huge["bookmarks"] == [] and huge["total"] == 12


def test_a_list_of_long_notes(stack, client):
    """18 MB of answer; the memory of a request is 32 MiB."""
    stack.sql("""INSERT INTO saved_content (user_id, url, url_norm, page_key, title, notes)
                 SELECT %s, u, u, u, 'long', repeat('\u5b57', 100000)
                 FROM (SELECT 'http://example.org/' || n AS u FROM generate_series(1, 60) n) t""", client.user["id"])
    rows = listed(client, per_page=1000)["bookmarks"]
    assert len(rows) == 60 and all(row["description"] == "\u5b57" * 100000 for row in rows)
    found = client.get("/api/search/text", params={"q": "long", "limit": 100}).json()
    assert found["total"] == 60 and all(len(hit["description"]) == 100000 for hit in found["results"])


def test_an_empty_list(client):
    assert listed(client) == {"bookmarks": [], "total": 0, "page": 1, "per_page": 10, "pages": 0}


def test_searching_the_list(client):
    client.save(f"{BASE}/one", title="Owls at 100%", description="feathers")
    client.save(f"{BASE}/two_x", title="Other", description="a back\\slash")
    client.save(f"{BASE}/three", title="\u00c4pfel")

    def found(text, **more):
        return [url.rsplit("/", 1)[1] for url in urls(client, search=text, **more)]

    table = [("OWLS", ["one"]), ("eather", ["one"]), ("127.0.0.1", ["three", "two_x", "one"]),
             ("100%", ["one"]), ("%", ["one"]), ("_", ["two_x"]), ("\\", ["two_x"]),
             ("o_l", []), ("nothing", []), ("'; --", []), ("  owls ", ["one"])]
    for text, expected in table:
        assert found(text) == expected, text
    body = listed(client, search="owls")
    assert (body["total"], body["pages"]) == (1, 1)
    assert found("x" * 5000) == []


def test_categories(stack, client):
    client.save(f"{BASE}/work", category="work")
    client.save(f"{BASE}/other")
    client.save(f"{BASE}/null")
    client.save(f"{BASE}/empty")
    stack.sql("UPDATE saved_content SET category = NULL WHERE url LIKE '%%/null'")
    stack.sql("UPDATE saved_content SET category = '' WHERE url LIKE '%%/empty'")
    client.save(f"{BASE}/last", category="Work")

    def found(category, **more):
        return [url.rsplit("/", 1)[1] for url in urls(client, category=category, **more)]

    assert found("work") == ["work"]
    assert found("other") == ["empty", "null", "other"]
    assert found("none") == ["empty", "null"]
    assert found("all") == found("") == ["last", "empty", "null", "other", "work"]
    assert found("other", search="nul") == ["null"]


def test_the_list_is_cached_until_the_next_write(stack, client):
    client.save(f"{BASE}/a")
    assert urls(client) == [f"{BASE}/a"]
    stack.sql("UPDATE saved_content SET title = 'behind its back'")
    kept = listed(client)["bookmarks"][0]["title"]
    number = client.save(f"{BASE}/b")
    fresh = {row["title"] for row in listed(client)["bookmarks"]}
    # The job of /a may have dropped the entry in between; a write surely does.
    assert kept in ("Untitled Bookmark", "behind its back") and "behind its back" in fresh
    client.delete(f"/api/bookmarks/{number}")
    assert urls(client) == [f"{BASE}/a"]
    client.delete("/api/bookmarks/all")
    assert urls(client) == []


def test_without_the_cache_every_list_is_new(make_stack):
    stack = make_stack(workers=1, consumers=0, more="cache: { enabled = false; };")
    client = stack.client().sign_up()
    client.save(f"{BASE}/a")
    assert len(urls(client)) == 1
    stack.sql("UPDATE saved_content SET title = 'behind its back'")
    assert listed(client)["bookmarks"][0]["title"] == "behind its back"


def test_users_do_not_see_each_other(stack, client):
    other = stack.client().sign_up()
    number = client.save(f"{BASE}/mine", title="secret")
    assert listed(other)["total"] == 0 and urls(other, search="secret") == []
    answer = other.delete(f"/api/bookmarks/{number}")
    assert (answer.status_code, answer.json()) == (
        404, {"message": "Bookmark not found or unauthorized"})
    quoted = urllib.parse.quote(f"{BASE}/mine", safe="")
    assert other.delete(f"/api/bookmarks/url/{quoted}").status_code == 404
    assert other.delete("/api/bookmarks/all").json() == {"message": "Deleted 0 bookmarks"}
    body = other.post("/api/bookmarks/check-duplicate", json={"url": f"{BASE}/mine"}).json()
    assert body["isDuplicate"] is False
    assert listed(client)["total"] == 1


def test_check_duplicate(client):
    number = client.save(f"{BASE}/a/b?x=1", title="T", description="n")

    def check(url):
        answer = client.post("/api/bookmarks/check-duplicate", json={"url": url})
        assert answer.status_code == 200
        return answer.json()

    for url, kind in ((f"{BASE}/a/b?x=1", "exact"), (f"{BASE}/a/b?x=1#there", "normalized"),
                      (f"{BASE}/a/b?x=1&utm_medium=m", "normalized"), (f"{BASE}/a/b?x=2", "similar"),
                      (f"{BASE}/a/b", "similar")):
        body = check(url)
        assert (body["isDuplicate"], body["duplicateType"]) == (True, kind), url
        assert body["existingBookmark"].pop("saved_at")[10] == "T"
        assert body["existingBookmark"] == {"id": number, "title": "T", "notes": "n",
                                            "url": f"{BASE}/a/b?x=1"}
    nothing = {"isDuplicate": False, "duplicateType": None, "existingBookmark": None}
    for url in ("http", "http:/", "h", "not a url", f"{BASE}/a", "x" * 5000):
        assert check(url) == nothing, url
    for body in ({}, {"url": ""}, {"url": None}, {"url": "  "}):
        answer = client.post("/api/bookmarks/check-duplicate", json=body)
        assert (answer.status_code, answer.json()) == (400, {"message": "URL is required"})


def test_delete_by_number(stack, client):
    number = client.save(f"{BASE}/a")
    stack.sql("INSERT INTO content_analysis (user_id, content_id, analysis_data)"
              " VALUES (%s, %s, '{}') ON CONFLICT DO NOTHING", client.user["id"], number)
    answer = client.delete(f"/api/bookmarks/{number}", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {"message": "Bookmark deleted"})
    assert listed(client)["total"] == 0
    assert stack.sql("SELECT count(*) FROM outbox") == [(0,)]
    answer = client.delete(f"/api/bookmarks/{number}")
    assert (answer.status_code, answer.json()) == (
        404, {"message": "Bookmark not found or unauthorized"})
    for path in ("0", "2147483648", "99999999999999999999", "-1", "x"):
        assert client.delete(f"/api/bookmarks/{path}").status_code in (404, 405), path


def test_a_deleted_bookmarks_waiting_job_is_taken_back(stack, client, pages):
    # The one consumer is kept busy, so that the second job waits.
    slow = pages.put("/slow", article("Slow", "word"), delay=3)
    busy = client.save(slow)
    wait_until(lambda: pages.hits.get("/slow"), 10, "the consumer is busy")
    number = client.save(pages.put("/gone", article("Gone", "word")))
    wait_until(lambda: stack.redis.llen("rq:queue:default") == 1, 5, "the job waits")
    assert client.delete(f"/api/bookmarks/{number}").status_code == 200
    assert stack.redis.llen("rq:queue:default") == 0
    wait_until(lambda: client.bookmark(busy)["scrape_status"] == "SUCCESS", 10, "the first is done")
    assert "/gone" not in pages.hits


def delete_by_url(client, text):
    """Sends exactly this path: requests would tidy it."""
    address = urllib.parse.urlsplit(client.base)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall((f"DELETE /api/bookmarks/url/{text} HTTP/1.1\r\nHost: x\r\n"
                            f"Authorization: {client.headers['Authorization']}\r\n"
                            "Connection: close\r\n\r\n").encode())
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    return int(data.split()[1])


def test_delete_by_url(client):
    def quoted(url):
        return urllib.parse.quote(url, safe="")

    table = [
        # saved, sent
        (f"{BASE}/a?x=1", quoted(f"{BASE}/a?x=1")),
        (f"{BASE}/a%20b/c%2Fd", quoted(f"{BASE}/a%20b/c%2Fd")),  # decoded once
        (f"{BASE}/Auto/Path/", quoted(f"{BASE}/auto/path")),  # as the extension sends it
        (f"{BASE}/auto/path", quoted(f"{BASE}/Auto/Path/")),
        (f"{BASE}/Twice//", quoted(f"{BASE}/twice/")),
        (f"{BASE}/plain", f"{BASE}/plain"),  # unencoded, double slash kept
        (f"{BASE}/plain/", f"{BASE}/plain/"),
        (f"{BASE}/plain?x=1&y=2", f"{BASE}/plain?x=1&y=2"),
        (f"{BASE}/\u00fc", quoted(f"{BASE}/\u00fc")),
    ]
    for saved, sent in table:
        client.save(saved)
        client.save(f"{BASE}/bystander")
        assert delete_by_url(client, sent) == 200, sent
        assert urls(client) == [f"{BASE}/bystander"], sent
        client.delete("/api/bookmarks/all")
    client.save(f"{BASE}/a?x=1")
    for sent in (quoted(f"{BASE}/a"), quoted(f"{BASE}/a?x=1&"), "nothing", quoted("%")):
        assert delete_by_url(client, sent) == 404, sent
    assert listed(client)["total"] == 1


def test_delete_by_url_prefers_the_exact_and_then_the_newest(client):
    for path in ("P", "p?1", "Q", "q"):
        client.save(f"{BASE}/{path}")
    delete_by_url(client, urllib.parse.quote(f"{BASE}/Q", safe=""))
    assert f"{BASE}/Q" not in urls(client) and f"{BASE}/q" in urls(client)
    client.save(f"{BASE}/R")
    client.save(f"{BASE}/r")
    delete_by_url(client, urllib.parse.quote(f"{BASE}/r/", safe=""))
    assert f"{BASE}/R" in urls(client) and f"{BASE}/r" not in urls(client)


def test_delete_all(stack, client):
    for i in range(6):
        client.save(f"{BASE}/{i}")
    other = stack.client().sign_up()
    other.save(f"{BASE}/other")
    assert listed(client)["total"] == 6
    answer = client.delete("/api/bookmarks/all")
    assert (answer.status_code, answer.json()) == (200, {"message": "Deleted 6 bookmarks"})
    assert listed(client)["total"] == 0 and listed(other)["total"] == 1


def test_extract_url(client, pages):
    url = pages.put("/look", article("Owls", "feather " * 700))
    body = client.post("/api/bookmarks/extract-url", json={"url": url}).json()
    assert (body["success"], body["title"], body["url"]) == (True, "Owls", url)
    assert len(body["description"]) == 1000 and "feather" in body["description"]
    assert body["quality_score"] == 1.0
    scraped = body["scraped"]
    assert scraped["title"] == "Owls" and scraped["meta_description"] == "About Owls"
    assert scraped["content_length"] > 5000 and "Owls" in scraped["headings"]
    assert listed(client)["total"] == 0


def test_extract_url_that_fails_is_an_answer(make_stack, pages):
    stack = make_stack(fetch='timeout = "500ms";')
    client = stack.client().sign_up()
    slow = pages.put("/slow", "x", delay=5)
    for url in (pages.url("/missing"), f"{BASE}/refused", "not a url", "javascript:alert(1)", slow):
        began = time.monotonic()
        answer = client.post("/api/bookmarks/extract-url", json={"url": url})
        assert answer.status_code == 200 and time.monotonic() - began < 4
        message = answer.json().pop("message")
        assert message and {k: v for k, v in answer.json().items() if k != "message"} == {
            "title": "Untitled", "description": "", "url": url, "success": False}
    for body in ({}, {"url": ""}, {"url": None}):
        answer = client.post("/api/bookmarks/extract-url", json=body)
        assert (answer.status_code, answer.json()) == (400, {"message": "URL is required"})


def test_extract_url_refuses_private_addresses(make_stack, pages):
    stack = make_stack(allow_private="false")
    client = stack.client().sign_up()
    url = pages.put("/secret", article("Secret", "word"))
    body = client.post("/api/bookmarks/extract-url", json={"url": url}).json()
    assert body["success"] is False and "/secret" not in pages.hits


def test_stats(stack, client, pages):
    def stats():
        return client.get("/api/bookmarks/dashboard/stats").json()

    nothing = {"value": 0, "change": "+0.0%", "change_value": 0}
    assert stats() == {"total_bookmarks": nothing, "active_projects": nothing,
                       "weekly_saves": nothing, "success_rate": nothing}
    # Pages that are not there: their jobs are done at once.
    numbers = [client.save(pages.url(f"/{i}")) for i in range(6)]
    assert stats()["total_bookmarks"] == {"value": 6, "change": "+100.0%", "change_value": 100}
    assert stats()["weekly_saves"] == {"value": 6, "change": "+100.0%", "change_value": 100}
    client.delete(f"/api/bookmarks/{numbers.pop()}")
    assert stats()["total_bookmarks"]["value"] == 5

    # Two of five are good; one is from the week before, three were there a month ago.
    user = client.user["id"]
    wait_until(lambda: stack.sql("SELECT count(*) FROM saved_content WHERE analysis_status"
                                 " IN ('PENDING', 'RUNNING')") == [(0,)], 20, "jobs are done")
    stack.sql("DELETE FROM content_analysis")
    stack.sql("UPDATE saved_content SET saved_at = now() AT TIME ZONE 'utc' - interval '40 days'"
              " WHERE id = ANY(%s)", numbers[:3])
    stack.sql("UPDATE saved_content SET saved_at = now() AT TIME ZONE 'utc' - interval '9 days'"
              " WHERE id = %s", numbers[3])
    stack.sql("UPDATE saved_content SET quality_score = 50 WHERE id = ANY(%s)", numbers[:3])
    stack.sql("INSERT INTO content_analysis (user_id, content_id, analysis_data) SELECT user_id, id,"
              " '{}' FROM saved_content WHERE id = ANY(%s)", [numbers[0], numbers[1], numbers[4]])
    stack.sql("INSERT INTO projects (user_id, title, created_at) VALUES (%s, 'old', now() - interval"
              " '90 days'), (%s, 'new', now())", user, user)
    client.delete(f"/api/bookmarks/{client.save(f'{BASE}/drop-the-cache')}")
    assert stats() == {
        "total_bookmarks": {"value": 5, "change": "+66.7%", "change_value": 66.7},
        "active_projects": {"value": 2, "change": "+100.0%", "change_value": 100},
        "weekly_saves": {"value": 1, "change": "+0.0%", "change_value": 0},
        "success_rate": {"value": 40, "change": "+0.0%", "change_value": 0}}
