"""PostgreSQL does what it is asked for, and its answer is lost: what is shown then is what stands."""

import pytest
from proxy import AnswerLoser, bind_of


@pytest.fixture
def loser(postgres):
    made = AnswerLoser(f"{postgres.folder}/.s.PGSQL.5432")
    yield made
    made.close()


@pytest.fixture
def through(make_stack, loser, postgres, monkeypatch):
    def make(**options):
        stack = make_stack(start=False, pooler=None, **options)
        monkeypatch.setattr(postgres, "url",
                            lambda database: f"postgresql://forkmark@127.0.0.1:{loser.port}/{database}")
        return stack.start()
    return make


def shown(client):
    return [each["url"] for each in client.get("/api/bookmarks").json()["bookmarks"]]


OLD, NEW = "http://example.invalid/old", "http://example.invalid/new"


@pytest.mark.parametrize("wanted, call, left", [
    ([bind_of("bookmark_delete")], lambda client, number: client.delete(f"/api/bookmarks/{number}"), []),
    ([bind_of("bookmark_delete")],
     lambda client, _: client.delete("/api/bookmarks/url/" + OLD.replace("/", "%2F")), []),
    ([bind_of("bookmark_delete_all")], lambda client, _: client.delete("/api/bookmarks/all"), []),
    ([bind_of("bookmark_insert"), b"COMMIT"],
     lambda client, _: client.post("/api/bookmarks", json={"url": NEW}), [NEW, OLD]),
], ids=["delete", "delete by url", "delete all", "save"])
def test_a_list_after_a_lost_answer(through, loser, wanted, call, left):
    stack = through(consumers=0, jobs="scheduler = false;")
    client = stack.client().sign_up()
    number = client.save(OLD)
    assert shown(client) == [OLD]
    loser.lose(*wanted)
    answer = call(client, number)
    assert (answer.status_code, loser.lost) == (503, 1), answer.text
    assert stack.sql("SELECT count(*) FROM saved_content") == [(len(left),)], "it was done"
    assert shown(client) == left


def test_a_list_without_what_is_not_there(through):
    """Whoever deletes what is gone has an old list before him."""
    stack = through(consumers=0, jobs="scheduler = false;")
    client = stack.client().sign_up()
    number = client.save(OLD)
    assert shown(client) == [OLD]
    stack.sql("DELETE FROM saved_content")
    assert shown(client) == [OLD], "it is cached"
    assert client.delete(f"/api/bookmarks/{number}").status_code == 404
    assert shown(client) == []
