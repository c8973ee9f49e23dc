"""Clients that save bookmarks all the time, and what has become of them."""

import threading
import time

import requests
from pages import article


class Savers:
    """`count` clients of one user, each saving pages of its own, until stop()."""

    def __init__(self, stack, pages, count=4, pause=0.05):
        self.stack, self.pages, self.pause = stack, pages, pause
        self.stopping, self.lock = threading.Event(), threading.Lock()
        self.saved, self.failures, self.slowest = {}, [], 0.0  # id -> path
        first = stack.client().sign_up()
        clients = [first] + [stack.client().log_in(first.user["username"]) for _ in range(count - 1)]
        self.threads = [threading.Thread(target=self.run, args=(number, client), daemon=True)
                        for number, client in enumerate(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number, client):
        count = 0
        while not self.stopping.is_set():
            count += 1
            path = f"/{number}-{count}"
            self.pages.put(path, article(f"Page {number} {count}", "word " * 60))
            began = time.monotonic()
            try:
                answer = client.post("/api/bookmarks", json={"url": self.pages.url(path)})
                with self.lock:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if answer.status_code == 201:
                        self.saved[answer.json()["bookmark"]["id"]] = path
                    else:
                        self.failures.append((answer.status_code, answer.text))
            except requests.RequestException as error:
                self.failures.append(repr(error))
            time.sleep(self.pause)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(40)
        return self

    def unfinished(self):
        """Those answered 201 whose page is not read, or not embedded, or not analysed."""
        rows = self.stack.sql("""SELECT id, scrape_status, embedding_status, analysis_status
                                 FROM saved_content""")
        done = {row[0] for row in rows if row[1:] == ("SUCCESS",) * 3}
        known = {row[0] for row in rows}
        with self.lock:
            lost = [(number, "lost") for number in self.saved if number not in known]
        return [row for row in rows if row[0] not in done] + lost

    def explain(self, server):
        """What is known of those."""
        owed = self.stack.sql("SELECT job_id, bookmark_id, created_at FROM outbox")
        books = {key: server.connect().execute_command(kind, key) for kind, key in (
            ("LLEN", "rq:queue:default"), ("ZCARD", "rq:wip:default"), ("ZCARD", "rq:failed:default"),
            ("ZCARD", "rq:scheduled:default"))}
        keys = [key for row in self.unfinished()[:5]
                for key in server.connect().scan_iter(f"rq:job:bookmark_process_{row[0]}_*", count=1000)]
        hashes = [server.connect().hgetall(key) for key in keys]
        return (f"all are processed: {self}\n{self.unfinished()[:20]}\nowed {owed[:20]}\n{books}\n{hashes}\n"
                + self.stack.log_text()[-3000:])

    def told_twice(self):
        """(bookmark, event) of which there is more than one: work that users saw repeated."""
        return self.stack.sql("""SELECT bookmark_id, type, count(*) FROM bookmark_events
                                 WHERE type LIKE 'bookmark.pipeline%'
                                 GROUP BY 1, 2 HAVING count(*) > 1""")

    def __str__(self):
        return (f"{len(self.saved)} saved, {len(self.failures)} failed, slowest {self.slowest:.2f} s, "
                f"{len(self.unfinished())} unfinished, {len(self.told_twice())} events told twice")
