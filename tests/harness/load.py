"""A ledger of requests: every one is numbered, and each is answered once or explained."""

import http.client
import json
import ssl
import threading
import time


class Load:
    """`connections` keep-alive clients that mix reads and saves until stop()."""

    def __init__(self, client, connections=16, save_every=10, fresh_every=0):
        self.host = client.base.split("://")[1]
        self.tls = ssl.create_default_context(cafile=client.verify) \
            if client.base.startswith("https:") else None
        self.headers = {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"}
        self.save_every, self.fresh_every = save_every, fresh_every
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.answers = {}  # status -> count
        self.failures = []  # (moment, what) of requests without an answer
        self.unanswered, self.refused = [], []  # (began, ended, method, what), by either
        self.saved = []  # URLs whose save was answered by 201
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True)
                        for number in range(connections)]
        for thread in self.threads:
            thread.start()

    def connect(self):
        if self.tls:
            return http.client.HTTPSConnection(self.host, timeout=30, context=self.tls)
        return http.client.HTTPConnection(self.host, timeout=30)

    def run(self, number):
        connection, sent, idle_since, keep = None, 0, 0.0, 5.0
        while not self.stopping.is_set():
            # A connection is reused only well within the advertised keep-alive time.
            if connection and time.monotonic() - idle_since > keep - 1:
                connection.close()
                connection = None
            if connection is None:
                connection = self.connect()
            sent += 1
            began = time.monotonic()
            method = "POST" if self.save_every and sent % self.save_every == 0 else "GET"
            url = f"http://example.invalid/{number}/{sent}/{began}"
            try:
                if method == "POST":
                    connection.request("POST", "/api/bookmarks", json.dumps({"url": url}), self.headers)
                else:
                    connection.request("GET", "/api/bookmarks?per_page=20", headers=self.headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                with self.lock:
                    what = f"{type(error).__name__}: {error}"
                    self.failures.append((time.monotonic(), what))
                    self.unanswered.append((began, time.monotonic(), method, what))
                connection.close()
                connection = None
                continue
            with self.lock:
                self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if answer.status == 201:
                    self.saved.append(url)
                elif answer.status >= 300:
                    self.refused.append((began, time.monotonic(), method, answer.status))
            idle_since = time.monotonic()
            if answer.will_close or (self.fresh_every and sent % self.fresh_every == 0):
                connection.close()
                connection = None
        if connection:
            connection.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(40)
        return self

    def bad(self):
        """Answers that are no success."""
        return {status: count for status, count in self.answers.items() if status >= 300}
