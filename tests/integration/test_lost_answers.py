"""PostgreSQL does what it is asked for, and its answer is lost: what is shown then is what stands."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pages import article
from proxy import AnswerLoser, bind_of
from services import wait_until
from stack import PASSWORD, Stream
from test_auth import cookie_values, login, refresh


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


def test_a_list_after_a_request_that_ended_in_the_middle_of_its_commit(through, loser):
    stack = through(consumers=0, jobs="scheduler = false;", server="request_timeout = 2;")
    client = stack.client().sign_up()
    client.save(OLD)
    assert shown(client) == [OLD]
    loser.lose(bind_of("bookmark_insert"), b"COMMIT", is_silent=True)
    answer = client.post("/api/bookmarks", json={"url": NEW})
    assert (answer.status_code, loser.lost) == (503, 1), answer.text
    wait_until(lambda: shown(client) == [NEW, OLD], 5, "the list says so")


def test_a_list_after_a_drain_ended_a_request_in_its_commit(through, loser):
    stack = through(workers=1, consumers=0, jobs="scheduler = false;",
                    server="request_timeout = 60; graceful_timeout = 3;")
    client, saver = stack.client().sign_up("ann"), stack.client().log_in("ann")
    client.save(OLD)
    assert shown(client) == [OLD]
    loser.lose(bind_of("bookmark_insert"), b"COMMIT", is_silent=True)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(saver.post, "/api/bookmarks", json={"url": NEW})
        wait_until(lambda: loser.lost, 20, "it is in its commit")
        client.close()  # or the worker would wait for this connection, too
        assert stack.ctl("restart", "--rolling", "--wait").returncode == 0
        assert answer.result(20).status_code == 503
    wait_until(lambda: shown(client) == [NEW, OLD], 5, "the list says so")


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


@pytest.fixture
def elsewhere(through):
    """Somebody who is signed in at two places: here, and there."""
    stack = through(consumers=0, jobs="scheduler = false;")
    here, there = stack.client().sign_up("ann"), stack.client().log_in("ann")
    assert there.get("/api/auth/verify").ok
    return here, there


def assert_is_out(client):
    answer = client.get("/api/auth/verify")
    assert (answer.status_code, answer.json()["error"]) == (401, "token_revoked")


def test_sessions_end_with_a_password_whose_answer_was_lost(elsewhere, loser):
    here, there = elsewhere
    loser.lose(bind_of("family_revoke_others"), b"COMMIT")
    answer = here.post("/api/auth/set-password",
                       json={"new_password": "N3w-password", "current_password": PASSWORD})
    assert (answer.status_code, loser.lost) == (503, 1), answer.text
    assert_is_out(there)
    assert here.get("/api/auth/verify").ok


def test_a_stolen_token_ends_its_session_though_the_answer_was_lost(elsewhere, loser):
    here, there = elsewhere
    first = login(here, "ann")
    there.headers["Authorization"] = f"Bearer {first.json()['access_token']}"
    stolen = cookie_values(first)
    refresh(here, cookie_values(refresh(here, stolen)))  # the last but one may be on its way
    assert there.get("/api/auth/verify").ok
    loser.lose(bind_of("family_revoke"), b"COMMIT")
    assert (refresh(here, stolen).status_code, loser.lost) == (503, 1)
    assert_is_out(there)


def test_a_list_after_a_job_lost_its_answer(through, loser, pages):
    stack = through(workers=1, jobs="scheduler = false;")  # so the job does not run again
    client = stack.client().sign_up()
    stream = Stream(client)
    loser.lose(bind_of("pipeline_scrape_save"), b"COMMIT")
    number = client.save(pages.put("/page", article("Page", "word " * 60), delay=1))
    stream.until("bookmark.pipeline.scraping.started", 20)
    assert client.bookmark(number)["scrape_status"] == "RUNNING"
    wait_until(lambda: loser.lost, 20, "the answer is lost")
    wait_until(lambda: client.bookmark(number)["scrape_status"] == "SUCCESS", 20, "the list says so")


def test_the_end_of_a_job_that_failed_is_heard(through, loser, pages):
    """It is tried again, as a run of its own."""
    stack = through(workers=1)
    client = stack.client().sign_up()
    stream = Stream(client)
    loser.lose(bind_of("pipeline_scrape_failed"), b"COMMIT")
    client.save(pages.url("/none"))
    heard = [name.rpartition("scraping.")[2] for _ in range(2)
             for name, *_ in stream.until("bookmark.pipeline.scraping.completed", 40) if "scraping" in name]
    assert (loser.lost, heard) == (1, ["started", "completed", "started", "completed"])


@pytest.mark.parametrize("last", [
    pytest.param("pipeline_start_scrape", marks=pytest.mark.long),
    "pipeline_scrape_save",
    pytest.param("pipeline_start_embedding", marks=pytest.mark.long),
    pytest.param("pipeline_embedding_save", marks=pytest.mark.long),
    pytest.param("pipeline_analysis_done", marks=pytest.mark.long),
])
def test_each_event_of_a_job_is_heard_once(through, loser, pages, last):
    """Also those whose commit stands, though its answer was lost."""
    stack = through(workers=1)
    client = stack.client().sign_up()
    stream = Stream(client)
    loser.lose(bind_of(last), b"COMMIT")
    number = client.save(pages.put("/page", article("Page", "word " * 60)))
    frames = stream.until("bookmark.pipeline.analysis.completed", 40)
    assert loser.lost == 1
    wait_until(lambda: not stack.redis.keys("*untold*"), 10, "nothing is left to be told")
    client.save(OLD)
    frames += stream.until("bookmark.domain.created", 10)
    names = [name.removeprefix("bookmark.pipeline.") for name, _, data in frames
             if name.startswith("bookmark.pipeline.") and data["bookmark_id"] == number]
    assert sorted(names) == sorted(f"{stage}.{what}" for stage in ("scraping", "embedding", "analysis")
                                   for what in ("started", "completed")), frames
