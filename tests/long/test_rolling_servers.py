"""Two servers behind nginx are upgraded one by one across a change of the schema.

The order that README gives: expand (the first new server's start), every server, contract.
`forkmark_next` is this program with two more migrations, see tests/CMakeLists.txt.
"""

import os
import signal
import subprocess

import pytest

from balancer import BEHIND, Nginx
from load import Load
from services import wait_until
from stack import BINARY

NEXT = os.path.join(os.path.dirname(BINARY), "forkmark_next")


def columns(server):
    return {row[0] for row in server.sql("SELECT column_name FROM information_schema.columns"
                                         " WHERE table_name = 'saved_content'")}


def migrate(program, server, *arguments):
    done = subprocess.run([program, "migrate", "--config", server.config, *arguments],
                          capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def answered_since(load, count=100):
    before = sum(load.answers.values())
    wait_until(lambda: sum(load.answers.values()) > before + count, 60, "requests are answered")


def replace(server, program):
    """Stopped in order, and started with that program."""
    assert server.stop() == 0
    server.binary = program
    server.start()


@pytest.fixture
def servers(make_servers):
    assert os.path.exists(NEXT), "forkmark_next is built with the tests"
    return make_servers(2, workers=1, consumers=1, server=BEHIND[Nginx] + 'graceful_timeout = "20s";')


def test_servers_are_upgraded_one_by_one_across_a_schema_change(make_balancer, servers):
    old, new = servers
    balancer = make_balancer(Nginx, servers)
    client = balancer.client().sign_up()
    load = Load(client, connections=4, save_every=4)
    answered_since(load)
    # 1. The first new server expands the schema, under the feet of the old one.
    replace(new, NEXT)
    assert "applying 9001_expand.sql" in new.log_text()
    assert "9002_contract.sql takes away what older programs use: it waits" in new.log_text()
    assert {"shelf", "scrapling_version"} <= columns(old)
    answered_since(load)
    # 2. The old program serves on, reloads, and may even be started again: so may a
    # machine that reboots, or an upgrade that is taken back.
    old.write_config(server=old.options["server"] + 'request_timeout = "25s";')
    done = old.ctl("reload", "--wait")
    assert done.returncode == 0, done
    replace(old, BINARY)
    log = old.log_text()[old.log_begins:]
    assert "the database is newer than this program (it has migration 9001_expand.sql)" in log
    answered_since(load)
    status, text = migrate(BINARY, old)
    assert status == 0 and "0 migrations applied" in text, text
    # 3. Every server is new; only then what nobody uses any more is taken away.
    replace(old, NEXT)
    answered_since(load)
    status, text = migrate(NEXT, old)
    assert status == 0 and "scrapling_version" in columns(old), text
    status, text = migrate(NEXT, old, "--contract")
    assert (status, "1 migration applied" in text) == (0, True), text
    assert "scrapling_version" not in columns(old)
    answered_since(load)
    load.stop()
    assert not load.unanswered and not load.refused, (load.unanswered[:3], load.refused[:3], load.answers)
    found = {url for (url,) in old.sql("SELECT url FROM saved_content")}
    assert set(load.saved) <= found
    # 4. From here on the old program refuses, and says what it lacks.
    assert old.stop() == 0
    old.binary = BINARY
    old.start(wait=False)
    assert old.master.wait(30) == 1
    log = old.log_text()[old.log_begins:]
    assert "newer than this program" in log and "has to know migration 9001" in log
    status, text = migrate(BINARY, old)
    assert status == 1 and "9002_contract.sql" in text
    new.master.signal(signal.SIGTERM)
