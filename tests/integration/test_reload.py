"""What a reload changes, and how: new processes one in, one out; nothing lost."""

import json
import os
import signal
import subprocess
import time

from load import Load
from services import wait_until
from stack import BINARY


def test_an_option_of_the_workers_replaces_them_under_load(make_stack):
    stack = make_stack(workers=3, consumers=2)
    before = set(stack.children("worker")) | set(stack.children("consumer"))
    client = stack.client().sign_up()
    load = Load(client, connections=16)
    try:
        time.sleep(0.5)
        stack.reload(server='request_timeout = "20s";')
        wait_until(lambda: not before & set(stack.children()), 40, "everybody is new")
        wait_until(lambda: len(stack.children("worker")) == 3, 10, "three workers")
        time.sleep(0.5)
    finally:
        load.stop()
    assert load.failures == [] and load.bad() == {}
    assert "reload: server.request_timeout: " in stack.log_text()
    assert len(stack.children("consumer")) == 2 and len(stack.children("scheduler")) == 1


def test_what_needs_a_restart_is_told_and_waits(make_stack):
    stack = make_stack(workers=1)
    before = stack.children()
    stack.reload(server="backlog = 77;")
    wait_until(lambda: "needs a restart" in stack.log_text(), 10, "it is told")
    time.sleep(0.3)
    assert stack.children() == before
    shown = stack.ctl("show", "config").stdout
    assert "server.backlog = 1024" in shown


def test_pools_come_change_and_go(make_stack):
    pool = 'pools: {{ default: {{ consumers = 1; queues = [ "{}" ]; }}; {} }};'
    stack = make_stack(workers=1)
    first = set(stack.children("consumer default"))

    def rewrite(queue, more=""):
        with open(stack.config, encoding="utf-8") as file:
            text = file.read()
        with open(stack.config, "w", encoding="utf-8") as file:
            file.write(text[:text.index("jobs:")] + "jobs: { " + pool.format(queue, more) + " };\n")
        assert stack.ctl("reload").returncode == 0

    rewrite("default", 'bulk: { consumers = 2; queues = [ "bulk" ]; };')
    wait_until(lambda: len(stack.children("consumer bulk")) == 2, 10, "a new pool")
    rewrite("other")
    wait_until(lambda: not stack.children("consumer bulk"), 20, "the pool is gone")
    wait_until(lambda: not first & set(stack.children("consumer default")), 20,
               "new queues need new consumers")
    wait_until(lambda: len(stack.children("consumer default")) == 1, 10, "one of them")


def test_a_scaled_count_survives_reloads_until_the_file_changes_it(make_stack):
    stack = make_stack(workers=1)
    assert stack.ctl("scale", "web", "3").returncode == 0
    wait_until(lambda: len(stack.children("worker")) == 3, 10, "three workers")
    assert stack.ctl("reload").stdout == "nothing changed\n"
    time.sleep(0.3)
    assert len(stack.children("worker")) == 3
    stack.write_config(workers=2)
    assert "server.workers: 1 -> 2 (applied)" in stack.ctl("reload").stdout
    wait_until(lambda: len(stack.children("worker")) == 2, 10, "two workers")


def test_scale_config_goes_back_to_the_file_whatever_it_says(make_stack):
    stack = make_stack(workers=1)
    assert stack.ctl("scale", "web", "2").returncode == 0
    back = stack.ctl("scale", "web", "config")
    assert (back.returncode, back.stdout) == (0, "web: 2 -> 1\n")
    none = stack.ctl("scale", "web", "0")
    assert none.returncode == 1 and "cannot have 0" in none.stderr + none.stdout
    stack.write_config(workers=0)
    assert stack.ctl("reload").returncode == 0
    wait_until(lambda: not stack.children("worker"), 20, "no workers")
    assert stack.ctl("scale", "web", "1").returncode == 0
    wait_until(lambda: stack.children("worker"), 10, "one for now")
    assert stack.ctl("scale", "web", "config").returncode == 0
    wait_until(lambda: not stack.children("worker"), 20, "none again, as the file says")


def test_queries_go_through_the_pooler_and_migrations_do_not(make_stack, postgres):
    stack = make_stack(start=False, workers=1)
    url = postgres.url(stack.database)
    stack.sql("DO $$ BEGIN CREATE ROLE pooled LOGIN SUPERUSER;"
              " EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    stack.write_config(database_more=f'pooler_url = "{url.replace("forkmark@", "pooled@")}";')
    stack.start()
    client = stack.client().sign_up()
    client.save("http://127.0.0.1:9/pooled")
    assert client.get("/api/bookmarks").json()["total"] == 1
    users = dict(stack.sql("SELECT usename, count(*) FROM pg_stat_activity WHERE datname = %s"
                           " AND application_name LIKE 'forkmark%%' GROUP BY usename", stack.database))
    assert set(users) == {"pooled"} and users["pooled"] >= 2


def begin(stack, *words):
    return subprocess.Popen([BINARY, "ctl", "--socket", f"{stack.folder}/control", *words], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stage(stack):
    return json.loads(stack.ctl_at("--json", "status").stdout)["reload"]["stage"]


def test_who_waits_is_told_of_the_reload_he_asked_for(make_stack):
    """One asked for while another is under way is the next one, with an end of its own."""
    stack = make_stack(workers=1)
    redis = stack.redis_server.server.pid
    stack.write_config(server='request_timeout = "21s";')
    os.kill(redis, signal.SIGSTOP)  # the proof waits for it
    try:
        first = begin(stack, "reload", "--wait")
        wait_until(lambda: "proving" in stage(stack), 20, "the first is under way")
        good = begin(stack, "--json", "reload", "--wait")
        wait_until(lambda: stack.ctl_at("show", "events").stdout.count("a reload, asked for") == 2, 20, "a second")
        stack.write_config(server='request_timeout = "22s";')
    finally:
        os.kill(redis, signal.SIGCONT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0 and "20 -> " not in out and "30 -> 21" in out, (out, err)
    out, err = good.communicate(timeout=60)
    assert good.returncode == 0, (out, err)
    assert json.loads(out) == {"changes": [{"key": "server.request_timeout", "old": "21", "new": "22",
                                            "applies": "new workers"}]}
    # The same, but the second one fails.
    stack.write_config(server='request_timeout = "23s";')
    os.kill(redis, signal.SIGSTOP)
    try:
        first = begin(stack, "reload", "--wait")
        wait_until(lambda: "proving" in stage(stack), 20, "under way again")
        bad = begin(stack, "reload", "--wait")
        wait_until(lambda: stack.ctl_at("show", "events").stdout.count("a reload, asked for") == 4, 20, "a fourth")
        stack.write_config(server="wrokers = 3;")
    finally:
        os.kill(redis, signal.SIGCONT)
    assert first.communicate(timeout=60) and first.returncode == 0
    out, err = bad.communicate(timeout=60)
    assert bad.returncode == 1 and "server.wrokers" in err, (out, err)
    assert "request_timeout = 23" in stack.ctl_at("show", "config").stdout


def test_what_changes_as_data(make_stack):
    stack = make_stack(workers=1, consumers=1)

    def changes(**options):
        stack.write_config(**options)
        done = stack.ctl("--json", "reload", "--wait")
        assert done.returncode == 0, done
        return {row["key"]: (row["old"], row["new"], row["applies"]) for row in json.loads(done.stdout)["changes"]}

    assert changes() == {}
    assert changes(server="backlog = 77;", workers=2) == {
        "server.workers": ("1", "2", "live"), "server.backlog": ("1024", "77", "restart")}
    more = 'bulk: { consumers = 1; queues = [ "bulk" ]; };'
    pool = 'default: { consumers = 2; queues = [ "default" ]; }; '
    assert changes(server="", pools=pool + more) == {
        "jobs.pools.default.consumers": ("1", "2", "live"), "jobs.pools.default": (None, None, "new workers"),
        "jobs.pools.bulk.consumers": (None, "1", "live")}
    assert changes(pools=pool) == {"jobs.pools.bulk.consumers": ("1", None, "live")}
    stack.write_config(server="wrokers = 3;")
    failed = stack.ctl_at("--json", "reload", "--wait")
    answer = json.loads(failed.stdout)
    assert failed.returncode == 1 and answer["ok"] is False and "server.wrokers" in answer["text"]


def test_ctl_reload_fails_with_the_reason(stack):
    stack.write_config(server="wrokers = 3;")
    refused = stack.ctl("reload")
    # ctl itself reads the file to find the socket, and says the same.
    assert refused.returncode == 1
    assert "forkmark.conf:" in refused.stderr and "server.workers" in refused.stderr
    # Told where the socket is, it asks the server, which says it too and serves on.
    refused = stack.ctl("--socket", stack.folder + "/control", "reload")
    assert refused.returncode == 1
    assert "forkmark.conf:" in refused.stderr and "server.workers" in refused.stderr
    assert stack.ctl("--socket", stack.folder + "/control", "status").returncode == 0
