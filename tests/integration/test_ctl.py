"""`forkmark ctl`: what an operator sees, may do, and is refused."""

import json
import os
import pty
import pwd
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import termios
import threading
import time
import fcntl

import pytest

from services import unprivileged, wait_until
from stack import BINARY


def status(stack):
    answer = stack.ctl_at("--json", "status")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def pool(stack, name="web"):
    return next(row for row in status(stack)["pools"] if row["name"] == name)


def events(stack):
    return json.loads(stack.ctl_at("show", "events", "--json").stdout)


def wait_for_event(stack, kind, pattern, seconds=20):
    def find():
        found = [row["text"] for row in events(stack) if row["kind"] == kind]
        return [text for text in found if re.search(pattern, text)]
    return wait_until(find, seconds, f"a {kind} event like {pattern}")


class Waiting:
    """A request that takes its time; `answer` when it is there, or `error`."""

    def __init__(self, stack, ms, name):
        self.answer = self.error = None
        client = stack.client()
        self.thread = threading.Thread(target=self.ask, args=(client, ms, name), daemon=True)
        self.thread.start()
        wait_until(lambda: name in stack.ctl("status").stdout, 10, "it is under way")

    def ask(self, client, ms, name):
        try:
            self.answer = client.get("/test/wait", params={"how": "sleep", "ms": ms},
                                     headers={"X-Request-ID": name})
        except OSError as error:
            self.error = error

    def wait(self):
        self.thread.join(40)
        return self.answer


def worker_of(stack, name):
    """The pid of the worker that has this request."""
    return next(child["pid"] for child in pool(stack)["children"]
                if child.get("doing", {}).get("id") == name)


# ---- to look at ----


def test_status_says_of_each_process_what_it_is_at(make_stack):
    stack = make_stack(workers=2, consumers=1, jobs="test_functions = true;")
    request = Waiting(stack, 3000, "slow-one")
    rows = {child["pid"]: child for row in status(stack)["pools"] for child in row["children"]}
    assert set(rows) == set(stack.children())
    for child in rows.values():
        assert child["state"] == "ready" and child["memory"] > 1000000 and child["age"] < 60
        assert 0 <= child["busy"] <= 1 and child["per_second"] >= 0
    busy = rows[worker_of(stack, "slow-one")]
    assert busy["connections"] == 1 and busy["doing"]["what"] == "/test/wait", busy
    text = stack.ctl("status").stdout
    assert re.search(r"├─ worker \d +pid \d+ +ready +\d+s +\d+\.\d MB +busy +\d+ % +\d+\.\d/s", text), text
    assert "/test/wait [slow-one] for " in text and text.count("└─") >= 3
    assert re.search(r"├─ redis \(queue and cache\) /\S+: up\n", text), text
    assert request.wait().status_code == 200


def test_requests_a_second_and_the_busy_share_follow_the_load(make_stack):
    stack = make_stack(workers=1)
    client = stack.client()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert client.get("/health/liveness").status_code == 200
    child = pool(stack)["children"][0]
    assert child["per_second"] > 1 and child["busy"] > 0.005, child


def test_watch_into_a_pipe_is_plain_text_until_it_is_interrupted(stack):
    with subprocess.Popen([BINARY, "ctl", "--config", stack.config, "status", "--watch", "200ms"],
                          stdout=subprocess.PIPE, text=True) as watching:
        lines = [watching.stdout.readline() for _ in range(20)]
        watching.send_signal(signal.SIGINT)
        rest = watching.stdout.read()
        assert watching.wait(10) == 0
    text = "".join(lines) + rest
    assert "\x1b" not in text
    assert text.count("PROCESS ") >= 2 and text.count("\nworker 1 ") >= 2
    assert text.count("\nprimary ") >= 2, text


def test_watch_as_json_is_one_line_each_time(stack):
    with subprocess.Popen([BINARY, "ctl", "--config", stack.config, "--json", "status", "--watch", "0.2"],
                          stdout=subprocess.PIPE, text=True) as watching:
        rows = [json.loads(watching.stdout.readline()) for _ in range(3)]
        watching.send_signal(signal.SIGTERM)
        watching.stdout.read()
        assert watching.wait(10) == 0
    assert all(row["pid"] == stack.master.pid for row in rows)


def test_watch_on_a_terminal_is_drawn_anew_and_cut_to_its_size(stack):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 7, 40, 0, 0))
    # A session of its own with this terminal: Ctrl-C is a byte written to it.
    watching = subprocess.Popen(
        [BINARY, "ctl", "--config", stack.config, "status", "--watch", "0.2"], stdin=theirs,
        stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0))
    os.close(theirs)
    seen = ""
    deadline = time.monotonic() + 20
    while seen.count("\x1b[H") < 4 and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.5)[0]:
            seen += os.read(ours, 65536).decode()
    os.write(ours, b"\x03")
    assert watching.wait(10) == 0
    os.close(ours)
    assert seen.startswith("\x1b[2J\x1b[H") and "PROCESS" in seen
    for screen in seen.split("\x1b[H")[1:4]:
        lines = screen.split("\x1b[J")[0].split("\r\n")
        assert len(lines) <= 7 and all(len(line.replace("\x1b[K", "")) <= 40 for line in lines), lines


def test_watch_goes_on_over_a_restart_and_needs_a_server_at_first(stack):
    command = [BINARY, "ctl", "--socket", f"{stack.folder}/control", "status", "--watch", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert str(stack.master.pid) in watching.stdout.readline()
        stack.stop()
        while "no server answers" not in watching.stdout.readline():
            pass
        stack.start()
        while f"pid {stack.master.pid}," not in watching.stdout.readline():
            pass
        watching.send_signal(signal.SIGINT)
        watching.stdout.read()
        assert watching.wait(10) == 0
    command[3] += "-of-nobody"
    away = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert away.returncode == 2 and "no server answers" in away.stderr


def test_listeners_and_pools(make_stack):
    stack = make_stack(workers=1)
    shown = stack.ctl("show", "listeners").stdout
    assert re.match(rf"127\.0\.0\.1:{stack.port} +fd \d+ +0 of 1024 wait to be accepted\n", shown), shown
    row = json.loads(stack.ctl("show", "listeners", "--json").stdout)[0]
    assert row["address"] == f"127.0.0.1:{stack.port}" and row["backlog"] == 1024
    # Who cannot be accepted waits where it can be seen.
    os.kill(next(iter(stack.children("worker"))), signal.SIGSTOP)
    clients = [socket.create_connection(("127.0.0.1", stack.port)) for _ in range(3)]
    wait_until(lambda: json.loads(stack.ctl("show", "listeners", "--json").stdout)[0]["waiting"] == 3,
               10, "three wait")
    os.kill(next(iter(stack.children("worker"))), signal.SIGCONT)
    for client in clients:
        client.close()
    assert stack.ctl("show", "pools").stdout == "web\njobs.default\nscheduler\n"


# ---- the history ----


def test_the_history_tells_starts_deaths_kills_and_reloads(make_stack):
    stack = make_stack(workers=1, jobs="test_functions = true;")
    assert wait_for_event(stack, "start", r"worker 1 \(pid \d+\) is ready")
    assert wait_for_event(stack, "master", f"serves at http://127.0.0.1:{stack.port}")
    request = Waiting(stack, 30000, "cut-off")
    victim = worker_of(stack, "cut-off")
    os.kill(victim, signal.SIGKILL)
    assert wait_for_event(stack, "death", rf"worker 1 \(pid {victim}\) died: signal 9 \(Killed\); user \d+\.\d\d s, "
                          r"system .*, \d+\.\d MB at most; at /test/wait \[cut-off\] for ")
    request.wait()
    assert request.error
    stack.write_config(server='request_timeout = "20s";')
    assert stack.ctl("reload", "--wait").returncode == 0
    assert wait_for_event(stack, "reload", r"a reload, asked for by .*\(uid \d+\)")
    assert wait_for_event(stack, "reload", r"taken over: server.request_timeout: 30 -> 20 ")
    assert wait_for_event(stack, "reload", "reloaded: generation 1")
    assert wait_for_event(stack, "end", r"worker 1 \(pid \d+\) ended: replaced by a newer one; user ")
    with open(stack.config, "a", encoding="utf-8") as file:
        file.write("wrong")
    assert stack.ctl_at("reload").returncode == 1
    assert wait_for_event(stack, "reload", "reload failed: .*forkmark.conf:")
    stack.write_config(server="max_rss = 1000000;")
    assert stack.ctl("reload").returncode == 0
    assert wait_for_event(stack, "recycle", r"worker 1 .* more than max_rss")
    text = stack.ctl("show", "events").stdout.splitlines()
    assert all(re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]+ +\S", line) for line in text), text


# ---- counts ----


def test_a_scaled_count_has_an_end_and_says_whose_it_is(make_stack):
    stack = make_stack(workers=1, consumers=1)
    assert stack.ctl("scale", "web", "3", "--for", "6s").stdout == "web: 1 -> 3 for 6s\n"
    wait_until(lambda: len(stack.children("worker")) == 3, 10, "three workers")
    scaled = pool(stack)["scaled"]
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert f"(uid {os.geteuid()})" in scaled["by"] and (os.environ.get("SUDO_USER") or user) in scaled["by"]
    text = stack.ctl("status").stdout
    assert re.search(r"web +3 wanted, \d ready \(1 configured\), scaled by .* until 20\d\d-\S+Z", text), text
    # A reload that replaces everybody changes nothing of it.
    stack.write_config(server='request_timeout = "20s";')
    assert stack.ctl("reload", "--wait").returncode == 0
    assert pool(stack)["scaled"] == scaled
    wait_until(lambda: len(stack.children("worker")) == 1, 20, "the configured count is back")
    assert "scaled" not in pool(stack)
    assert wait_for_event(stack, "scale", r"web: 1 -> 3 by .*\(uid \d+\) for 6s")
    assert wait_for_event(stack, "scale", r"web: 3 -> 1, the time that .*\(uid \d+\) set is over")


def test_without_an_end_it_stays_until_it_is_taken_back(make_stack):
    stack = make_stack(workers=1, consumers=1)
    assert stack.ctl("scale", "jobs.default", "+1").stdout == "default: 1 -> 2\n"
    stack.master.signal(signal.SIGTTIN)
    wait_until(lambda: pool(stack)["wanted"] == 2, 10, "TTIN is taken")
    stack.master.signal(signal.SIGHUP)
    assert wait_for_event(stack, "reload", "by signal HUP") and wait_for_event(stack, "reload", "nothing changed")
    assert pool(stack)["wanted"] == 2 and pool(stack)["scaled"]["by"] == "signal TTIN"
    assert "until" not in pool(stack, "default")["scaled"]
    assert stack.ctl("scale", "jobs.default", "config").stdout == "default: 2 -> 1\n"
    assert stack.ctl("scale", "web", "config").stdout == "web: 2 -> 1\n"
    assert "scaled" not in pool(stack, "default") and "scaled" not in pool(stack)


@pytest.mark.parametrize("words, reason", [
    (("scale", "jobs.nobody", "2"), "there is no pool `jobs.nobody`"),
    (("scale", "web", "many"), "`many` is no count"),
    (("scale", "web", "-9"), "web cannot have -8 processes"),
    (("scale", "scheduler", "2"), "scheduler cannot have 2 processes"),
    (("scale", "web", "1000"), "1000 processes are more than this master has room for"),
    (("scale", "web", "2", "--for", "ever"), "`ever` is no time"),
    (("scale", "web", "config", "--for", "1h"), "holds without --for"),
    (("log-level", "loud"), "`loud` is no level: error, warn, info, debug or config"),
    (("drain", "one"), "`one` is no process id"),
    (("frobnicate",), "unknown command `frobnicate`"),
    (("status", "--watch", "soon"), "write `status`; see forkmark ctl --help"),
    (("scale", "web"), "write `scale <pool> <count>` or `scale <pool> <count> --for <time>`; see"),
    (("restart",), "write `restart --rolling` or `restart --rolling --wait`; see"),
    (("sh",), "unknown command `sh`"),
])
def test_what_makes_no_sense_is_refused(module_stack, words, reason):
    answer = module_stack.ctl(*words)
    assert answer.returncode == 1 and answer.stdout == ""
    assert reason in answer.stderr


@pytest.fixture(scope="module")
def module_stack(session_folder, postgres, template):
    """One that nobody harms, for questions that change nothing."""
    from services import Redis
    from stack import Stack
    folder = os.path.join(session_folder, "ctl")
    os.makedirs(folder)
    server = Redis(os.path.join(folder, "redis"))
    stack = Stack(folder, postgres, server, template, workers=1).start()
    yield stack
    stack.stop()
    server.stop()


# ---- single processes ----


def test_a_drained_worker_finishes_while_another_takes_its_place(make_stack):
    stack = make_stack(workers=1, jobs="test_functions = true;")
    request = Waiting(stack, 2000, "to-the-end")
    old = worker_of(stack, "to-the-end")
    answer = stack.ctl("drain", str(old))
    assert answer.returncode == 0 and f"(pid {old}) drains; another one" in answer.stdout
    wait_until(lambda: set(stack.children("worker")) - {old}, 10, "another one")
    assert "drains already" in stack.ctl("drain", str(old)).stderr
    assert request.wait().status_code == 200
    wait_until(lambda: old not in stack.children(), 20, "it has ended")
    assert wait_for_event(stack, "end", rf"\(pid {old}\) ended: drained by an operator; user ")
    assert status(stack)["restarts"] == 0


def test_a_killed_consumer_leaves_its_stack_and_is_replaced(make_stack):
    stack = make_stack(workers=1, consumers=1)
    victim = next(iter(stack.children("consumer")))
    assert f"(pid {victim}) is killed" in stack.ctl("kill", str(victim)).stdout
    wait_until(lambda: set(stack.children("consumer")) - {victim}, 10, "another one")
    assert wait_for_event(stack, "kill", rf"consumer default 1 \(pid {victim}\) is killed: by .*\(uid ")
    assert re.search(r"consumer default 1: #\d+ .*task_run_loop", stack.log_text())


def test_nobody_elses_process_is_touched(make_stack):
    stack = make_stack(workers=1)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        for command in ("kill", "drain"):
            for pid, reason in ((stranger.pid, "is no worker, consumer or scheduler of this server"),
                                (stack.master.pid, "is the master"), (1, "is no worker"),
                                (-1, "is no process id"), (0, "is no process id")):
                answer = stack.ctl(command, str(pid))
                assert answer.returncode == 1 and reason in answer.stderr, answer
        assert stranger.poll() is None and stack.master.is_running()
        stranger.kill()


# ---- the log ----


def test_the_logs_level_changes_at_once_in_every_process(make_stack):
    stack = make_stack(workers=1, log='level = "info";')

    def drain_one():
        """A worker's own line at level info: is it written?"""
        old = next(iter(stack.children("worker")))
        lines = stack.log_text().count(" draining: ")
        assert stack.ctl("drain", str(old)).returncode == 0
        wait_until(lambda: old not in stack.children(), 20, "it has ended")
        wait_until(lambda: stack.children("worker"), 10, "another one")
        return stack.log_text().count(" draining: ") - lines

    assert drain_one() == 1
    assert stack.ctl("log-level", "error").stdout == "log level: info -> error, until the next reload\n"
    assert drain_one() == 0
    assert "the log's level is error until the next reload" in stack.ctl("status").stdout
    assert stack.ctl("reload").stdout == "nothing changed\n"
    assert drain_one() == 1
    assert stack.ctl("log-level", "debug").returncode == 0
    assert drain_one() == 1
    assert re.search(r"DEBUG worker \d ", stack.log_text())
    assert stack.ctl("log-level", "config").stdout == "log level: debug -> info\n"
    # The option itself is live, too: nobody is replaced.
    before = stack.children()
    stack.write_config(log='level = "warn";')
    assert "log.level: \"info\" -> \"warn\" (applied)" in stack.ctl("reload", "--wait").stdout
    assert stack.children() == before and drain_one() == 0


# ---- who may ----


def test_a_name_that_is_no_left_over_socket_is_left_alone(make_stack):
    stack = make_stack(start=False, workers=1)
    path = f"{stack.folder}/control"
    with open(path, "w", encoding="ascii") as file:
        file.write("precious")
    stack.start(wait=False)
    assert stack.master.wait(20) == 1
    assert "there is already something else of that name; see server.control" in stack.log_text()
    with open(path, encoding="ascii") as file:
        assert file.read() == "precious"
    os.unlink(path)
    # Somebody listens there, but is too busy to accept anybody.
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(path)
        inode = os.stat(path).st_ino
        stack.start(wait=False)
        assert stack.master.wait(20) == 1
        assert "another forkmark has it" in stack.log_text() and os.stat(path).st_ino == inode
        for client in waiting:
            client.close()
    stack.start()  # nobody does any more


def test_the_socket_is_the_owners_alone(make_stack):
    stack = make_stack(workers=1)
    path = f"{stack.folder}/control"
    info = os.stat(path)
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600
    assert info.st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_stranger_is_refused_even_where_the_mode_would_let_him_in(make_stack):
    stack = make_stack(workers=1)
    path = f"{stack.folder}/control"
    # It may be refused before it has said anything.
    script = ("import contextlib, socket, sys\n"
              "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
              "with contextlib.suppress(BrokenPipeError):\n"
              "    s.sendall(b'{\"words\":[\"stop\"],\"user\":\"root\"}\\n')\n"
              "print(s.recv(4096).decode())\n")
    os.chmod(path, 0o666)
    refused = subprocess.run(unprivileged(["/usr/bin/python3", "-c", script, path]),
                             capture_output=True, text=True, timeout=20, check=False)
    assert '"ok":false' in refused.stdout and "obeys root and its own user alone" in refused.stdout, refused
    assert re.search(rf"the control socket was used by user {pwd.getpwnam('postgres').pw_uid}: refused",
                     stack.log_text())
    assert status(stack)["phase"] == "serving"
    # And ctl believes no socket of somebody else.
    os.chmod(path, 0o600)


def test_rubbish_on_the_socket_harms_nobody(make_stack):
    stack = make_stack(workers=1)

    def send(data):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(f"{stack.folder}/control")
            try:
                client.sendall(data)
                return client.recv(65536)
            except ConnectionError:
                return b""

    for rubbish in (b"\n", b"{}\n", b'{"words":[]}\n', b'{"words":[1]}\n', b'{"words":"status"}\n', b"\0\n",
                    b'{"words":["' + b'","'.join([b"a"] * 99) + b'"]}\n', b"[" * 3000 + b"\n",
                    b'{"words":["scale","web"]}\n', b'{"words":["scale","web","1","--for"]}\n'):
        assert b'"ok":false' in send(rubbish), rubbish
    assert send(b"x" * 10000) == b""
    answer = json.loads(send(b'{"words":["scale","web","2"],"user":"a\\u001b[2J\\nb"}\n'))
    assert answer["ok"]
    assert pool(stack)["scaled"]["by"] == f"a?[2J?b (uid {os.geteuid()})"
    # More at once than are served are told so, not left to wait; and it ends.
    clients = []
    for _ in range(12):
        client = socket.socket(socket.AF_UNIX)
        client.connect(f"{stack.folder}/control")
        client.settimeout(10)
        clients.append(client)
    assert any(b"too many commands at once" in client.recv(200) for client in clients[8:])
    for client in clients:
        client.close()
    wait_until(lambda: stack.ctl("status").returncode == 0, 10, "it answers again")
