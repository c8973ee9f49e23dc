"""One running forkmark with its own database and Redis, driven as an operator would."""

import json
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from contextlib import closing

import requests

from services import Adopted, Process, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("FORKMARK_BIN", os.path.join(ROOT, "build-asan", "forkmark"))
PASSWORD = "Passw0rd!x"
UNDER_VALGRIND = bool(os.environ.get("FORKMARK_VALGRIND"))

CONFIG = """
server: {{ workers = {workers}; bind = [ {bind} ]; control = "{folder}/control";
           {server} }};
log: {{ {log} }};
auth: {{ secret_key = "test-secret-key"; jwt_secret = "test-jwt-secret"; bcrypt_rounds = {rounds}; }};
limits: {{ {limits} }};
database: {{ url = "{database}"; {pooled} {database_more} }};
redis: {{ {redis} {redis_more} }};
fetch: {{ allow_private = {allow_private}; per_host = "1000/10"; {fetch} }};
jobs: {{ pools: {{ {pools} }}; {jobs} }};
{more}
"""
DEFAULT_POOL = 'default: {{ consumers = {consumers}; queues = [ "high", "default", "low" ]; {pool} }};'
# High enough for any test, and still counted: their cost stays in the picture.
HIGH_LIMITS = " ".join(
    f'{name} = "1000000/1m";' for name in
    ("standard", "login", "register", "check_username", "bulk_check", "search", "extract"))


def free_port():
    """Below those that the kernel gives to whoever connects: nobody takes it meanwhile."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
                return port
            except OSError:
                continue


class Client(requests.Session):
    """A requests session with the server's address, and a user once signed up."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.user = None

    def request(self, method, url, **options):
        options.setdefault("timeout", 30)
        return super().request(method, self.base + url if url.startswith("/") else url, **options)

    def sign_up(self, name=None):
        """Registers and logs in; later requests carry the token."""
        name = name or "u" + uuid.uuid4().hex[:12]
        answer = self.post("/api/auth/register", json={
            "username": name, "email": f"{name}@example.com", "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return self.log_in(name)

    def log_in(self, name, password=PASSWORD):
        answer = self.post("/api/auth/login", json={"email": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.user = answer.json()["user"]
        self.token = answer.json()["access_token"]
        self.headers["Authorization"] = f"Bearer {self.token}"
        return self

    def save(self, url, **fields):
        answer = self.post("/api/bookmarks", json={"url": url, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()["bookmark"]["id"]

    def bookmark(self, number):
        """The list's row of one bookmark, or None."""
        rows = self.get("/api/bookmarks?per_page=1000").json()["bookmarks"]
        return next((row for row in rows if row["id"] == number), None)


class Stack:
    def __init__(self, folder, postgres, redis, template, **options):
        self.folder = str(folder)
        os.chmod(self.folder, 0o755)
        self.postgres, self.redis_server = postgres, redis
        self.database = "test_" + uuid.uuid4().hex[:12]
        postgres.create(self.database, template)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = os.path.join(self.folder, "forkmark.conf")
        self.options = dict(workers=2, consumers=1, rounds=4, server="", limits=HIGH_LIMITS,
                            database_more="", redis_more="", allow_private="true", fetch="", jobs="", pool="", more="",
                            log='level = "debug"; access = true;', pooler=None)
        self.options.update(options)
        self.environ = {}
        self.binary = BINARY
        self.prefix, self.popen = [], {}  # what starts the server; more for Popen
        self.master = None
        self.clients = []

    def write_config(self, **changes):
        self.options.update(changes)
        options = {"pools": DEFAULT_POOL.format(**self.options),
                   "bind": f'"127.0.0.1:{self.port}"', **self.options}
        text = CONFIG.format(port=self.port, folder=self.folder, pooled=self.pooled(),
                             database=self.postgres.url(self.database),
                             redis=self.redis_server.settings(), **options)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def pooled(self):
        """What a transaction pooler needs: no prepared statements, and a way past it."""
        pooler = self.options["pooler"]
        return f'pooler_url = "{pooler.url(self.database)}"; pool_mode = "transaction";' if pooler else ""

    def start(self, wait=True):
        self.write_config()
        log = os.path.join(self.folder, "forkmark.log")
        self.log_begins = os.path.getsize(log) if os.path.exists(log) else 0
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **self.environ}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                environment[name] = os.environ[name]
        # Under valgrind an error ends the process at once, which the log then shows.
        prefix = ["valgrind", "-q", "--trace-children=yes", "--trace-children-skip=*postgres*,*redis*",
                  "--error-exitcode=99", "--exit-on-first-error=yes", "--num-callers=30"]
        under = prefix if UNDER_VALGRIND else []
        self.master = Process([*under, *self.prefix, self.binary, "serve", "--config", self.config],
                              log, env=environment, **self.popen)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        wait_until(self.is_ready, 60 if UNDER_VALGRIND else 20, "forkmark is ready")

    def is_ready(self):
        assert self.master.is_running(), self.master.log_text()
        return "ready: http" in self.master.log_text()[self.log_begins:]

    def stop(self, number=signal.SIGTERM):
        # A drain keeps idle connections for the keep-alive time: let go of ours first.
        for client in self.clients:
            client.close()
        return self.master.end(number, seconds=40)

    def follow(self, pid):
        """Another process is the master from now on: an upgrade's."""
        self.master = Adopted(pid, self.master.log)

    def reload(self, **changes):
        self.write_config(**changes)
        self.master.signal(signal.SIGHUP)

    def client(self):
        self.clients.append(Client(self.url))
        return self.clients[-1]

    def children(self, kind=None):
        """pid -> title of the master's children ("forkmark: worker 1"); without those that
        live for a moment only: one that has no title yet still has the master's, one
        that has given up its memory has "[forkmark]"."""
        found = {}
        listing = subprocess.run(["ps", "-o", "pid=,stat=,args=", "--ppid", str(self.master.pid)],
                                 capture_output=True, text=True, check=False).stdout
        for line in listing.splitlines():
            pid, state, title = line.split(None, 2)
            if state.startswith("Z") or title.startswith("["):
                continue
            if kind is None and ("forkmark: check" in title or "forkmark: master" in title):
                continue
            if kind is None or f"forkmark: {kind}" in title:
                found[int(pid)] = title
        return found

    def ctl(self, *arguments):
        return subprocess.run([BINARY, "ctl", "--config", self.config, *arguments],
                              capture_output=True, text=True, timeout=60, check=False)

    def ctl_at(self, *arguments):
        """The same without reading the configuration, which may be a bad one."""
        return subprocess.run([BINARY, "ctl", "--socket", f"{self.folder}/control", *arguments],
                              capture_output=True, text=True, timeout=120, check=False)

    def ready_children(self, kind):
        """Their pids, by the master's own books."""
        answer = self.ctl_at("status", "--json")
        pools = json.loads(answer.stdout)["pools"] if answer.returncode == 0 else []
        return {child["pid"] for pool in pools for child in pool["children"]
                if child["state"] == "ready" and child["name"].startswith(kind)}

    def restart_scheduler(self, number=signal.SIGTERM):
        """One that ended before it was ready would come back later and later."""
        [old] = wait_until(lambda: self.ready_children("scheduler"), 15, "there is a scheduler")
        os.kill(old, number)
        wait_until(lambda: self.ready_children("scheduler") - {old}, 15, "there is a new scheduler")

    def sql(self, statement, *arguments):
        with closing(self.postgres.connect(self.database)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchall() if cursor.description else cursor.rowcount

    @property
    def redis(self):
        return self.redis_server.connect()

    def log_text(self):
        return self.master.log_text()


class Stream:
    """An open event stream: frames as (event, id, data)."""

    def __init__(self, client, **params):
        self.answer = client.get("/api/realtime/stream", params=params, stream=True,
                                 headers={"Accept": "text/event-stream"}, timeout=60)
        assert self.answer.status_code == 200, self.answer.text
        self.lines = self.answer.iter_lines(chunk_size=1, decode_unicode=True)

    def next(self):
        """The next frame that is no comment; None at the end."""
        event = identity = data = None
        for line in self.lines:
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("id: "):
                identity = line[4:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif line == "" and event:
                return event, identity, data
        return None

    def until(self, wanted, seconds=10):
        """All frames up to the one of that event name."""
        seen, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            frame = self.next()
            assert frame, f"stream ended before {wanted}: {seen}"
            seen.append(frame)
            if frame[0] == wanted:
                return seen
        raise AssertionError(f"no {wanted} within {seconds} s: {seen}")

    def close(self):
        self.answer.close()
