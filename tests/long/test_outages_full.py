"""Ten seconds without Redis while a hundred links are saved, as an operator would see it."""

import signal
import time

import pytest
from pages import article
from services import wait_until

LINKS = 100


@pytest.mark.parametrize("how", ["shut down", "stopped"])
def test_a_hundred_saves_in_ten_seconds_without_redis(make_stack, pages, redis_server, how):
    stack = make_stack(consumers=2)
    client = stack.client().sign_up()
    for number in range(LINKS):
        pages.put(f"/{number}", article(f"Page {number}", "word " * 60))
    began = time.monotonic()
    if how == "shut down":
        redis_server.stop()
    else:
        redis_server.server.signal(signal.SIGSTOP)
    times = []
    for number in range(LINKS):
        started = time.monotonic()
        client.save(pages.url(f"/{number}"))
        times.append(time.monotonic() - started)
        time.sleep(max(0, began + (number + 1) * 10 / LINKS - time.monotonic()))
    if how == "shut down":
        redis_server.start()
    else:
        redis_server.server.signal(signal.SIGCONT)
    back = time.monotonic()

    def all_done():
        return stack.sql("SELECT scrape_status, count(*) FROM saved_content GROUP BY 1") == [("SUCCESS", LINKS)]
    wait_until(all_done, 60, "all are processed")
    print(f"\nRedis {how}: slowest save {max(times) * 1000:.0f} ms, median "
          f"{sorted(times)[LINKS // 2] * 1000:.1f} ms; all {LINKS} done {time.monotonic() - back:.1f} s after it was back")
    assert max(times) < 1
    assert [pages.hits[f"/{number}"] for number in range(LINKS)] == [1] * LINKS
