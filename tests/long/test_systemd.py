"""forkmark under a real systemd, as its unit has it: in a Debian 13 of its own.

The tree is made by debootstrap in a temporary folder; FORKMARK_TREE names one that is kept
and used again. Needs root, a Debian mirror and cgroup2.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from services import wait_until

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "systemd")
CONFIG = "/etc/forkmark/forkmark.conf"
SOCKET = "/run/forkmark/control"


class Machine:
    """systemd as process 1 of its namespaces; commands are run inside them."""

    def __init__(self, tree):
        self.tree = tree
        self.log = open(os.path.join(tempfile.gettempdir(), f"forkmark-boot-{os.getpid()}.log"), "wb")
        self.outer = subprocess.Popen(["sh", os.path.join(HERE, "boot.sh"), tree],
                                      stdout=self.log, stderr=self.log)
        self.pid = wait_until(self.find_init, 30, "systemd has been started")
        wait_until(self.is_booted, 120, "the machine has booted")

    def find_init(self):
        assert self.outer.poll() is None, open(self.log.name, encoding="utf-8").read()
        path = f"/proc/{self.outer.pid}/task/{self.outer.pid}/children"
        with open(path, encoding="ascii") as children:
            pids = children.read().split()
        if not pids:
            return 0
        with open(f"/proc/{pids[0]}/comm", encoding="ascii") as comm:
            return int(pids[0]) if comm.read().strip() == "systemd" else 0

    def run(self, *command, check=False, seconds=120):
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "--pid", "--mount", "--uts", "--ipc", "--cgroup",
             "--net", "-r", "--wd=/", "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
             "LC_ALL=C.UTF-8", *command],
            capture_output=True, text=True, timeout=seconds, check=False)
        assert not check or done.returncode == 0, (command, done.stdout + done.stderr, self.journal())
        return done

    def is_booted(self):
        state = self.run("systemctl", "is-system-running").stdout.strip()
        return state in ("running", "degraded")

    def systemctl(self, *words, check=True):
        return self.run("systemctl", *words, check=check, seconds=400)

    def show(self, *names, unit="forkmark.service"):
        out = self.systemctl("show", unit, *[f"--property={name}" for name in names]).stdout
        found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return found[names[0]] if len(names) == 1 else found

    def journal(self):
        return self.run("journalctl", "--no-pager", "-n", "120", "-u", "forkmark.service",
                        "-u", "forkmark.socket").stdout

    def write(self, path, text):
        full = self.tree + path
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def remove(self, path):
        if os.path.isdir(self.tree + path):
            shutil.rmtree(self.tree + path)
        elif os.path.exists(self.tree + path):
            os.unlink(self.tree + path)

    def status(self):
        done = self.run("forkmark", "ctl", "--socket", SOCKET, "--json", "status", check=True)
        return json.loads(done.stdout)

    def workers(self):
        """Their ids, as they are called outside."""
        web = next(pool for pool in self.status()["pools"] if pool["name"] == "web")
        inner = {child["pid"] for child in web["children"] if child["state"] == "ready"}
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/status", encoding="ascii", errors="replace") as status:
                    lines = dict(line.split(":\t", 1) for line in status if ":\t" in line)
                same = os.readlink(f"/proc/{entry}/ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid")
            except OSError:
                continue
            if same and int(lines["NSpid"].split()[-1]) in inner:
                found.append(int(entry))
        return found

    def ask(self, port=7860, path="/health/readiness", seconds=60):
        """The status of a request from inside, or the name of what went wrong."""
        code = ("import sys, urllib.request, urllib.error\n"
                "try:\n"
                f"    answer = urllib.request.urlopen('http://127.0.0.1:{port}{path}', timeout={seconds})\n"
                "    print(answer.status)\n"
                "except urllib.error.HTTPError as error:\n"
                "    print(error.code)\n"
                "except OSError as error:\n"
                "    print(error)\n")
        done = subprocess.run(["nsenter", "-t", str(self.pid), "--net", sys.executable, "-c", code],
                              capture_output=True, text=True, check=True, timeout=seconds + 30)
        return done.stdout.strip()

    def end(self):
        if self.outer.poll() is None:
            os.kill(self.pid, signal.SIGRTMIN + 4)  # power off, in order
            try:
                self.outer.wait(60)
            except subprocess.TimeoutExpired:
                self.outer.kill()
                self.outer.wait()
        self.log.close()
        os.unlink(self.log.name)
        with open("/proc/mounts", encoding="ascii") as mounts:
            groups = next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")
        top = f"{groups}/forkmark-test-{self.outer.pid}"
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)


@pytest.fixture(scope="module")
def tree():
    if os.geteuid() != 0:
        pytest.skip("a machine of its own needs root")
    for program in ("debootstrap", "nsenter", "unshare", "ip"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if "cgroup2" not in open("/proc/mounts", encoding="ascii").read():
        pytest.skip("no cgroup2 is mounted")
    kept = os.environ.get("FORKMARK_TREE")
    folder = kept or tempfile.mkdtemp(prefix="forkmark-tree-", dir="/var/tmp")
    os.chmod(folder, 0o755)
    made = subprocess.run(["sh", os.path.join(HERE, "tree.sh"), folder], capture_output=True,
                          text=True, check=False)
    if made.returncode != 0 and "debootstrap" in made.stderr and "/usr/local/bin" not in made.stderr:
        offline = not os.path.exists(folder + "/usr/lib/systemd/systemd")
        if offline:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip("no Debian can be fetched here: " + made.stderr[-300:])
    assert made.returncode == 0, made.stderr[-4000:]
    yield folder
    if not kept:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def machine(tree):
    for path in (CONFIG, "/var/lib/forkmark", "/etc/systemd/system/forkmark.service.d",
                 "/etc/systemd/system/forkmark.socket.d"):
        if os.path.isdir(tree + path):
            shutil.rmtree(tree + path)
        elif os.path.exists(tree + path):
            os.unlink(tree + path)
    machine = Machine(tree)
    yield machine
    machine.end()


def configure(machine, workers=2, more="", consumers=1):
    machine.write(CONFIG, f"""server: {{ workers = {workers}; {more} }};
jobs: {{ pools: {{ default: {{ consumers = {consumers}; queues = [ "high", "default" ]; }}; }}; }};
""")


def test_start_is_ready_when_all_serve(machine):
    configure(machine, workers=3, consumers=2)
    began = time.monotonic()
    machine.systemctl("start", "forkmark.service")
    print(f"first start with a new database: {time.monotonic() - began:.1f} s")
    # `systemctl start` returned, so READY was said: at this moment all of it serves.
    tree = machine.status()
    assert [(pool["name"], pool["wanted"], pool["ready"]) for pool in tree["pools"]] == [
        ("web", 3, 3), ("default", 2, 2), ("scheduler", 1, 1)]
    assert machine.ask() == "200"
    assert machine.show("ActiveState") == "active"
    shown = machine.show("StatusText", "MainPID")
    print(shown)
    assert shown["StatusText"] == "3 of 3 workers, 2 of 2 consumers (default), 1 of 1 scheduler"
    assert int(shown["MainPID"]) == tree["pid"]
    print(machine.run("systemd-analyze", "security", "--no-pager", "forkmark.service").stdout.splitlines()[-1])


def test_a_reload_changes_the_counts_and_waits(machine):
    before = machine.status()
    configure(machine, workers=1, consumers=3, more='request_timeout = "20s";')
    machine.systemctl("reload", "forkmark.service")
    after = machine.status()
    assert [(pool["wanted"], pool["ready"]) for pool in after["pools"]] == [(1, 1), (3, 3), (1, 1)]
    assert after["pid"] == before["pid"] and after["reload"]["generation"] > before["reload"]["generation"]
    assert machine.ask() == "200"
    assert machine.show("ActiveState") == "active"
    assert machine.show("StatusText").startswith("1 of 1 worker, 3 of 3 consumers (default)")


def test_a_reload_that_is_refused_fails_and_changes_nothing(machine):
    before = machine.status()
    machine.write(CONFIG, "server: { workers = 2;\n  wrokers = 3; };\n")
    done = machine.systemctl("reload", "forkmark.service", check=False)
    assert done.returncode != 0, done.stdout
    after = machine.status()
    assert [pool["wanted"] for pool in after["pools"]] == [pool["wanted"] for pool in before["pools"]]
    assert after["pid"] == before["pid"] and machine.show("ActiveState") == "active"
    assert machine.ask() == "200"
    assert "forkmark.conf:2" in machine.journal()
    assert "the last reload failed: " in machine.show("StatusText")
    print(machine.show("StatusText"))


def test_a_quorum_that_stands_still_is_restarted_by_the_watchdog(machine):
    machine.write("/etc/systemd/system/forkmark.service.d/watchdog.conf", "[Service]\nWatchdogSec=4\n")
    configure(machine, workers=3, more='timeout = "1h";')
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", "forkmark.service")
    main, workers = machine.show("MainPID"), machine.workers()
    assert len(workers) == 3
    os.kill(workers[0], signal.SIGSTOP)  # a minority: nothing happens
    time.sleep(9)
    assert machine.show("MainPID") == main and machine.show("NRestarts") == "0"
    os.kill(workers[1], signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: machine.show("NRestarts") == "1", 60, "systemd restarts it")
    print(f"restarted {time.monotonic() - began:.1f} s after the second of three stood still")
    wait_until(lambda: machine.show("ActiveState") == "active", 60, "it is up again")
    assert machine.show("MainPID") != main and machine.ask() == "200"
    assert "watchdog" in machine.journal().lower()
    machine.remove("/etc/systemd/system/forkmark.service.d")
    machine.systemctl("daemon-reload")


def test_an_upgrade_in_place_keeps_the_main_process(machine):
    before = machine.status()
    done = machine.run("forkmark", "ctl", "--socket", SOCKET, "upgrade", "--wait")
    assert done.returncode == 0, done
    after = machine.status()
    assert after["pid"] == before["pid"] == int(machine.show("MainPID"))
    assert {child["pid"] for child in after["pools"][0]["children"] if child["state"] == "ready"}.isdisjoint(
        child["pid"] for child in before["pools"][0]["children"])
    wait_until(lambda: machine.show("ActiveState") == "active", 20, "no reload any more")
    assert machine.show("NRestarts") == "1" and machine.ask() == "200"


def test_stop_leaves_nothing_behind(machine):
    began = time.monotonic()
    machine.systemctl("stop", "forkmark.service")
    print(f"stopped in {time.monotonic() - began:.1f} s")
    shown = machine.show("ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}, machine.journal()
    left = machine.run("ps", "-e", "-o", "comm=").stdout if machine.run("which", "ps").returncode == 0 \
        else machine.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout
    assert "forkmark" not in left and "postgres" not in left and "redis" not in left
    assert "refused" in machine.ask()


def test_the_first_client_starts_it_by_the_socket(machine):
    machine.write("/etc/systemd/system/forkmark.socket.d/more.conf",
                  "[Socket]\nListenStream=/run/forkmark.sock\nSocketMode=0660\n")
    configure(machine, workers=2, more='port = 7999;')
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "forkmark.socket")
    assert machine.show("ActiveState") == "inactive"
    assert machine.ask() == "200"  # it waited in the backlog until somebody served
    wait_until(lambda: machine.show("ActiveState") == "active", 60, "ready as well")
    assert "refused" in machine.ask(port=7999)  # server.bind gives way
    assert "7860" in machine.status()["address"] and "/run/forkmark.sock" in machine.status()["address"]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(f"/proc/{machine.pid}/root/run/forkmark.sock")
        client.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_clients_wait_while_it_is_restarted_behind_its_socket(machine):
    restart = subprocess.Popen(
        ["nsenter", "-t", str(machine.pid), "--pid", "--mount", "-r", "--wd=/",
         "systemctl", "restart", "forkmark.service"])
    answers = []
    while restart.poll() is None:
        answers.append(machine.ask(path="/health/liveness"))
    answers.append(machine.ask(path="/health/liveness"))
    print(f"{len(answers)} requests during the restart: {set(answers)}")
    assert set(answers) == {"200"} and restart.returncode == 0
    # Its own stop does not take away what is systemd's.
    machine.systemctl("stop", "forkmark.service")
    assert os.path.exists(f"/proc/{machine.pid}/root/run/forkmark.sock")
    machine.systemctl("stop", "forkmark.socket")


# ---- upgrades beside the old master: services of others, so that it may have another id ----

@pytest.fixture(scope="module")
def others(machine):
    """Debian's own PostgreSQL and Redis, as an operator would use them."""
    machine.run("sh", "-c", "pg_lsclusters -h | grep -q . || pg_createcluster $(ls /usr/lib/postgresql) main",
                check=True)
    machine.run("sh", "-c", "for v in $(ls /usr/lib/postgresql); do systemctl start postgresql@$v-main; done",
                check=True)
    machine.systemctl("start", "redis-server.service")
    psql = ["runuser", "-u", "postgres", "--", "psql", "-qtA", "-c"]
    wait_until(lambda: machine.run(*psql, "SELECT 1").stdout.strip() == "1", 60, "PostgreSQL answers")
    machine.run(*psql, "DROP DATABASE IF EXISTS forkmark")
    machine.run(*psql, "DROP ROLE IF EXISTS forkmark")
    machine.run(*psql, "CREATE ROLE forkmark LOGIN", check=True)
    machine.run(*psql, "CREATE DATABASE forkmark OWNER forkmark", check=True)
    machine.write("/etc/forkmark/environment",
                  "DATABASE_URL=postgresql:///forkmark?host=/run/postgresql\nREDIS_URL=redis://127.0.0.1/0\n")
    configure(machine, workers=2)
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "forkmark.service")
    yield
    machine.systemctl("stop", "forkmark.service", check=False)
    machine.remove("/etc/forkmark/environment")


def test_an_upgrade_beside_moves_the_main_process(machine, others):
    before = machine.status()
    done = machine.run("forkmark", "ctl", "--socket", SOCKET, "upgrade", "--complete")
    assert done.returncode == 0, done
    after = machine.status()
    assert after["pid"] != before["pid"]
    wait_until(lambda: int(machine.show("MainPID")) == after["pid"], 20, "systemd knows the new one")
    assert machine.show("ActiveState") == "active" and machine.ask() == "200"
    wait_until(lambda: machine.show("StatusText").startswith("2 of 2 workers"), 20, "it speaks")
    configure(machine, workers=3)
    machine.systemctl("reload", "forkmark.service")
    assert machine.status()["pools"][0]["ready"] == 3
    # The old one has gone: all that is left belongs to the new.
    assert machine.show("NRestarts") == "0" and "Main process exited" not in machine.journal().split("upgrade")[-1]


def test_stop_means_both(machine, others):
    assert machine.run("forkmark", "ctl", "--socket", SOCKET, "upgrade", "--wait").returncode == 0
    assert machine.status()["upgrade"]["stage"] == "beside the new master"
    began = time.monotonic()
    machine.systemctl("stop", "forkmark.service")
    assert time.monotonic() - began < 40
    assert machine.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}, \
        machine.journal()
    left = machine.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout
    assert "forkmark" not in left
