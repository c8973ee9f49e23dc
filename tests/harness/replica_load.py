"""Load on a stack with replicas, and what its status says of each server."""

import concurrent.futures
import http.client
import json
import threading
import time
import uuid

import requests

from services import wait_until


class Reader(threading.Thread):
    """Reads all the time on one connection; what fails is remembered."""

    def __init__(self, client, path="/api/bookmarks"):
        super().__init__(daemon=True)
        self.host, self.path = client.base.removeprefix("http://"), path
        self.headers = {"Authorization": f"Bearer {client.token}"}
        self.stopping, self.done, self.failed, self.slowest = threading.Event(), 0, [], 0.0
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(self.host, timeout=60)
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", self.path, headers=self.headers)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failed.append((answer.status, body))
                if answer.will_close:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.done += 1
        connection.close()

    def stop(self):
        self.stopping.set()
        self.join(60)
        return self


class Writer(threading.Thread):
    """Saves one link after the other: what was answered, when, and how."""

    def __init__(self, client, pause=0.02):
        super().__init__(daemon=True)
        self.client, self.pause = client, pause
        self.stopping = threading.Event()
        self.saved, self.refused, self.failed = {}, [], []  # url -> moment; (moment, Retry-After)
        self.slowest = 0.0
        self.start()

    def run(self):
        headers = {"Authorization": f"Bearer {self.client.token}"}
        session = requests.Session()
        while not self.stopping.wait(self.pause):
            url = f"http://example.invalid/{uuid.uuid4().hex}"
            began = time.monotonic()
            try:
                answer = session.post(self.client.base + "/api/bookmarks", json={"url": url},
                                      headers=headers, timeout=60)
            except requests.RequestException as error:
                self.failed.append(repr(error))
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            if answer.status_code == 201:
                self.saved[url] = time.monotonic()
            elif answer.status_code == 503:
                self.refused.append((time.monotonic(), answer.headers.get("Retry-After")))
            else:
                self.failed.append((answer.status_code, answer.text))

    def stop(self):
        self.stopping.set()
        self.join(60)
        return self

    def saved_since(self, moment):
        return [at for at in self.saved.values() if at > moment]


def read_all(client, count, connections=4):
    """`count` lists on a few connections at once; all must be good."""
    def some(_):
        with requests.Session() as session:
            for _ in range(count // connections):
                answer = session.get(client.base + "/api/bookmarks", timeout=60, headers={
                    "Authorization": f"Bearer {client.token}"})
                assert answer.status_code == 200, answer.text
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        list(pool.map(some, range(connections)))


def servers(stack):
    """folder -> row of `ctl status`."""
    rows = json.loads(stack.ctl("status", "--json").stdout)["databases"]
    return {row["name"].rsplit(":", 1)[0]: row for row in rows}


def state_of(stack, server):
    row = servers(stack).get(server.folder)
    return row and row["state"]


def wait_for_state(stack, server, *states):
    wait_until(lambda: state_of(stack, server) in states, 40, f"{server.folder} is {states}")


def queries(stack, server):
    return servers(stack)[server.folder]["queries"]


def served_by(stack, client, replicas):
    before = [queries(stack, replica) for replica in replicas]
    read_all(client, 20, 2)
    after = [queries(stack, replica) for replica in replicas]
    return sum(after) - sum(before) >= 20
