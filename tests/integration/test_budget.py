"""Connections and files of all processes together, against what there is."""

import re

from services import wait_until


def test_a_start_beyond_max_connections_is_refused_with_the_sum(make_stack):
    stack = make_stack(start=False, workers=3, consumers=1, database_more="pool_size = 100;")
    stack.start(wait=False)
    assert stack.master.wait(30) == 1
    log = stack.log_text()
    # (3 + 1) x 100 + 1 x 1 + 2
    assert "the processes keep 403 connections to the database open (4 workers" in log, log
    assert re.search(r"max_connections leaves \d+: fewer processes", log)


def test_overflow_beyond_it_is_a_warning_and_a_reload_counts_too(make_stack):
    stack = make_stack(workers=2, consumers=1, database_more="max_overflow = 120;")
    assert "at the height of load the processes open " in stack.log_text()
    stack.write_config(workers=2, database_more="max_overflow = 0;")
    assert stack.ctl("reload", "--wait").returncode == 0
    stack.write_config(workers=200)
    refused = stack.ctl("reload", "--wait")
    assert refused.returncode == 1 and "max_connections leaves" in refused.stderr, refused
    assert len(stack.children("worker")) == 2


def test_files_beyond_the_limit_are_told(make_stack):
    stack = make_stack(workers=1)
    stack.write_config(server="worker_connections = 100;")
    assert stack.ctl("reload", "--wait").returncode == 0
    worker = next(iter(stack.children("worker")))
    with open(f"/proc/{worker}/limits", encoding="ascii") as limits:
        line = next(line for line in limits if line.startswith("Max open files"))
    hard = line.split()[4]
    wanted = "100000" if hard == "unlimited" or int(hard) >= 100256 else "20000"
    stack.write_config(server=f"worker_connections = {wanted};")
    assert stack.ctl("reload", "--wait").returncode == 0
    worker = wait_until(lambda: [pid for pid in stack.children("worker") if pid != worker], 20, "new")[0]
    with open(f"/proc/{worker}/limits", encoding="ascii") as limits:
        line = next(line for line in limits if line.startswith("Max open files"))
    soft = line.split()[3]
    told = "descriptors (server.worker_connections" in stack.log_text()
    assert told or int(soft) >= int(wanted) + 256, line
