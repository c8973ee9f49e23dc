"""The main job: a link is saved, read by a consumer, watched live, found by its text."""

import time

import pytest

from pages import article
from services import wait_until
from stack import UNDER_VALGRIND, Stream

STAGES = ["bookmark.pipeline.scraping.started", "bookmark.pipeline.scraping.completed",
          "bookmark.pipeline.embedding.started", "bookmark.pipeline.embedding.completed",
          "bookmark.pipeline.analysis.started", "bookmark.pipeline.analysis.completed"]


def test_from_save_to_search(stack, pages):
    url = pages.put("/owls", article("All about owls", "zanzibarian " + "feather night hunter " * 200))
    client = stack.client().sign_up()
    stream = Stream(client, token=client.token)
    assert stream.next()[0] == "system.connected"

    began = time.monotonic()
    number = client.save(url)
    frames = stream.until(STAGES[-1])
    took = time.monotonic() - began
    assert took < (30 if UNDER_VALGRIND else 2), f"the stages took {took:.1f} s"

    pipeline = [frame for frame in frames if ".pipeline." in frame[0]]
    assert [frame[0] for frame in pipeline] == STAGES
    assert [frame[2]["sequence"] for frame in pipeline] == [1, 2, 3, 4, 5, 6]
    assert len({frame[2]["pipeline_run_id"] for frame in pipeline}) == 1
    assert pipeline[0][2]["type"] == "bookmark.scraping.started"
    assert pipeline[1][2]["data"]["title"] == "All about owls"
    assert all(frame[1] == frame[2]["event_id"] for frame in pipeline)

    row = client.bookmark(number)
    assert row["title"] == "All about owls"
    assert row["quality_score"] == 100 and row["reading_time"] == 3
    assert row["has_content"] is True and row["scrape_status"] == "SUCCESS"

    found = client.get("/api/search/text", params={"q": "zanzibarian"}).json()
    assert [hit["id"] for hit in found["results"]] == [number]

    statuses = stack.sql("SELECT scrape_status, embedding_status, analysis_status, cardinality(embedding)"
                         " FROM saved_content WHERE id = %s", number)
    assert statuses == [("SUCCESS", "SUCCESS", "SUCCESS", 384)]
    assert stack.sql("SELECT count(*) FROM outbox") == [(0,)]
    stream.close()


def test_missed_events_are_replayed_and_others_never(stack, pages):
    client, other = stack.client().sign_up(), stack.client().sign_up()
    stream = Stream(client, token=client.token)
    client.save(pages.put("/a", article("A", "word " * 60)))
    first = stream.until("bookmark.pipeline.scraping.started")[-1]
    stream.until(STAGES[-1])
    stream.close()

    again = Stream(client, token=client.token, last_event_id=first[1])
    replayed = [frame[0] for frame in again.until(STAGES[-1]) if ".pipeline." in frame[0]]
    assert replayed == STAGES[1:]
    again.close()

    foreign = Stream(other, token=other.token, last_event_id=first[1])
    assert foreign.next()[0] == "system.connected"
    other.save(pages.put("/b", article("B", "word " * 60)))
    assert foreign.next()[2]["data"]["url"].endswith("/b")
    foreign.close()


def test_a_page_that_is_not_there(stack, pages):
    client = stack.client().sign_up()
    stream = Stream(client, token=client.token)
    number = client.save(pages.url("/missing"), title="My title")
    frames = stream.until(STAGES[-1])
    completed = next(frame[2] for frame in frames if frame[0] == STAGES[1])
    assert completed["error"]["error_code"] == "FETCH_FAILED" and completed["category"] == "error"
    row = client.bookmark(number)
    assert (row["title"], row["scrape_status"], row["has_content"]) == ("My title", "FAILED", False)
    stream.close()


def test_private_addresses_are_not_fetched(make_stack, pages):
    stack = make_stack(allow_private="false")
    client = stack.client().sign_up()
    number = client.save(pages.put("/secret", article("Secret", "word " * 60)))
    wait_until(lambda: client.bookmark(number)["scrape_status"] == "FAILED", 10, "the fetch is refused")
    assert pages.hits == {}


@pytest.mark.parametrize("status", [200, 404])
def test_a_deleted_bookmark_ends_its_job_quietly(stack, pages, status):
    """But the pages that count what is under way are told of its end."""
    client = stack.client().sign_up()
    stream = Stream(client, token=client.token)
    number = client.save(pages.put("/slow", article("Slow", "word " * 60), delay=1, status=status))
    wait_until(lambda: pages.hits.get("/slow"), 5, "the fetch has begun")
    assert client.delete(f"/api/bookmarks/{number}").status_code == 200
    wait_until(lambda: stack.redis.zcard("rq:wip:default") == 0, 10, "the job ends")
    assert stack.redis.zcard("rq:failed:default") == 0
    assert stack.sql("SELECT count(*) FROM saved_content") == [(0,)]
    frames = [frame for frame in stream.until("bookmark.pipeline.scraping.completed") if ".pipeline." in frame[0]]
    assert [frame[2]["sequence"] for frame in frames] == [1, 2]
    assert frames[1][2]["pipeline_run_id"] == frames[0][2]["pipeline_run_id"]
    assert (frames[1][2]["category"], frames[1][2]["error"]["error_code"]) == ("error", "BOOKMARK_DELETED")


def test_a_bookmark_deleted_between_two_attempts(stack, pages):
    client = stack.client().sign_up()
    stream = Stream(client, token=client.token)
    number = client.save(pages.put("/busy", "", status=503))
    job, = wait_until(lambda: stack.redis.zrange("rq:scheduled:default", 0, -1), 10, "it waits for its retry")
    assert client.delete(f"/api/bookmarks/{number}").status_code == 200
    stack.redis.delete(*stack.redis.keys("fm:fetch:*"))  # else the page's host is left alone for a while
    stack.redis.zadd("rq:scheduled:default", {job: 1})
    frames = [frame[2] for frame in stream.until("bookmark.pipeline.scraping.completed", 20)
              if ".pipeline." in frame[0]]
    assert [frame["sequence"] for frame in frames] == [1, 2]
    assert frames[1]["pipeline_run_id"] == frames[0]["pipeline_run_id"]
    assert frames[1]["error"]["error_code"] == "BOOKMARK_DELETED"
    wait_until(lambda: stack.redis.zcard("rq:wip:default") == 0, 10, "the job ends")
    assert pages.hits == {"/busy": 1} and not stack.redis.keys("fm:begun:*")
