"""Fixtures: one PostgreSQL a session, a Redis and a forkmark a test."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "harness"))

from pages import PageServer  # noqa: E402
from pgbouncer import PgBouncer  # noqa: E402
from redis_cluster import RedisCluster  # noqa: E402
from services import SANITIZER_WORDS, Postgres, Redis, wait_until  # noqa: E402
from stack import BINARY, Stack  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only with FORKMARK_LONG=1, as in `sh tests/long.sh scale`")


def pytest_collection_modifyitems(config, items):
    if os.environ.get("FORKMARK_LONG"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def session_folder():
    # Short: a Unix socket's path holds 107 bytes at most.
    folder = tempfile.mkdtemp(prefix="fm-")
    os.chmod(folder, 0o755)
    yield folder
    # Nobody waits for the disk: what several PostgreSQLs leave takes a while.
    subprocess.Popen(["rm", "-rf", folder], start_new_session=True)


@pytest.fixture(scope="session")
def postgres(session_folder):
    server = Postgres(os.path.join(session_folder, "db"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres):
    """A migrated database that each test's own is copied from."""
    postgres.create("migrated")
    done = subprocess.run([BINARY, "migrate"], env={**os.environ,
                          "DATABASE_URL": postgres.url("migrated")},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return "migrated"


@pytest.fixture
def folder(session_folder):
    path = tempfile.mkdtemp(dir=session_folder)
    os.chmod(path, 0o755)
    return path


@pytest.fixture
def redis_server(folder):
    server = Redis(os.path.join(folder, "redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pooler(session_folder, postgres):
    """With FORKMARK_PGBOUNCER every stack reaches its database through one."""
    server = PgBouncer(os.path.join(session_folder, "pooler"), postgres) \
        if os.environ.get("FORKMARK_PGBOUNCER") else None
    yield server
    if server:
        server.stop()


@pytest.fixture(scope="session")
def shared_cluster(session_folder):
    """With FORKMARK_CACHE_CLUSTER every stack has its cache in this cluster."""
    cluster = RedisCluster(os.path.join(session_folder, "cluster")) \
        if os.environ.get("FORKMARK_CACHE_CLUSTER") else None
    yield cluster
    if cluster:
        cluster.stop()


@pytest.fixture
def cache_cluster(shared_cluster):
    """Empty for each test: its users are of another database."""
    if shared_cluster:
        shared_cluster.flush()
    return shared_cluster


@pytest.fixture
def make_stack(folder, postgres, template, redis_server, pooler, cache_cluster):
    """make_stack(workers=4) starts one; all are stopped, and their logs read, at the end."""
    stacks = []

    def make(start=True, **options):
        path = tempfile.mkdtemp(dir=folder)
        options.setdefault("pooler", pooler)
        if cache_cluster:
            options.setdefault("redis_more", cache_cluster.settings())
        stack = Stack(path, postgres, redis_server, template, **options)
        stacks.append(stack)
        return stack.start() if start else stack

    yield make
    for stack in stacks:
        if stack.master is None:
            continue
        stack.stop()
        text = stack.log_text()
        found = [word for word in SANITIZER_WORDS if word in text]
        assert not found, f"{found} in the log:\n{text[-8000:]}"


@pytest.fixture
def stack(make_stack):
    return make_stack()


@pytest.fixture
def pages():
    server = PageServer()
    yield server
    server.close()


@pytest.fixture
def make_servers(make_stack):
    """make_servers(2) starts so many on one database; options as for make_stack, a list of
    dictionaries for what differs."""
    made = []

    def make(count=2, start=True, differ=(), **options):
        for number in range(count):
            own = differ[number] if number < len(differ) else {}
            server = make_stack(start=False, **{**options, **own})
            if made:
                server.database = made[0].database
            made.append(server)
        if start:
            for server in made:
                server.start(wait=False)
            for server in made:
                server.wait_ready()
        return made

    yield make
    running = [server for server in made if server.master and server.master.is_running()]
    for server in running:
        server.master.signal(signal.SIGTERM)
    for server in running:  # once more, and nobody waits for server.drain_delay
        wait_until(lambda s=server: not s.master.is_running() or "stopping: " in s.log_text(), 20, "TERM")
        if server.master.is_running():
            server.master.signal(signal.SIGTERM)
    for server in running:
        server.master.wait(30)


@pytest.fixture
def make_balancer(folder):
    """make_balancer(Nginx, servers) starts one in front of them."""
    started = []

    def make(kind, servers, **options):
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        started.append(kind(f"{folder}/balancer{len(started)}", addresses, **options).start())
        return started[-1]

    yield make
    for balancer in started:
        balancer.stop()
