"""Many users at work: each saves now and then, and must see at once what was saved."""

import http.client
import json
import threading
import time

from services import wait_until


class UserLoad:
    """One connection for each of these clients (stack.Client, signed up), until stop().

    A request that is not answered by success is a failure. What a list shows is compared
    with what its user has saved so far: an old copy of it is a stale answer.
    """

    def __init__(self, clients, save_every=8, pause=0.0):
        self.save_every, self.pause = save_every, pause
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.requests, self.failures, self.stale, self.slowest = 0, [], [], 0.0
        self.moments = []  # of each request: when it was answered, how long it took
        self.threads = [threading.Thread(target=self.run, args=(client,), daemon=True)
                        for client in clients]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        connection = http.client.HTTPConnection(client.base.removeprefix("http://"), timeout=30)
        headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
        self.ask(connection, "GET", "/api/bookmarks?per_page=5", None, headers)
        saved, turn = client.get("/api/bookmarks?per_page=5").json()["total"], 0
        while not self.stopping.is_set():
            turn += 1
            if turn % self.save_every == 0:
                body = json.dumps({"url": f"http://example.invalid/{client.user['id']}/{saved}-{turn}"})
                saved += self.ask(connection, "POST", "/api/bookmarks", body, headers) is not None
            answer = self.ask(connection, "GET", "/api/bookmarks?per_page=5", None, headers)
            if answer is not None and answer["total"] != saved:
                with self.lock:
                    self.stale.append((time.monotonic(), client.user["id"], answer["total"], saved))
            time.sleep(self.pause)
        connection.close()

    def ask(self, connection, method, path, body, headers):
        began, failure, answer = time.monotonic(), None, None
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            text = reply.read()
            if reply.status >= 300:
                failure = f"{method} {path}: {reply.status} {text[:200]!r}"
            else:
                answer = json.loads(text)
            if reply.will_close:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            failure = f"{method} {path}: {type(error).__name__}: {error}"
            connection.close()
        took = time.monotonic() - began
        with self.lock:
            self.requests += 1
            self.slowest = max(self.slowest, took)
            self.moments.append((time.monotonic(), took))
            if failure:
                self.failures.append((time.monotonic(), failure))
        return answer

    def wait_for(self, more, seconds=60):
        """So many further requests have been answered."""
        before = self.requests
        wait_until(lambda: self.requests >= before + more, seconds, f"{more} requests more")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(40)
        return self
