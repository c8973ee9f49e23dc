"""The server with a PostgreSQL and a Redis of its own: first start, stops, kills, mistakes."""

import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import time

import pytest
from services import Process, wait_until
from stack import BINARY, Client, free_port


class Embedded:
    """A forkmark without any configuration but a folder and a port."""

    def __init__(self, folder, **variables):
        self.folder = folder
        self.data = os.path.join(folder, "data")
        self.port = free_port()
        self.log = os.path.join(folder, "forkmark.log")
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8",
                            "PORT": str(self.port), "WEB_CONCURRENCY": "1",
                            "FORKMARK_DATA": self.data, "BCRYPT_LOG_ROUNDS": "4", **variables}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        self.master, self.binary = None, BINARY

    def start(self, *arguments, wait=True):
        if os.path.exists(self.log):
            os.unlink(self.log)
        self.master = Process([self.binary, "serve", *arguments], self.log, cwd=self.folder,
                              env=self.environment)
        if wait:
            wait_until(self.is_ready, 60, "forkmark is ready")
        return self

    def is_ready(self):
        assert self.master.is_running(), self.log_text()
        return "ready: http" in self.log_text()

    def log_text(self):
        return self.master.log_text()

    def client(self):
        return Client(f"http://127.0.0.1:{self.port}")

    def ctl(self, *arguments):
        return subprocess.run([BINARY, "ctl", *arguments], cwd=self.folder, env=self.environment,
                              capture_output=True, text=True, timeout=30, check=False)

    def processes(self):
        """pid -> command line of whatever works in, or for, the data folder."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    line = file.read().replace("\0", " ")
                folder = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            if self.data in line or folder.startswith(self.folder):
                found[int(pid)] = line
        return found


def parent(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def service(server, name):
    return next(pid for pid, line in server.processes().items()
                if name in line.split(" ")[0] and parent(pid) == server.master.pid)


@pytest.fixture
def embedded(folder):
    server = Embedded(folder)
    yield server
    if server.master:
        server.master.end(signal.SIGINT, seconds=30)
    assert server.processes() == {}


def test_a_first_start_makes_everything_and_a_stop_leaves_nothing(embedded):
    embedded.start()
    client = embedded.client().sign_up("keeper")
    client.save("http://127.0.0.1:9/kept")
    owner = os.stat(os.path.join(embedded.data, "postgres")).st_uid
    assert owner != 0 and os.stat(f"/proc/{service(embedded, 'redis')}").st_uid == owner
    for name in ("secret_key", "jwt_secret"):
        status = os.stat(os.path.join(embedded.data, "secrets", name))
        assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == os.geteuid()

    assert embedded.master.end(signal.SIGINT, seconds=30) == 0
    assert embedded.processes() == {}
    assert os.listdir(os.path.join(embedded.data, "run")) == []
    assert not os.path.exists(os.path.join(embedded.data, "control"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", embedded.port))

    embedded.start()
    assert client.get("/api/bookmarks").json()["total"] == 1  # its token is still good


def test_after_a_kill_the_next_start_works_at_once(embedded):
    embedded.start()
    client = embedded.client().sign_up()
    for number in range(3):
        client.save(f"http://127.0.0.1:9/{number}")
        embedded.master.process.kill()
        embedded.master.wait()
        began = time.monotonic()
        embedded.start()
        assert time.monotonic() - began < 10
        assert client.get("/api/bookmarks").json()["total"] == number + 1


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_a_killed_service_is_started_again(embedded, name):
    embedded.start()
    client = embedded.client().sign_up()
    before = service(embedded, name)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: embedded.log_text().count(f"{name} is up") == 2, 20, f"{name} is up again")
    assert service(embedded, name) != before
    wait_until(lambda: client.get("/api/bookmarks").status_code == 200, 10, "requests work again")


def test_a_folder_has_one_master(embedded):
    embedded.start()
    second = Embedded(embedded.folder)
    second.log += ".second"
    second.start(wait=False)
    assert second.master.wait(10) == 1
    assert f"in use by another forkmark (process {embedded.master.pid})" in second.log_text()
    assert embedded.client().get("/health/readiness").status_code == 200


def test_another_major_version_is_told_and_nothing_touched(embedded):
    embedded.start()
    assert embedded.master.end(signal.SIGINT, seconds=30) == 0
    version = os.path.join(embedded.data, "postgres", "PG_VERSION")
    with open(version, encoding="ascii") as file:
        real = file.read()
    with open(version, "w", encoding="ascii") as file:
        file.write("9\n")
    embedded.start(wait=False)
    assert embedded.master.wait(20) == 1
    for word in ("PostgreSQL 9", "pg_upgrade", "pg_dumpall"):
        assert word in embedded.log_text()
    with open(version, "w", encoding="ascii") as file:
        file.write(real)
    embedded.start()


def test_an_interrupted_first_start_is_begun_again(embedded):
    embedded.start(wait=False)
    wait_until(lambda: os.path.exists(os.path.join(embedded.data, "postgres.new", "PG_VERSION")),
               20, "initdb is at work")
    embedded.master.process.kill()
    embedded.master.wait()
    wait_until(lambda: embedded.processes() == {}, 10, "initdb has ended with its master")
    embedded.start()
    assert not os.path.exists(os.path.join(embedded.data, "postgres.new"))


def test_a_stop_during_the_first_start(embedded):
    embedded.start(wait=False)
    wait_until(lambda: "making an empty database" in embedded.log_text(), 20, "it has begun")
    assert embedded.master.end(signal.SIGTERM, seconds=20) == 0
    # initdb's own children got the signal with it, and nobody waits for them.
    wait_until(lambda: embedded.processes() == {}, 2, "nothing is left")


def test_a_deep_folder_gets_its_sockets_elsewhere(folder):
    server = Embedded(folder)
    server.data = os.path.join(folder, "d" * 100)
    server.environment["FORKMARK_DATA"] = server.data
    server.start()
    try:
        assert server.client().get("/health/readiness").status_code == 200
        assert server.ctl("status").returncode == 0
    finally:
        assert server.master.end(signal.SIGINT, seconds=30) == 0


@pytest.mark.parametrize("variables,words", [
    (dict(ENVIRONMENT="production"), ["DATABASE_URL", "FORKMARK_SERVICES=yes"]),
    (dict(FORKMARK_SERVICES="no"), ["DATABASE_URL is not set"]),
    (dict(DATABASE_URL="postgresql:///x", FORKMARK_SERVICES="no"), ["REDIS_URL is not set"]),
    (dict(ENVIRONMENT="production", DATABASE_URL="postgresql:///x", REDIS_URL="redis://x"),
     ["SECRET_KEY is not set"]),
])
def test_what_is_missing_is_named(folder, variables, words):
    server = Embedded(folder, **variables).start(wait=False)
    assert server.master.wait(10) == 1
    for word in words:
        assert word in server.log_text()
    assert not os.path.exists(server.data)


@pytest.fixture
def others_port(embedded):
    """The server's port, which another process has until it is closed."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", embedded.port))
        other.listen()
        yield other


def test_a_port_in_use_is_named(others_port, embedded):
    embedded.start(wait=False)
    assert embedded.master.wait(10) == 1
    assert "in use" in embedded.log_text() and "server.bind" in embedded.log_text()


def test_a_port_that_is_free_soon_is_waited_for(others_port, embedded):
    """As after a kill of the master, whose children end with it, but not in the same moment."""
    embedded.start(wait=False)
    wait_until(lambda: "trying for 3 s" in embedded.log_text(), 10, "it knows")
    others_port.close()
    wait_until(embedded.is_ready, 60, "forkmark is ready")


def users_of_children(master):
    """pid -> its four user ids."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                status = dict(line.rstrip("\n").split(":", 1) for line in file)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the listing and this
        if int(status["PPid"]) == master:
            found[int(pid)] = status["Uid"].split()
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")
def test_started_as_root_children_are_nobody(embedded):
    embedded.start()
    nobody = [str(pwd.getpwnam("nobody").pw_uid)] * 4

    # One that was forked this moment is still about to change its user.
    def all_changed():
        found = users_of_children(embedded.master.pid)
        return len(found) >= 5 and all(users == nobody for users in found.values())
    wait_until(all_changed, 5, "every child is nobody")


def test_the_operator_sees_and_scales(embedded):
    embedded.start()
    shown = embedded.ctl("status").stdout
    for word in ("postgres", "redis", "worker 1", "consumer default 2", "scheduler", "ready"):
        assert word in shown
    assert embedded.ctl("scale", "web", "+1").stdout == "web: 1 -> 2\n"
    wait_until(lambda: "worker 2" in embedded.ctl("status").stdout, 5, "a second worker")
    # The services are the server's own business.
    postgres = int(re.search(r"postgres +pid (\d+)", shown)[1])
    for command in ("kill", "drain"):
        refused = embedded.ctl(command, str(postgres))
        assert refused.returncode == 1 and f"{postgres} is the embedded postgres" in refused.stderr
    refused = embedded.ctl("scale", "web", "many")
    assert refused.returncode == 1 and "many" in refused.stderr
    assert embedded.ctl("reload").stdout == "nothing changed\n"
    config = embedded.ctl("show", "config").stdout
    assert "auth.secret_key = (set)" in config and f"server.port = {embedded.port}  # PORT" in config
    assert embedded.ctl("dance").returncode == 1
    assert embedded.ctl("stop").returncode == 0
    assert embedded.master.wait(30) == 0
    assert embedded.ctl("status").returncode == 2
