"""Jobs that cannot be brought into the database: their end is told, and they do no more harm."""

import pytest
from pages import article
from services import wait_until
from stack import Stream

# As a crash: all connections break without a word, and the server recovers.
ENDS_ITS_SERVER = "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID';"
SAYS_GOODBYE = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1);"
IS_REFUSED = "RAISE EXCEPTION 'not this one';"


@pytest.fixture
def waiting(make_stack, pages):
    """A stack, a stream of its user's, and a job that waits: nobody consumes yet."""
    stack = make_stack(workers=1, consumers=0)
    client = stack.client().sign_up()
    number = client.save(pages.put("/page", article("Page", "word " * 60)))
    job, = wait_until(lambda: stack.redis.lrange("rq:queue:default", 0, -1), 5, "the job waits")
    return stack, client, number, job.decode()


def when_written(stack, columns, does):
    """From now on, whoever changes these columns of a bookmark to something that counts."""
    stack.sql(f"""CREATE FUNCTION meet() RETURNS trigger LANGUAGE plpgsql AS $$
                  BEGIN IF NEW.scrape_status <> 'FAILED' AND NEW.analysis_status <> 'FAILED' THEN {does} END IF; RETURN NEW; END $$;
                  CREATE TRIGGER meet BEFORE UPDATE OF {columns} ON saved_content
                  FOR EACH ROW EXECUTE FUNCTION meet()""")


@pytest.mark.parametrize("before", [pytest.param(0, marks=pytest.mark.long), 4])
def test_a_job_that_ends_its_server_is_given_up(waiting, before):
    stack, client, number, job = waiting
    if before:
        stack.redis.set(f"fm:losses:{job}", before)
    when_written(stack, "extracted_text", ENDS_ITS_SERVER)
    stream = Stream(client)
    stack.reload(consumers=1)
    failed = next(frame for frame in stream.until("bookmark.pipeline.embedding.started", 90)
                  if frame[0] == "bookmark.pipeline.scraping.completed")
    assert failed[2]["error"]["error_code"] == "SAVE_FAILED", failed
    assert stack.log_text().count("process_bookmark_content_task put off") == 5 - before
    assert client.bookmark(number)["scrape_status"] == "FAILED"
    wait_until(lambda: stack.redis.zscore("rq:failed:default", job) is not None, 5, "it failed")
    assert "it may be what ends the server" in stack.log_text()
    assert stack.redis.hget(f"rq:job:{job}", "retries_left") == b"2"
    assert not stack.redis.keys("fm:losses:*") + stack.redis.keys("fm:begun:*")


def test_an_embedding_that_was_made_is_not_what_failed(waiting):
    stack, client, number, _ = waiting
    when_written(stack, "analyzed_at", ENDS_ITS_SERVER)
    stream = Stream(client)
    stack.reload(consumers=1)
    stream.until("bookmark.pipeline.analysis.started", 20)
    key, = wait_until(lambda: stack.redis.keys("fm:losses:*"), 10, "it was lost")
    stack.redis.set(key, 5)
    frame = stream.until("bookmark.pipeline.analysis.failed", 20)[-1]
    assert frame[2]["sequence"] == 6
    assert stack.sql("SELECT scrape_status, embedding_status, analysis_status FROM saved_content WHERE id = %s",
                     number) == [("SUCCESS", "SUCCESS", "FAILED")]


def test_a_server_that_is_restarted_is_no_poison(waiting):
    stack, client, number, job = waiting
    stack.redis.set(f"fm:losses:{job}", 4)
    when_written(stack, "extracted_text", SAYS_GOODBYE)
    stack.reload(consumers=1)
    wait_until(lambda: stack.redis.zscore("rq:scheduled:default", job) is not None, 20, "it is put off")
    stack.sql("DROP TRIGGER meet ON saved_content")
    wait_until(lambda: client.bookmark(number)["scrape_status"] == "SUCCESS", 20, "and done")


def test_a_job_that_cannot_even_say_so_ends(waiting):
    stack, client, number, job = waiting
    stack.redis.set(f"fm:losses:{job}", 5)
    when_written(stack, "scrape_status", ENDS_ITS_SERVER)
    stack.reload(consumers=1)
    wait_until(lambda: stack.redis.zscore("rq:failed:default", job) is not None, 30, "it failed")
    assert "it may be what ends the server" in stack.log_text()
    assert client.bookmark(number)["scrape_status"] == "FAILED"
    assert stack.sql("SELECT count(*) FROM outbox WHERE job_id = %s", job) == [(0,)]


def test_the_last_failure_to_save_is_shown(waiting):
    stack, client, number, job = waiting
    stack.redis.hset(f"rq:job:{job}", "retries_left", 0)
    when_written(stack, "extracted_text", IS_REFUSED)
    stream = Stream(client)
    stack.reload(consumers=1)
    names = [name.removeprefix("bookmark.pipeline.")
             for name, *_ in stream.until("bookmark.pipeline.analysis.completed", 20)]
    assert names[1:3] == ["scraping.started", "scraping.completed"], names
    assert client.bookmark(number)["scrape_status"] == "FAILED"
    assert stack.redis.zscore("rq:failed:default", job) is not None
