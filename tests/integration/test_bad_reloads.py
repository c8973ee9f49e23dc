"""A reload that cannot work leaves everything as it was, and says why, with file and line."""

import os
import re
import signal
import socket
import time

import pytest

from load import Load
from services import wait_until
from stack import free_port


def rewrite(stack, change):
    """Writes the good configuration, then lets `change` spoil its text."""
    stack.write_config()
    with open(stack.config, encoding="utf-8") as file:
        text = file.read()
    with open(stack.config, "w", encoding="utf-8") as file:
        file.write(change(text))


def line_of(stack, word):
    with open(stack.config, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if word in line:
                return number
    raise AssertionError(f"{word} is not in the file")


def lock_a_role(stack, postgres):
    """A role that needs a password; the others go on as before."""
    stack.sql("DO $$ BEGIN CREATE ROLE locked LOGIN SUPERUSER PASSWORD 'right'; "
              "EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    path = os.path.join(postgres.data, "pg_hba.conf")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if "locked" not in text:
        with open(path, "w", encoding="utf-8") as file:
            file.write("local all locked scram-sha-256\n" + text)
    stack.sql("SELECT pg_reload_conf()")


def with_password(stack, word):
    return lambda text: text.replace(stack.postgres.url(stack.database),
                                     f"postgresql://locked:{word}@/{stack.database}"
                                     f"?host={stack.postgres.folder}")


def test_eight_bad_reloads_under_load_change_nothing(make_stack, postgres):
    stack = make_stack(workers=2)
    lock_a_role(stack, postgres)
    before = stack.children()
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    bad = [
        (lambda text: text + "server = {", "forkmark.conf:", None),
        (lambda text: text + f'@include "{stack.folder}"\n', "@include of a folder", None),
        (lambda text: text.replace("server: {", "server: { worker = 3;"),
         "unknown option `server.worker`", "worker = 3"),
        (lambda text: text.replace("server: {", "server: { backlog = 0;"),
         "server.backlog", "backlog = 0"),
        (lambda text: text.replace(f"127.0.0.1:{stack.port}", f"127.0.0.1:{port}"),
         f"cannot listen on 127.0.0.1:{port}", "bind ="),
        (with_password(stack, "wrong"), "password authentication failed", "locked:wrong"),
        (lambda text: text.replace("server: {", 'server: { tls_certificate = "/nowhere.pem";'),
         "server.tls_certificate: cannot read /nowhere.pem", "tls_certificate ="),
        # All pools together would want more connections than the server has.
        (lambda text: text.replace("database: {", "database: { pool_size = 150;"),
         "max_connections leaves", None),
    ]
    load = Load(stack.client().sign_up(), connections=8)
    try:
        for count, (change, reason, at) in enumerate(bad, 1):
            rewrite(stack, change)
            answer = stack.ctl_at("reload", "--wait")
            assert answer.returncode == 1, (reason, answer)
            assert reason in answer.stderr, answer
            if at:
                assert f"forkmark.conf:{line_of(stack, at)}: " in answer.stderr, answer
            failed = stack.log_text().count("failed, nothing changed")
            stack.master.signal(signal.SIGHUP)
            wait_until(lambda n=failed: stack.log_text().count("failed, nothing changed") > n,
                       20, f"{reason}: HUP fails as well")
            status = stack.ctl_at("status")
            assert reason in status.stdout and "the last reload failed" in status.stdout
            assert stack.children("worker") == {
                pid: title for pid, title in before.items() if "worker" in title}, reason
            assert f"({2 * count} failed)" in status.stdout
    finally:
        load.stop()
        taken.close()
    assert load.failures == [] and load.bad() == {}
    assert stack.children() == before
    shown = stack.ctl_at("show", "config").stdout
    assert f'"127.0.0.1:{stack.port}"' in shown and "pool_size = 5" in shown
    rewrite(stack, with_password(stack, "right"))
    good = stack.ctl_at("reload", "--wait")
    assert good.returncode == 0 and "database.url: " in good.stdout, good
    assert "right" not in good.stdout and "the last reload failed" not in stack.ctl_at("status").stdout
    wait_until(lambda: not set(before) & set(stack.children("worker")), 20, "all are new")
    assert stack.client().get("/health/readiness").json()["database"] == "ready"


def test_a_reload_needs_redis_too(make_stack):
    stack = make_stack(workers=1)
    before = stack.children("worker")
    stack.redis_server.stop()
    stack.write_config(server='request_timeout = "20s";')
    answer = stack.ctl("reload", "--wait")
    assert answer.returncode == 1 and "redis.url: " in answer.stderr, answer
    assert stack.children("worker") == before
    stack.redis_server.start()
    wait_until(lambda: stack.ctl("reload", "--wait").returncode == 0, 20, "Redis is back")
    wait_until(lambda: not set(before) & set(stack.children("worker")), 20, "all are new")


def test_an_address_may_change(make_stack):
    stack = make_stack(workers=2)
    old = stack.port
    load = Load(stack.client().sign_up(), connections=4)
    new = free_port()
    rewrite(stack, lambda text: text.replace(f'"127.0.0.1:{old}"',
                                             f'"127.0.0.1:{old}", "127.0.0.1:{new}"'))
    assert stack.ctl_at("reload", "--wait").returncode == 0
    for port in (old, new):
        socket.create_connection(("127.0.0.1", port), 5).close()
    time.sleep(0.5)
    load.stop()
    assert load.failures == [] and load.bad() == {}
    rewrite(stack, lambda text: text.replace(f'"127.0.0.1:{old}"', f'"127.0.0.1:{new}"'))
    assert stack.ctl_at("reload", "--wait").returncode == 0

    def refused():
        try:
            socket.create_connection(("127.0.0.1", old), 0.2).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
        return False
    socket.create_connection(("127.0.0.1", new), 5).close()
    wait_until(refused, 15, "nobody listens at the old address")
    assert f"http://127.0.0.1:{new}" in stack.ctl_at("status").stdout


def test_a_generation_that_cannot_stay_up_is_rolled_back(make_stack):
    stack = make_stack(workers=2)
    stack.write_config(server='request_timeout = "20s";')
    before = set(stack.children("worker"))
    assert stack.ctl("reload", "--wait").returncode == 0
    for _ in range(3):
        workers = wait_until(lambda: set(stack.children("worker")) - before, 10, "a new worker")
        victim = min(workers)
        os.kill(victim, signal.SIGKILL)
        before.add(victim)
    wait_until(lambda: "cannot stay up" in stack.log_text(), 10, "rolled back")
    wait_until(lambda: "back at the former configuration" in stack.log_text(), 30, "complete")
    assert "request_timeout = 30" in stack.ctl("show", "config").stdout
    status = stack.ctl("status").stdout
    assert re.search(r"the last reload failed .* cannot stay up \(3 deaths", status), status
    assert stack.client().get("/health/readiness").status_code == 200
    assert len(stack.children("worker")) == 2


def test_a_pool_of_nobody_is_refused_before_anything_ends(make_stack):
    stack = make_stack(workers=1, consumers=1)
    before = set(stack.children())
    rewrite(stack, lambda text: text.replace("default: {", 'default: { user = "nobody-of-that-name";'))
    answer = stack.ctl_at("reload", "--wait")
    assert answer.returncode == 1, answer
    assert re.search(r"forkmark.conf:\d+: `jobs.pools.default.user`: there is no user `nobody-of-that-name`",
                     answer.stderr), answer
    assert set(stack.children()) == before


def test_consumers_that_cannot_stay_up_are_rolled_back_too(make_stack):
    stack = make_stack(workers=1, consumers=1)
    seen = set(stack.children("consumer"))
    rewrite(stack, lambda text: text.replace("default: {", "default: { max_jobs = 99;"))
    assert stack.ctl_at("reload", "--wait").returncode == 0
    for _ in range(3):
        victim = min(wait_until(lambda: set(stack.children("consumer")) - seen, 10, "a new consumer"))
        os.kill(victim, signal.SIGKILL)
        seen.add(victim)
    wait_until(lambda: "back at the former configuration" in stack.log_text(), 30, "complete")
    assert "max_jobs = 99" not in stack.ctl("show", "config").stdout
    assert len(stack.children("consumer")) == 1 and len(stack.children("worker")) == 1


def test_restart_rolling_replaces_everybody_and_reads_nothing(make_stack):
    stack = make_stack(workers=2, consumers=1)
    before = set(stack.children())
    rewrite(stack, lambda text: text + "nonsense")
    load = Load(stack.client().sign_up(), connections=8)
    answer = stack.ctl_at("restart", "--rolling", "--wait")
    time.sleep(0.3)
    load.stop()
    assert answer.returncode == 0, answer
    assert load.failures == [] and load.bad() == {}
    wait_until(lambda: not before & set(stack.children()), 20, "everybody is new")
