"""The image of docker/Dockerfile, built by its own commands in fresh trees, and run.

About five minutes, most of which are the packages' and the compiler's. Needs root, the
network of apt, and debootstrap.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid

import pytest
import requests

from container import ROOT, Container, Image
from services import Redis, wait_until
from stack import free_port

# Where debootstrap fetches from; unless said, it knows itself.
MIRROR = os.environ.get("FORKMARK_MIRROR")


@pytest.fixture(scope="module")
def image():
    assert os.geteuid() == 0, "needs root: chroot, unshare, mount"
    folder = tempfile.mkdtemp(prefix="fm-image-")
    os.chmod(folder, 0o755)
    first = os.path.join(folder, "debian")
    began = time.monotonic()
    subprocess.run(["debootstrap", "--variant=minbase", "trixie", first, *([MIRROR] if MIRROR else [])],
                   check=True, stdout=subprocess.DEVNULL)
    print(f"debootstrap: {time.monotonic() - began:.0f} s")

    def base(root):
        subprocess.run(["cp", "-a", "--reflink=auto", first, root], check=True)
        shutil.copy("/etc/resolv.conf", os.path.join(root, "etc/resolv.conf"))
    try:
        built = Image(os.path.join(ROOT, "docker/Dockerfile"), ROOT, folder, base)
        print(f"image: {time.monotonic() - began:.0f} s")
        yield built
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def run(image, folder):
    """run(environ, ...) starts a container; all are gone at the end."""
    containers = []

    def start(*command, **options):
        log = os.path.join(folder, f"container{len(containers)}.log")
        containers.append(Container(image, command, log=log, **options))
        return containers[-1]
    yield start
    for container in containers:
        container.end()


@pytest.fixture
def volume(folder):
    """A named volume: it takes over the owner of the folder in the image."""
    path = os.path.join(folder, "volume")
    os.mkdir(path)
    os.chown(path, 1000, 1000)
    return path


@pytest.fixture
def outside(folder, postgres, redis_server):
    """The environment and the mounts of a container that gets its services from outside."""
    database = "container_" + uuid.uuid4().hex[:12]
    postgres.create(database)
    binds = [(postgres.folder, "/run/pg"), (redis_server.folder, "/run/rd")]
    return {"DATABASE_URL": f"postgresql://forkmark@/{database}?host=/run/pg", "REDIS_URL": "unix:///run/rd/redis.sock",
            "SECRET_KEY": "s" * 32, "JWT_SECRET_KEY": "j" * 32, "ENVIRONMENT": "production"}, binds


def environment(**more):
    port = free_port()
    return f"http://127.0.0.1:{port}", {"PORT": str(port), "WEB_CONCURRENCY": "2", **more}


def titles(container):
    """Of process 1's children, by their command lines."""
    listing = container.exec("/bin/sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done").stdout
    return [line.strip() for line in listing.splitlines() if line.startswith("forkmark: ")]


def test_with_services_of_its_own(run, volume):
    url, environ = environment()
    container = run(environ=environ, volume=volume)
    container.wait_healthy()
    assert requests.get(f"{url}/health/readiness", timeout=5).json()["status"] == "ready"
    found = container.processes()
    assert found[1][0] == 0 and "forkmark: master" in titles(container)
    assert sum("forkmark: worker" in title for title in titles(container)) == 2
    assert {"postgres", "redis-server"} <= {name for _, _, name in found.values()}
    # Nobody is root.
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in pids_below(container.pid)}
    assert owners == {1000}, owners

    session = requests.Session()
    account = {"username": "someone", "email": "a@example.com", "password": "Passw0rd!x"}
    assert session.post(f"{url}/api/auth/register", json=account, timeout=10).status_code == 201
    session.close()
    began = time.monotonic()
    assert container.stop() == 0
    print(f"stop: {time.monotonic() - began:.2f} s")

    # The same volume again: the account is still there.
    again = run(environ=environ, volume=volume)
    again.wait_healthy()
    answer = requests.post(f"{url}/api/auth/login", json={"email": "someone", "password": "Passw0rd!x"}, timeout=10)
    assert answer.status_code == 200
    assert again.stop() == 0


def pids_below(pid):
    found = [pid]
    for at in found:
        with open(f"/proc/{at}/task/{at}/children", encoding="ascii") as file:
            found += [int(child) for child in file.read().split()]
    return found


def test_with_services_from_outside_and_a_read_only_tree(run, outside):
    given, binds = outside
    url, environ = environment(**given)
    container = run(environ=environ, binds=binds, read_only=True)
    container.wait_healthy()
    assert "postgres" not in {name for _, _, name in container.processes().values()}
    assert requests.get(f"{url}/api/health", timeout=5).json()["environment"] == "production"
    status = container.exec("forkmark", "ctl", "status")
    assert status.returncode == 0 and "worker 2" in status.stdout, status.stderr

    # A request that is under way when TERM comes is answered, and all ends in time.
    with requests.get(f"{url}/health/liveness", stream=True, timeout=10) as answer:
        assert answer.status_code == 200
    began = time.monotonic()
    assert container.stop() == 0
    assert time.monotonic() - began < 10


def test_the_health_check_fails_with_its_services(run, outside, folder):
    given, binds = outside
    own = Redis(os.path.join(folder, "own-redis"))
    try:
        url, environ = environment(**{**given, "REDIS_URL": "unix:///run/own/redis.sock"})
        container = run(environ=environ, binds=[*binds, (own.folder, "/run/own")])
        container.wait_healthy()
        own.stop()
        degraded = wait_until(lambda: (lambda a: a if "degraded" in a.stdout else None)(container.health()), 10,
                              "without Redis it is degraded")
        assert degraded.returncode == 0  # it serves on, and says so
    finally:
        own.stop()
    # A master that is stopped serves nobody once its workers have gone, too.
    for pid in pids_below(container.pid):
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    stuck = container.health()
    assert stuck.returncode == 1 and "no answer" in stuck.stderr and time.monotonic() - began < 6
    for pid in pids_below(container.pid):
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: container.health().returncode == 0, 20, "it is healthy again")


def test_production_does_not_begin_a_database_by_itself(run, volume):
    """A mistyped DATABASE_URL: the volume is there, but was never used."""
    _, environ = environment(ENVIRONMENT="production", SECRET_KEY="s" * 32, JWT_SECRET_KEY="j" * 32)
    container = run(environ=environ, volume=volume)
    assert container.process.wait(30) == 1
    assert "DATABASE_URL is not set" in container.process.log_text() and not os.listdir(volume)
    wanted = run(environ={**environ, "FORKMARK_SERVICES": "yes"}, volume=volume)
    wanted.wait_healthy()
    assert wanted.stop() == 0
    # From now on it is known to be meant.
    again = run(environ=environ, volume=volume)
    again.wait_healthy()
    assert again.stop() == 0


def test_zombies_of_others_are_reaped(run, outside):
    """What a `docker exec` leaves behind becomes process 1's child."""
    given, binds = outside
    _, environ = environment(**given)
    container = run(environ=environ, binds=binds)
    container.wait_healthy()
    # Each sub-shell ends at once, its child a little later and without a parent.
    container.exec("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do (sleep 2.$i >/dev/null 2>&1 &); done")
    orphans = [pid for pid, (parent, _, name) in container.processes().items() if parent == 1 and name == "sleep"]
    assert orphans, container.processes()
    wait_until(lambda: not any(name == "sleep" or state == "Z" for _, state, name in container.processes().values()), 10,
               "no orphan is left, and no zombie")
    assert container.health().returncode == 0
    assert container.stop() == 0


def test_arguments_and_other_commands(run, outside):
    given, binds = outside
    url, environ = environment(**given)
    assert run("version", environ=environ).process.wait(20) == 0
    check = run("check", environ=environ, binds=binds)
    assert check.process.wait(20) == 0 and check.process.log_text().endswith("ok\n")
    consumers = run("serve", "--set", "server.workers=0", environ={**environ, "WEB_CONCURRENCY": "0"}, binds=binds)
    consumers.wait_healthy()
    with pytest.raises((requests.ConnectionError, requests.Timeout)):
        requests.get(url, timeout=2)  # nobody answers here
    assert consumers.stop() == 0
