"""Search by text: ranked matches first, then what merely contains the words."""

import random
import urllib.parse

import pytest

BASE = "http://127.0.0.1:9"


@pytest.fixture
def client(stack):
    return stack.client().sign_up()


def search(client, query, **params):
    answer = client.get("/api/search/text", params={"q": query, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(client, query, **params):
    return [hit["url"].rsplit("/", 1)[1] for hit in search(client, query, **params)["results"]]


def set_text(stack, number, text):
    stack.sql("UPDATE saved_content SET extracted_text = %s WHERE id = %s", text, number)


def test_the_shape_of_an_answer(stack, client):
    number = client.save(f"{BASE}/a", title="Prefork servers", description="a note")
    set_text(stack, number, "words")
    body = search(client, "prefork")
    [hit] = body["results"]
    assert hit.pop("saved_at")[10] == "T"
    assert hit == {"id": number, "title": "Prefork servers", "url": f"{BASE}/a",
                   "description": "a note", "has_content": True}
    assert body["query"] == "prefork" and body["total"] == 1


def test_where_words_are_found(stack, client):
    client.save(f"{BASE}/title", title="About zebras")
    client.save(f"{BASE}/note", description="a zebra in the notes")
    client.save(f"{BASE}/tag", tags=["zebra"])
    set_text(stack, client.save(f"{BASE}/text"), "There was a zebra in the text of the page.")
    client.save(f"{BASE}/none", title="Horses")
    found = names(client, "zebra")
    assert found[0] == "title" and set(found) == {"title", "note", "tag", "text"}
    assert names(client, "zebras in a note") == ["note"]
    assert names(client, "unicorn") == []


def test_matches_come_before_mere_substrings(stack, client):
    client.save(f"{BASE}/older", title="The cataloguing of things")
    client.save(f"{BASE}/match", title="A cat")
    client.save(f"{BASE}/newer", description="concatenation")
    set_text(stack, client.save(f"{BASE}/text"), "educated scat")
    assert names(client, "cat") == ["match", "text", "newer", "older"]
    assert names(client, "cat", limit=2) == ["match", "text"]
    assert names(client, "cat", limit=1) == ["match"]
    # Signs that mean something to LIKE or to the query language are text, too.
    client.save(f"{BASE}/percent", title="100%_sure\\")
    assert names(client, "%_sure\\") == ["percent"]
    for odd in ("%", "_", "'", "\"", "\" or -", "a & | !", ":*", "(", "\\"):
        search(client, odd)


def test_what_only_excludes_is_a_word_to_look_for(client):
    client.save(f"{BASE}/flag", title="What -Wall warns of")
    client.save(f"{BASE}/other", title="Something else")
    assert names(client, "-Wall") == ["flag"]
    assert names(client, "-Wall -warns") == ["flag"]
    assert names(client, "something -wall") == ["other"]
    assert names(client, "-") == ["flag"]


def test_limits(client):
    for i in range(12):
        client.save(f"{BASE}/{i}", title=f"needle {i}")
    for limit, count in ((None, 10), (0, 1), (-5, 1), ("x", 10), (11, 11), (1000, 12)):
        params = {} if limit is None else {"limit": limit}
        assert search(client, "needle", **params)["total"] == count, limit
    assert search(client, "x" * 1000)["total"] == 0
    answer = client.get("/api/search/text", params={"q": "x" * 1001})
    assert (answer.status_code, answer.json()) == (
        400, {"message": "Query exceeds maximum length of 1000 characters"})
    for query in ("", "   "):
        assert search(client, query) == {"query": "", "results": [], "total": 0}
    assert client.get("/api/search/text").json() == {"query": "", "results": [], "total": 0}


def test_other_users_bookmarks_are_not_found(stack, client):
    stack.client().sign_up().save(f"{BASE}/theirs", title="needle")
    assert names(client, "needle") == []
    assert stack.client().get("/api/search/text", params={"q": "needle"}).status_code == 401


def test_words_that_grow_when_made_small(stack, client):
    """Ⱥ and Ⱦ take a byte more in small letters: such a word ended PostgreSQL's process."""
    started = stack.sql("SELECT pg_postmaster_start_time(), pg_stat_get_db_sessions_fatal(oid)"
                        " FROM pg_database WHERE datname = current_database()")
    word = "".join(random.Random(3).choice("ȺȾ") for _ in range(1000))
    number = client.save(f"{BASE}/{word}", title=word[:200], tags=[word], description=word + " marmot")
    set_text(stack, number, word * 100 + " wombat")
    assert names(client, "marmot") == names(client, "wombat") == [word]
    assert names(client, word[:200]) == [word]
    search(client, word)
    [(length,)] = stack.sql("SELECT max(octet_length(word)) FROM saved_content,"
                            " unnest(tsvector_to_array(search_vector)) word WHERE id = %s", number)
    assert length < 2047
    short = client.save(f"{BASE}/{word[:600]}")
    answer = client.delete("/api/bookmarks/url/" + urllib.parse.quote(f"{BASE}/{word[:600].lower()}", safe=""))
    assert answer.status_code == 200, answer.text
    assert stack.sql("SELECT id FROM saved_content WHERE id IN (%s, %s)", number, short) == [(number,)]
    assert stack.sql("SELECT pg_postmaster_start_time(), pg_stat_get_db_sessions_fatal(oid)"
                     " FROM pg_database WHERE datname = current_database()") == started
