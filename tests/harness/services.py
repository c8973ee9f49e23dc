"""Private PostgreSQL and Redis servers for tests, on Unix sockets, gone afterwards."""

import glob
import os
import pwd
import shutil
import subprocess
import time
from contextlib import closing
from signal import SIGINT, SIGTERM

import psycopg2
import redis


def unprivileged(command, user="postgres"):
    """PostgreSQL refuses to run as root; anything else runs as we are."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]

# What a sanitizer, an assertion, the C library or valgrind says of a program that is wrong.
SANITIZER_WORDS = ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer",
                   "Assertion `", "stack smashing", "== Invalid ", "== Conditional jump")


def wait_until(check, seconds, what):
    """Calls `check` until it returns something true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.01)


class Process:
    """A server started by a test: signals go to exactly this process."""

    def __init__(self, command, log, **popen):
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **popen)
        self.pid = self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=10):
        return self.process.wait(seconds)

    def end(self, number=SIGTERM, seconds=10):
        if self.is_running():
            self.signal(number)
            try:
                self.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
        return self.process.returncode

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()


class Adopted:
    """A process that nobody here has started: the same by its id."""

    def __init__(self, pid, log):
        self.pid, self.log, self.returncode = pid, log, 0

    def is_running(self):
        try:
            with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=10):
        wait_until(lambda: not self.is_running(), seconds, f"process {self.pid} has ended")
        return 0

    def end(self, number=SIGTERM, seconds=10):
        if self.is_running():
            self.signal(number)
            self.wait(seconds)
        return 0

    log_text = Process.log_text


class Postgres:
    """One cluster; fsync off unless asked, since nothing here outlives a test."""

    def __init__(self, folder, durable=False, options=(), initdb=()):
        self.folder = folder
        self.options = options
        self.data = os.path.join(folder, "pg")
        self.durable = durable
        self.server = None
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = found[-1] if found else os.path.dirname(shutil.which("postgres") or "")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.makedirs(self.data, exist_ok=True)
            os.chown(self.data, account.pw_uid, account.pw_gid)
            os.chown(folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            unprivileged([f"{self.bin}/initdb", "-D", self.data, "-U", "forkmark",
                          "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
                          "--no-instructions", *initdb]),
            check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.start()

    def start(self):
        fast = [] if self.durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        self.server = Process(
            unprivileged([f"{self.bin}/postgres", "-D", self.data, "-k", self.folder,
                          "-c", "listen_addresses=", "-c", "max_connections=300",
                          "-c", "shared_buffers=64MB", *fast, *self.options]),
            os.path.join(self.folder, "pg.log"), cwd="/")
        wait_until(self.answers, 20, "PostgreSQL answers")

    def answers(self):
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            assert self.server.is_running(), self.server.log_text()
            return False

    def stop(self, number=SIGINT):
        self.server.end(number)

    def connect(self, database):
        connection = psycopg2.connect(host=self.folder, user="forkmark", dbname=database)
        connection.autocommit = True
        return connection

    def ask(self, statement, database="postgres"):
        """The one value that a statement gives."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    def url(self, database):
        return f"postgresql://forkmark@/{database}?host={self.folder}"

    def create(self, database, template="template1"):
        with closing(self.connect("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')


class Redis:
    """One Redis, append-only like the embedded one."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.options = options
        self.socket = os.path.join(folder, "redis.sock")
        self.server = None
        os.makedirs(folder, exist_ok=True)
        self.start()

    def start(self):
        self.server = Process(
            ["redis-server", "--port", "0", "--unixsocket", self.socket,
             "--unixsocketperm", "777", "--dir", self.folder, "--appendonly", "yes",
             "--appendfsync", "everysec", "--save", "", *self.options],
            os.path.join(self.folder, "redis.log"))
        wait_until(self.answers, 10, "Redis answers")

    def answers(self):
        try:
            return self.connect().ping()
        except redis.exceptions.RedisError:
            assert self.server.is_running(), self.server.log_text()
            return False

    def connect(self, **options):
        return redis.Redis(unix_socket_path=self.socket, **options)

    def url(self):
        return f"unix://{self.socket}?db=0"

    def settings(self):
        """The group `redis` of a configuration file."""
        return f'url = "{self.url()}";'

    def stop(self, number=SIGTERM):
        self.server.end(number)
