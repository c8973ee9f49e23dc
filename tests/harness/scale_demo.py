"""The guided demonstration behind tests/scale-demo.sh: everything runs, and one part after
the other is killed under load. A line each second, a ledger at the end."""

import http.client
import json
import os
import random
import shutil
import ssl
import sys
import tempfile
import threading
import time
from signal import SIGKILL, SIGQUIT

import psycopg2

from pages import PageServer, article
from topology import Topology

USERS, CLIENTS, SECONDS, PATIENCE = 8, 16, 86, 60
PAUSE = 0.01  # of a client, between two requests: the consumers need the processor as well
SETS = ["limits.standard=100000000/1m", "limits.register=1000/1m", "limits.login=1000/1m",
        "auth.bcrypt_rounds=4", "fetch.allow_private=true", "fetch.per_host=100000/10",
        "jobs.outbox_age=3s"]


class Load:
    """Clients of nginx: lists, searches and saves, each answer counted."""

    def __init__(self, nginx, tokens, pages):
        self.port, self.tokens, self.pages = nginx.port, tokens, pages
        self.tls = ssl.create_default_context(cafile=nginx.certificate)
        self.lock = threading.Lock()
        self.times, self.saved, self.errors = [], [], []
        self.count = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        chance, connection, sent = random.Random(number), None, 0
        headers = {"Authorization": f"Bearer {self.tokens[number % len(self.tokens)]}",
                   "Content-Type": "application/json"}
        while not self.stopping.is_set():
            sent += 1
            kind, url = chance.random(), None
            if kind < 0.02:
                url = self.pages.url(f"/{number % 10}?{number}.{sent}")
                request = ("POST", "/api/bookmarks", json.dumps({"url": url}))
            elif kind < 0.06:
                request = ("GET", "/api/search/text?q=word", None)
            else:
                request = ("GET", f"/api/bookmarks?per_page=10&page={chance.randrange(1, 4)}", None)
            connection = self.ask(connection, request, headers, url)
            time.sleep(PAUSE)
        if connection:
            connection.close()

    def ask(self, connection, request, headers, url):
        began = time.monotonic()
        try:
            connection = connection or http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30,
                                                                   context=self.tls)
            connection.request(request[0], request[1], request[2], headers)
            answer = connection.getresponse()
            body = answer.read()
            what = None if answer.status < 300 else f"{request[0]} {answer.status}"
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            connection, what, body = None, f"{request[0]} {type(error).__name__}", b""
        with self.lock:
            self.count += 1
            self.times.append(time.monotonic() - began)
            if what:
                self.errors.append((time.monotonic(), what, body[:100].decode("utf-8", "replace")))
            elif url:
                self.saved.append(url)
        return connection

    def second(self):
        """(answers, errors so far, p99 in ms) since the last call."""
        with self.lock:
            times, self.times = sorted(self.times), []
            return len(times), len(self.errors), 1000 * times[int(0.99 * (len(times) - 1))] if times else 0

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(35)


class Demonstration:
    def __init__(self, topology, pages):
        self.topology, self.pages = topology, pages
        self.said, self.lock = [], threading.Lock()
        self.victims = {}
        self.plan = [
            (6, self.kill_server), (16, self.back("forkmark2", "server 2 is back")),
            (24, self.kill_replica), (34, self.back("replica1", "replica 1 is back")),
            (42, self.kill_cache), (52, self.cache_back),
            (60, self.kill_queue), (74, self.queue_back),
        ]

    def say(self, text):
        with self.lock:
            self.said.append(text)

    def kill_server(self):
        self.topology["forkmark2"].kill(SIGKILL)
        self.say("server 2 is killed")

    def kill_replica(self):
        # To PostgreSQL the like of a crash, which leaves none of its processes behind.
        self.topology["replica1"].kill(SIGQUIT)
        self.say("replica 1 crashes")

    def kill_cache(self):
        victim = self.topology.cache_masters()[0]
        self.victims["cache"] = victim.name
        victim.kill(SIGKILL)
        self.say(f"a master of the cache's cluster ({victim.name}) is killed")

    def kill_queue(self):
        victim = self.topology.queue_master()
        self.victims["queue"] = victim.name
        victim.kill(SIGKILL)
        self.say(f"the queue's master ({victim.name}) is killed")

    def back(self, name, text):
        def run():
            self.topology.again(name)
            self.say(text)
        return run

    def cache_back(self):
        self.back(self.victims["cache"], f"{self.victims['cache']} is back, as a replica")()

    def queue_back(self):
        now = self.topology.queue_master()
        self.back(self.victims["queue"], f"{self.victims['queue']} is back; the master is "
                  f"{now.name if now else 'not agreed on'}")()

    def guarded(self, step):
        try:
            step()
        except Exception as error:  # the ledger says what it meant
            self.say(f"FAILED: {error!r}"[:200])

    def jobs(self, count="count(*) FILTER (WHERE scrape_status NOT IN ('PENDING', 'RUNNING'))"):
        try:
            return self.topology.sql(f"SELECT {count}, count(*) FROM saved_content")[0]
        except psycopg2.Error:
            return None

    def run(self):
        nginx = self.topology.nginx
        tokens = [nginx.client().sign_up().token for _ in range(USERS)]
        load = Load(nginx, tokens, self.pages)
        began, before, plan = time.monotonic(), 0, list(self.plan)
        errors_before = 0
        for second in range(1, SECONDS + 1):
            time.sleep(max(0, began + second - time.monotonic()))
            while plan and plan[0][0] <= second:
                threading.Thread(target=self.guarded, args=(plan.pop(0)[1],), daemon=True).start()
            answers, errors, p99 = load.second()
            jobs = self.jobs()
            done, saved = jobs or (before, 0)
            with self.lock:
                said, self.said = "; ".join(self.said), []
            print(f"{second:4d} s {answers:5d} requests/s {errors - errors_before:3d} errors  p99 {p99:6.0f} ms"
                  f"  {done - before:4d} jobs/s {max(saved - done, 0):4d} waiting  {said}", flush=True)
            before, errors_before = done, errors
        load.stop()
        return load

    def ledger(self, load):
        print("\nEvery acknowledged write, and the job that each of them owes:", flush=True)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            jobs = self.jobs()
            if jobs and jobs[0] == jobs[1]:
                break
            time.sleep(0.5)
        rows = dict(self.topology.sql("SELECT url, scrape_status FROM saved_content"))
        lost_writes = [url for url in load.saved if url not in rows]
        lost_jobs = [url for url in load.saved if rows.get(url) in ("PENDING", "RUNNING")]
        failed = [url for url in load.saved if rows.get(url) == "FAILED"]
        kinds = {}
        for _, what, _ in load.errors:
            kinds[what] = kinds.get(what, 0) + 1
        unknown = len(rows) - len(set(load.saved))
        print(f"  {load.count} requests, {len(load.errors)} without a good answer"
              f"{': ' + ', '.join(f'{n} x {what}' for what, n in sorted(kinds.items())) if kinds else ''}")
        print(f"  {len(load.saved)} writes acknowledged, {len(lost_writes)} lost writes"
              f" ({unknown} more were done whose answer did not arrive)")
        print(f"  {len(load.saved)} jobs owed, {len(lost_jobs)} lost jobs, {len(failed)} failed", flush=True)
        for _, what, body in load.errors[:5]:
            print(f"    {what}: {body}")
        return not lost_writes and not lost_jobs and load.saved


def main():
    folder = tempfile.mkdtemp(prefix="fm-scale-")
    pages = PageServer()
    for n in range(10):
        pages.put(f"/{n}", article(f"Page {n}", "word " * 200))
    topology = Topology(folder, sets=SETS)
    is_good = False
    try:
        print("starting nginx, two servers, a primary and two replicas behind PgBouncer, a cluster of"
              " six Redis, a queue with three sentinels", flush=True)
        began = time.monotonic()
        topology.start()
        print(f"all of it serves after {time.monotonic() - began:.0f} s, on {topology.network}*: {topology.nginx.url}\n",
              flush=True)
        demonstration = Demonstration(topology, pages)
        is_good = demonstration.ledger(demonstration.run())
    finally:
        topology.stop()
        pages.close()
        if is_good or not os.environ.get("KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs are kept in {folder}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
