"""A new program on the same sockets: beside the old one, or in its place; nothing is lost."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from ledger import Ledger
from manager import Manager
from services import wait_until
from stack import BINARY, free_port
from test_embedded import Embedded
from test_metrics import scrape

NEW = "0.1.9"


def version():
    return subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout.split()[1]


def install(path, new=None, patches=()):
    """The program at that path, put there as a package manager does; `new` is its version."""
    with open(BINARY, "rb") as file:
        code = file.read()
    if new:
        old = version()
        assert len(old) == len(new) and code.count(old.encode() + b"\0")
        code = code.replace(old.encode() + b"\0", new.encode() + b"\0")
        code = code.replace(b"forkmark " + old.encode(), b"forkmark " + new.encode())
    for was, now in patches:
        assert was in code and len(was) == len(now)
        code = code.replace(was, now)
    with open(path + ".new", "wb") as file:
        file.write(code)
    os.chmod(path + ".new", 0o755)
    os.replace(path + ".new", path)


def script(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path + ".new", 0o755)
    os.replace(path + ".new", path)


def status(stack, second=False):
    done = subprocess.run([BINARY, "ctl", "--socket", f"{stack.folder}/control" + (".2" if second else ""),
                           "--json", "status"], capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def stage(stack):
    now = status(stack)
    return now["upgrade"]["stage"] if now else None


@pytest.fixture
def beside(make_stack, folder):
    """A stack whose program can be replaced, and a ledger; whoever is left is ended."""
    stack = make_stack(start=False, workers=2, consumers=1, jobs="test_functions = true;",
                       log='level = "info";')
    stack.binary = os.path.join(folder, "forkmark")
    stack.options["server"] = f'pid_file = "{folder}/pid"; keepalive = "2s";'
    stack.options["bind"] = f'"127.0.0.1:{stack.port}", "unix:{folder}/http"'
    stack.sockets = f"{folder}/http"
    stack.pid_file = f"{folder}/pid"
    install(stack.binary)
    stack.start()
    stack.ledger = Ledger(stack.port, stack.client().sign_up().token, connections=24, streams=2)
    yield stack
    stack.ledger.stop()
    for second in (True, False):
        if now := status(stack, second):
            stack.follow(now["pid"])
            stack.stop()


def read(path):
    with open(path, encoding="ascii") as file:
        return int(file.read())


def answers_over_unix(stack):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(stack.sockets)
        connection.sendall(b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def start_beside(stack):
    stack.master.signal(signal.SIGUSR2)
    wait_until(lambda: stage(stack) == "beside the new master", 40, "the new master serves")
    return status(stack, second=True)


def check(stack):
    stack.ledger.stop()
    print(stack.ledger)
    stack.ledger.check()
    assert stack.ledger.sent > 30


def test_beside_and_then_alone(beside):
    old = beside.master.pid
    install(beside.binary, NEW)
    assert beside.ctl_at("scale", "web", "3").returncode == 0
    new = start_beside(beside)
    assert new["pools"][0]["wanted"] == 3  # an operator's order holds
    assert new["version"] == NEW and new["upgrade"]["stage"] == "beside the former master"
    assert status(beside)["upgrade"]["version"] == NEW and status(beside)["version"] == version()
    assert f"version {NEW}" in beside.ctl_at("status").stdout
    assert (read(beside.pid_file), read(beside.pid_file + ".2")) == (old, new["pid"])
    # One at a time: neither begins another.
    assert beside.ctl_at("upgrade").returncode == 1
    beside.master.signal(signal.SIGTERM)
    assert beside.master.wait(40) == 0
    beside.follow(new["pid"])
    wait_until(lambda: stage(beside) == "", 20, "it has taken the names")
    assert status(beside)["version"] == NEW and status(beside)["pid"] == new["pid"]
    assert read(beside.pid_file) == new["pid"] and not os.path.exists(beside.pid_file + ".2")
    assert not os.path.exists(f"{beside.folder}/control.2")
    assert answers_over_unix(beside)
    check(beside)
    # What was promoted is a master like any other, and may be replaced in its turn.
    assert beside.ctl_at("reload", "--wait").returncode == 0
    done = beside.ctl_at("upgrade", "--complete")
    assert done.returncode == 0 and f"forkmark {NEW} serves" in done.stdout, done
    assert status(beside)["pid"] != new["pid"]
    beside.follow(status(beside)["pid"])
    assert answers_over_unix(beside)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_and_back_again(beside, number):
    """Either lets the new one's requests end, as the old one serves on at the same sockets."""
    new = start_beside(beside)
    os.kill(new["pid"], number)
    wait_until(lambda: stage(beside) == "", 20, "the old one is alone")
    assert "this one serves on" in beside.log_text()
    assert not os.path.exists(beside.pid_file + ".2") and read(beside.pid_file) == beside.master.pid
    assert not os.path.exists(f"{beside.folder}/control.2")
    assert answers_over_unix(beside)
    time.sleep(0.5)
    check(beside)


def scrape_when_settled(client):
    """Streams count when their end has been noticed; one's own requests as they are answered."""
    def settled():
        first, second = scrape(client), scrape(client)
        is_alone = second("http_requests_total") == first("http_requests_total") + 1
        return second if is_alone and second("event_streams") == 0 else None
    return wait_until(settled, 20, "nothing but our own requests is counted")


@pytest.mark.parametrize("is_forward", [True, False])
def test_counters_and_history_go_along(beside, is_forward):
    """Whoever ends leaves to the other one what it has counted: each request counts once."""
    beside.ledger.stop()
    # Where the load has brought a count is where it goes on, too.
    beside.write_config(workers="{ min = 1; max = 4; }")
    assert beside.ctl_at("reload", "--wait").returncode == 0
    assert beside.ctl_at("scale", "web", "3").returncode == 0
    assert beside.ctl_at("scale", "web", "config").returncode == 0
    wait_until(lambda: len(beside.children("worker")) == 3, 20, "three workers")
    before = scrape_when_settled(beside.client())
    new = start_beside(beside)
    assert new["pools"][0]["wanted"] == 3 and "scaled" not in new["pools"][0]
    for _ in range(40):
        assert beside.client().get("/health/liveness", headers={"Connection": "close"}).status_code == 200
    os.kill(beside.master.pid if is_forward else new["pid"], signal.SIGTERM)
    if is_forward:
        beside.master.wait(40)
        beside.follow(new["pid"])
    wait_until(lambda: stage(beside) == "", 20, "one is alone")
    after = scrape(beside.client())
    after.must_not_fall_behind(before)
    assert after("http_requests_total") == before("http_requests_total") + 1 + 40
    assert after("connections_accepted_total") == before("connections_accepted_total") + 1 + 40
    events = [row["text"] for row in json.loads(beside.ctl_at("--json", "show", "events").stdout)]
    assert any(text.startswith("web: 2 -> 3 by") for text in events)
    assert sum(text.startswith("stopping") for text in events) == 1
    assert sum("serves at" in text for text in events) == 2  # both of them


def test_quit_to_the_old_one_resets_nobody(beside):
    new = start_beside(beside)
    old = beside.master
    old.signal(signal.SIGQUIT)
    assert old.wait(40) == 0
    beside.follow(new["pid"])
    wait_until(lambda: stage(beside) == "", 20, "the new one is alone")
    time.sleep(0.5)
    check(beside)
    # Alone, it is as quick as always.
    slow = beside.ledger.__class__(beside.port, beside.client().sign_up().token, connections=4, streams=0)
    wait_until(lambda: slow.in_flight, 20, "requests are under way")
    begun = time.monotonic()
    os.kill(new["pid"], signal.SIGQUIT)
    beside.master.wait(20)
    slow.stop()
    assert time.monotonic() - begun < 15


def test_a_reload_beside_leaves_the_sockets_to_the_other_one(beside):
    """What one of them has no more is still the other's: no filter at it, and its name stays."""
    new = start_beside(beside)
    beside.ledger.stop()
    with open(beside.config, encoding="utf-8") as file:
        good = file.read()
    with open(beside.config, "w", encoding="utf-8") as file:
        file.write(good.replace(f'"127.0.0.1:{beside.port}", "unix:{beside.sockets}"', f'"127.0.0.1:{free_port()}"'))
    done = beside.ctl_at("reload", "--wait")
    assert done.returncode == 0 and "server.bind" in done.stdout, done
    assert len(json.loads(beside.ctl_at("--json", "show", "listeners").stdout)) == 1
    for _ in range(3):
        assert beside.client().get("/health/liveness", timeout=5, headers={"Connection": "close"}).status_code == 200
    assert answers_over_unix(beside)
    with open(beside.config, "w", encoding="utf-8") as file:
        file.write(good)
    beside.master.signal(signal.SIGTERM)
    assert beside.master.wait(40) == 0
    beside.follow(new["pid"])
    wait_until(lambda: stage(beside) == "", 20, "the new one is alone")
    assert beside.client().get("/health/liveness").status_code == 200
    assert answers_over_unix(beside)


def test_an_old_master_that_is_killed_is_replaced_by_the_new(beside):
    new = start_beside(beside)
    beside.ledger.stop()  # what the killed workers had in their hands is lost
    beside.master.signal(signal.SIGKILL)
    beside.master.wait(10)
    beside.follow(new["pid"])
    wait_until(lambda: stage(beside) == "" and status(beside)["pid"] == new["pid"], 20, "promoted")
    assert read(beside.pid_file) == new["pid"]
    assert answers_over_unix(beside)
    assert beside.client().get("/health/readiness").status_code == 200


def test_what_does_not_get_to_serve_changes_nothing(beside):
    before = beside.children("worker")
    script(beside.binary, "exit 3\n")
    failed = beside.ctl_at("upgrade", "--wait")
    assert failed.returncode == 1 and "ended before it served" in failed.stderr, failed
    assert "the last upgrade failed: the new master ended" in beside.ctl_at("status").stdout
    os.unlink(beside.binary)
    failed = beside.ctl_at("upgrade", "--wait")
    assert failed.returncode == 1 and "cannot be executed" in failed.stderr, failed
    install(beside.binary, NEW)
    good = open(beside.config, encoding="utf-8").read()
    with open(beside.config, "w", encoding="utf-8") as file:
        file.write(good.replace("workers = 2", "wrokers = 2"))
    failed = beside.ctl_at("upgrade", "--wait")
    assert failed.returncode == 1 and "server.wrokers" in failed.stderr, failed
    with open(beside.config, "w", encoding="utf-8") as file:
        file.write(good.replace('database: { url = "', 'database: { url = "postgresql://nobody@/none?host=/none"; '
                                'pooler_url = "'))
    assert beside.children("worker") == before and answers_over_unix(beside)
    with open(beside.config, "w", encoding="utf-8") as file:
        file.write(good)
    assert beside.ctl_at("upgrade", "--wait").returncode == 0  # and the next one does
    check(beside)


def test_the_service_manager_is_told_who_is_the_service(make_stack, folder):
    manager = Manager(folder)
    # Alone it fits: 3 x 50 + 4 of 297 or so; both together do not.
    stack = make_stack(start=False, workers=2, log='level = "info";',
                       database_more="pool_size = 5; max_overflow = 45;")
    stack.environ = manager.environment(watchdog=4)
    stack.start()
    first = manager.until("READY", "1")
    old = stack.master.pid
    assert stack.ctl_at("upgrade", "--wait").returncode == 0
    new = status(stack, second=True)["pid"]
    assert stack.log_text().count("together with the former master's the processes may open") == 1
    assert "at the height of load" not in stack.log_text()
    manager.listen(1)
    assert "MAINPID" not in dict(manager.words()) and "STOPPING" not in dict(manager.words())
    assert len([word for word in manager.words() if word == ("READY", "1")]) == 1
    os.kill(old, signal.SIGTERM)
    assert stack.master.wait(40) == 0
    stack.follow(new)
    told = manager.until("MAINPID", str(new), after=first)
    manager.until("READY", "1", after=told)
    manager.until("WATCHDOG", "1", after=told)
    assert "STOPPING" not in dict(manager.words())
    wait_until(lambda: stage(stack) == "", 20, "alone")
    # Together with the new one the service ends.
    stack.stop()
    manager.until("STOPPING", "1", after=told)
    manager.close()


# ---- in place ----

@pytest.fixture
def embedded(folder):
    server = Embedded(folder, FORKMARK_TEST_FUNCTIONS="1", WEB_CONCURRENCY="2")
    server.binary = os.path.join(folder, "forkmark")
    install(server.binary)
    server.start("--set", "jobs.test_functions=true", "--set", "server.keepalive=2s",
                 "--set", "limits.enabled=false")
    yield server
    server.master.end(signal.SIGTERM, seconds=40)
    # A short-lived child that outlives its master is killed by the kernel, a moment later.
    wait_until(lambda: server.processes() == {}, 5, "nobody is left")


@pytest.mark.skipif(os.geteuid() != 0, reason="a process 1 of its own needs root")
def test_process_1_replaces_its_program(make_stack, folder):
    """As in a container: other services, but an id that must stay."""
    stack = make_stack(start=False, workers=2, log='level = "info";', server='keepalive = "2s";',
                       jobs="test_functions = true;")
    stack.binary = os.path.join(folder, "forkmark")
    install(stack.binary)
    stack.prefix = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    stack.start()
    ledger = Ledger(stack.port, stack.client().sign_up().token, connections=16, streams=1)
    try:
        before = status(stack)
        assert before["pid"] == 1
        install(stack.binary, NEW)
        assert stack.ctl_at("scale", "web", "3").returncode == 0
        # Whose configuration has changed meanwhile is not known to start.
        stack.write_config(server='keepalive = "2s"; request_timeout = "20s"; backlog = 77;')
        failed = stack.ctl_at("upgrade", "--wait")
        assert failed.returncode == 1 and "server.request_timeout: changed" in failed.stderr, failed
        assert stack.ctl_at("reload", "--wait").returncode == 0
        done = stack.ctl_at("upgrade", "--wait")
        assert done.returncode == 0 and f"forkmark {NEW} serves, pid 1" in done.stdout, done
        assert status(stack)["pools"][0]["wanted"] == 3
        assert "server.backlog = 77" in stack.ctl_at("show", "config").stdout  # it was a restart
    finally:
        ledger.is_ending = True
        assert stack.ctl_at("stop").returncode == 0
        stack.master.wait(40)
        ledger.stop()
    print(ledger)
    ledger.check()


def tree(server):
    return json.loads(server.ctl("--json", "status").stdout)


def pids(now, *pools):
    return {child["pid"] for pool in now["pools"] if pool["name"] in (pools or ("web",))
            for child in pool["children"]}


def test_in_place_with_embedded_services(embedded):
    client = embedded.client().sign_up()
    before = tree(embedded)
    counted = scrape(embedded.client())
    assert counted("http_requests_total") > 0
    ledger = Ledger(embedded.port, client.token, connections=24, streams=2)
    try:
        for number in range(2):
            new = (NEW, version())[number]
            install(embedded.binary, new)
            done = embedded.ctl("upgrade", "--wait")
            assert done.returncode == 0 and f"forkmark {new} serves" in done.stdout, done
            now = tree(embedded)
            assert now["version"] == new and now["pid"] == before["pid"] == embedded.master.pid
            assert [s["pid"] for s in now["services"]] == [s["pid"] for s in before["services"]]
            everybody = ("web", "default", "scheduler")
            wait_until(lambda old=pids(before, *everybody): not old & pids(tree(embedded), *everybody),
                       40, "the former program's have drained")
            before = tree(embedded)
            page = scrape(embedded.client())
            page.must_not_fall_behind(counted)
            counted = page
    finally:
        ledger.stop()
    print(ledger)
    ledger.check()
    assert ledger.sent > 100
    assert embedded.ctl("show", "events").stdout.count("serves at") == 3
    text = embedded.log_text()
    assert text.count("takes this program's place") >= 2 and " died" not in text
    # It is a master like before: it reloads, scales, and replaces what dies.
    assert embedded.ctl("reload", "--wait").stdout == "nothing changed\n"
    assert embedded.ctl("scale", "web", "3").returncode == 0
    victim = next(iter(pids(tree(embedded))))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(pids(tree(embedded)) - {victim}) == 3, 20, "three again")
    assert client.get("/health/readiness").status_code == 200


def test_a_job_under_way_is_finished_by_who_has_it(embedded):
    queue = subprocess.run([BINARY, "jobs", "enqueue", "forkmark.test.sleep", "3"], cwd=embedded.folder,
                           env=embedded.environment, capture_output=True, text=True, check=False)
    assert queue.returncode == 0, queue
    job = queue.stdout.split(":")[0]
    wait_until(lambda: "forkmark.test.sleep" in embedded.ctl("status").stdout, 20, "it is under way")
    done = embedded.ctl("upgrade", "--wait")
    assert done.returncode == 0, done

    def shown():
        return subprocess.run([BINARY, "jobs", "show", job], cwd=embedded.folder, env=embedded.environment,
                              capture_output=True, text=True, check=False).stdout

    wait_until(lambda: "finished" in shown(), 30, "it is finished")
    assert " died" not in embedded.log_text()


def test_in_place_a_bad_program_or_another_configuration_is_refused(embedded):
    before = tree(embedded)
    script(embedded.binary, "echo 'it is too new for this machine' >&2; exit 1\n")
    failed = embedded.ctl("upgrade", "--wait")
    assert failed.returncode == 1 and "too new for this machine" in failed.stderr, failed
    os.unlink(embedded.binary)
    failed = embedded.ctl("upgrade", "--wait")
    assert failed.returncode == 1 and "cannot be executed" in failed.stderr, failed
    now = tree(embedded)
    assert now["pid"] == before["pid"] and pids(now) == pids(before)
    assert embedded.client().get("/health/readiness").status_code == 200
    assert "the last upgrade failed" in embedded.ctl("status").stdout


def test_in_place_a_file_spoilt_meanwhile_ends_nobody(embedded, folder):
    """Once its check has read the file, another one is there: both programs would read that."""
    config = os.path.join(folder, "later.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write("log: { level = \"info\"; };\n")
    embedded.master.end(signal.SIGTERM, seconds=40)
    embedded.start("--set", "server.keepalive=2s", "--config", config)
    before = tree(embedded)
    install(embedded.binary + ".real")
    script(embedded.binary, f'{embedded.binary}.real "$@" || exit; touch {folder}/read; sleep 2\n')
    assert embedded.ctl("upgrade").returncode == 0
    wait_until(lambda: os.path.exists(f"{folder}/read"), 20, "its check has read the file")
    with open(config, "w", encoding="utf-8") as file:
        file.write("log: { levvel = \"info\"; };\n")
    refused = embedded.ctl("reload", "--wait")
    assert refused.returncode == 1 and "log.levvel" in refused.stderr, refused
    wait_until(lambda: "log.levvel" in tree(embedded)["upgrade"].get("failure", ""), 20, "the upgrade is given up")
    now = tree(embedded)
    assert now["pid"] == before["pid"] and pids(now) == pids(before)
    assert embedded.client().get("/health/readiness").status_code == 200


def test_in_place_a_program_that_does_not_get_to_serve_gives_way_to_the_former(embedded):
    client = embedded.client().sign_up()
    before = tree(embedded)
    ledger = Ledger(embedded.port, client.token, connections=8, streams=1)
    try:
        # Its last migration has another name: it is not there yet, and fails since it is.
        install(embedded.binary, NEW, patches=[(b"0004_one_page", b"0005_one_page")])
        failed = embedded.ctl("upgrade", "--wait")
        assert failed.returncode == 1 and "the upgrade failed" in failed.stderr, failed
        now = tree(embedded)
        assert now["version"] == version() and now["pid"] == before["pid"]
        assert [s["pid"] for s in now["services"]] == [s["pid"] for s in before["services"]]
        assert "back to the former one" in embedded.log_text()
    finally:
        ledger.stop()
    print(ledger)
    ledger.check()
    install(embedded.binary, NEW)
    done = embedded.ctl("upgrade", "--wait")
    assert done.returncode == 0 and f"forkmark {NEW} serves" in done.stdout, done
