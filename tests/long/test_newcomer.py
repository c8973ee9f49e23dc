"""The README's two commands on a fresh Debian with nothing but git.

config/quickstart.sh, then the main job by HTTP, once as root and once as somebody with sudo: a
few minutes, most of which are the packages' and the compiler's. tests/run.sh: 25 minutes each.
Needs root, the network of apt, and debootstrap.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import requests
from container import ROOT
from pages import article
from services import Process, wait_until
from stack import Client, Stream, free_port

MIRROR = os.environ.get("FORKMARK_MIRROR")
LAST_STAGE = "bookmark.pipeline.analysis.completed"
# What systemd, or the older init, starts with the machine.
STARTED_AT_BOOT = "find /etc/rc[2-5].d -name 'S*'; find /etc/systemd/system -path '*.wants/*'"


class Machine:
    """A fresh tree with git and a clone; commands run in a pid and mount namespace."""

    def __init__(self, suite, user):
        self.folder = tempfile.mkdtemp(prefix="fm-newcomer-")
        os.chmod(self.folder, 0o755)
        self.root, self.user = os.path.join(self.folder, suite), user
        self.home = "/root" if user == "root" else f"/home/{user}"
        self.log = os.path.join(self.folder, "quickstart.log")
        subprocess.run(["debootstrap", "--variant=minbase", suite, self.root, *([MIRROR] if MIRROR else [])],
                       check=True, stdout=subprocess.DEVNULL)
        shutil.copy("/etc/resolv.conf", os.path.join(self.root, "etc/resolv.conf"))
        if user == "root":
            self.check("apt-get update -q && apt-get install -qy --no-install-recommends git")
        else:
            self.check("apt-get update -q && apt-get install -qy --no-install-recommends git sudo"
                       f" && useradd -m {user} && echo '{user} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/all")
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, self.root + self.home + "/forkmark"],
                       check=True)
        self.check(f"chown -R {user}: {self.home}/forkmark")

    def command(self, line, user="root"):
        lines = ["set -e", "mount --make-rprivate /", f"mount --bind {self.root} {self.root}",
                 f"mount -t proc proc {self.root}/proc", f"mount --rbind /dev {self.root}/dev",
                 f"mount -t tmpfs tmpfs {self.root}/dev/shm",
                 "exec " + shlex.join(["chroot", f"--userspec={user}:{user}", self.root, "/bin/sh", "-c", line])]
        return ["unshare", "--pid", "--fork", "--mount", "--ipc", "--kill-child", "sh", "-c", "\n".join(lines)]

    def run(self, line):
        return subprocess.run(self.command(line), env=self.environment(), capture_output=True, text=True, check=False)

    def check(self, line):
        done = self.run(line)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def environment(self, **more):
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.home,
                "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **more}

    def quickstart(self, **environment):
        return Process(self.command(f"cd {self.home}/forkmark && exec sh config/quickstart.sh", self.user),
                       self.log, env=self.environment(**environment))

    def processes(self):
        """pid -> command line of what runs in the tree."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/root") == self.root:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        found[int(pid)] = file.read().replace(b"\0", b" ").decode().strip()
            except OSError:
                pass
        return found

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def fresh():
    """fresh(suite, user) is a new machine; all are gone at the end."""
    assert os.geteuid() == 0, "needs root: chroot, unshare, mount"
    machines = []

    def make(suite, user):
        machines.append(Machine(suite, user))
        return machines[-1]
    yield make
    for machine in machines:
        machine.remove()


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_whole_suite(suite, fresh):
    machine = fresh(suite, "root")
    began = time.monotonic()
    done = machine.run("cd /root/forkmark && sh tests/run.sh")
    last = done.stdout.strip().splitlines()[-1]
    print(f"{suite}: {last} in {time.monotonic() - began:.0f} s")
    assert done.returncode == 0 and last.endswith(" 0 failed"), done.stdout[-20000:]


@pytest.mark.parametrize("suite, user", [("bookworm", "someone"), ("trixie", "root")])
def test_a_newcomer(suite, user, pages, fresh):
    machine = fresh(suite, user)
    server = None
    try:
        before = set(machine.check(STARTED_AT_BOOT).split())
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        began = time.monotonic()
        server = machine.quickstart(PORT=str(port), FETCH_ALLOW_PRIVATE="true")

        def is_ready():
            assert server.is_running(), server.log_text()
            return "ready: http" in server.log_text()
        wait_until(is_ready, 600, "the server is ready")
        took = time.monotonic() - began
        print(f"{suite} as {user}: from quickstart to serving in {took:.0f} s")
        assert took < 300
        assert f"http://localhost:{port}" in server.log_text()

        assert "<html" in requests.get(url, timeout=5).text
        client = Client(url).sign_up()
        stream = Stream(client, token=client.token)
        assert stream.next()[0] == "system.connected"
        page = pages.put("/owls", article("All about owls", "zanzibarian " + "feather night hunter " * 200))
        saved = time.monotonic()
        number = client.save(page)
        frames = stream.until(LAST_STAGE)
        row = client.bookmark(number)
        found = client.get("/api/search/text", params={"q": "zanzibarian"}).json()
        took = time.monotonic() - saved
        print(f"{suite}: read, scored and found after {took:.2f} s")
        assert took < 2
        assert sum(".pipeline." in frame[0] for frame in frames) == 6
        assert (row["title"], row["quality_score"], row["reading_time"]) == ("All about owls", 100, 3)
        assert [hit["id"] for hit in found["results"]] == [number]
        stream.close()

        # The services of its own are nobody's but an unprivileged user's.
        running = machine.processes()
        services = [pid for pid, line in running.items() if line.startswith(("/usr/bin/redis-server", "/usr/lib/postgresql"))]
        assert len(services) == 2, running
        assert all(os.stat(f"/proc/{pid}").st_uid != 0 for pid in services)

        # Ctrl-C: everything ends in order, and nothing stays.
        client.close()
        master = next(pid for pid, line in running.items() if line.startswith("forkmark: master"))
        os.kill(master, signal.SIGINT)
        assert server.wait(30) == 0, server.log_text()
        assert machine.processes() == {}
        left = machine.check(f"find {machine.home}/forkmark /var/lib /run -name '*.pid' -o -type s")
        assert left == ""
        # (PostgreSQL's service starts the clusters that there are: none.)
        added = set(machine.check(STARTED_AT_BOOT).split()) - before
        assert [link for link in added if "redis" in link] == []
        assert machine.check("pg_lsclusters --no-header") == ""
        assert machine.run("test -e /usr/sbin/policy-rc.d").returncode == 1
        print(f"{suite}: services started at boot: {len(before)} before; new ones: {sorted(added)}")
    finally:
        if server:
            server.end(signal.SIGKILL)
