"""Where the log and the access log go, what stands in them, and that nobody forges a line."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess

import pytest
import requests

from load import Load
from services import Process, wait_until
from stack import BINARY

# One line of each atom, to be told apart.
ATOMS = ("h=%(h)s l=%(l)s u=%(u)s t=%(t)s r=%(r)s m=%(m)s U=%(U)s q=%(q)s H=%(H)s s=%(s)s B=%(B)s b=%(b)s "
         "f=%(f)s a=%(a)s T=%(T)s D=%(D)s M=%(M)s L=%(L)s p=%(p)s in=%({X-Thing}i)s out=%({Content-Type}o)s 100%%")


def quoted(text):
    return text.replace("\\", "\\\\").replace('"', '\\"')


def log_options(**options):
    return "".join(f'{name} = "{quoted(value)}"; ' for name, value in options.items())


def is_serving(stack):
    assert stack.master.is_running(), stack.master.log_text()
    try:
        return requests.get(f"{stack.url}/health/readiness", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def start(stack):
    stack.start(wait=False)
    wait_until(lambda: is_serving(stack), 30, "forkmark serves")
    return stack


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def raw(stack, request):
    """The bytes as they are: no client library lets them through."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


@pytest.fixture
def access_log(folder):
    return os.path.join(folder, "access.log")


def with_format(make_stack, access_log, text, **more):
    stack = make_stack(workers=2, start=False,
                       log='level = "info"; access = true; ' +
                       log_options(access_path=access_log, access_format=text, **more))
    return start(stack)


def wait_for_line(path, part):
    return wait_until(lambda: next((line for line in lines_of(path) if part in line), None), 5, part)


def test_gunicorns_atoms(make_stack, access_log):
    stack = with_format(make_stack, access_log, ATOMS)
    client = stack.client().sign_up()
    answer = client.get("/api/bookmarks?page=1&per_page=2", headers={
        "User-Agent": 'agent "x"', "Referer": "http://from/", "X-Thing": "back\\slash"})
    line = wait_for_line(access_log, "m=GET U=/api/bookmarks ")
    workers = "|".join(str(pid) for pid in stack.children("worker"))
    wanted = (rf'h=127\.0\.0\.1 l=- u={client.user["id"]} '
              r't=\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] '
              r'r=GET /api/bookmarks\?page=1&per_page=2 HTTP/1\.1 m=GET U=/api/bookmarks q=page=1&per_page=2 H=HTTP/1\.1 '
              rf's=200 B={len(answer.content)} b={len(answer.content)} f=http://from/ a=agent \\"x\\" '
              r'T=0 D=(\d+) M=(\d+) L=0\.(\d{6}) '
              rf'p=<(?:{workers})> in=back\\\\slash out=application/json 100%')
    match = re.fullmatch(wanted, line)
    assert match, f"{line}\n{wanted}"
    micros, millis, decimal = (int(group) for group in match.groups())
    assert micros == decimal and micros // 1000 == millis and 0 < micros < 10_000_000


def test_what_is_not_there_is_a_dash(make_stack, access_log):
    stack = with_format(make_stack, access_log, ATOMS)
    raw(stack, b"OPTIONS /api/bookmarks HTTP/1.0\r\nHost: x\r\nOrigin: http://localhost:5173\r\n\r\n")
    line = wait_for_line(access_log, "m=OPTIONS")
    assert " u=- " in line and " q= " in line and " H=HTTP/1.0 " in line and " B=0 b=- f=- a=- " in line
    assert " in=- " in line


def test_no_line_is_forged(make_stack, access_log):
    stack = with_format(make_stack, access_log, "gunicorn")
    raw(stack, b'GET /x" 200 1 "-" "evil\\" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    raw(stack, b'GET /y%0a127.0.0.1 HTTP/1.1\r\nHost: x\r\nUser-Agent: a\\" 200 0 "-" "b\x07\x1b[31m\r\n'
               b'Connection: close\r\n\r\n')
    raw(stack, b'G"T /z HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    wait_for_line(access_log, "/y%0a127.0.0.1 HTTP/1.1")
    pattern = re.compile(r'127\.0\.0\.1 - - \[[^]]+\] "((?:[^"\\]|\\.)*)" \d{3} (?:\d+|-) "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"')
    for line in lines_of(access_log):
        assert pattern.fullmatch(line) and line.isprintable(), line
    line = wait_for_line(access_log, "/y%0a")
    assert pattern.fullmatch(line).group(2) == r'a\\\" 200 0 \"-\" \"b\x07\x1b[31m'


def test_no_secret_is_logged(make_stack, access_log):
    stack = with_format(make_stack, access_log,
                        "%(r)s %(q)s %({Authorization}i)s %({Cookie}i)s %({Set-Cookie}o)s")
    client = stack.client().sign_up()
    for name in ("token", "%74oken", "access_token", "tok%00en"):
        raw(stack, f"GET /api/nothing?a=1&{name}={client.token}&b=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            .encode())
    client.get("/api/bookmarks", cookies={"refresh": "cookie-value"})
    wait_for_line(access_log, "GET /api/bookmarks HTTP/1.1  *** *** -")
    text = "\n".join(lines_of(access_log))
    assert text.count("GET /api/nothing?a=1&") == 4 and text.count("=***&b=2 ") == 8
    assert client.token not in text and "cookie-value" not in text and "POST /api/auth/login HTTP/1.1" in text
    assert "Passw0rd" not in text


def test_json_and_text(make_stack, access_log):
    stack = with_format(make_stack, access_log, "json")
    raw(stack, b'GET /api/"x\\ HTTP/1.1\r\nHost: x\r\nX-Request-ID: my-id\r\nConnection: close\r\n\r\n')
    line = json.loads(wait_for_line(access_log, "my-id"))
    assert (line["method"], line["path"], line["status"], line["client_ip"]) == ("GET", '/api/"x\\', 404, "127.0.0.1")
    assert line["time"].endswith("Z") and line["ms"] >= 0
    # The rest of the log is text as before, and has no access lines.
    assert "ACCESS" not in stack.log_text() and '"event":"request"' not in stack.log_text()


def test_a_wrong_format_is_refused_with_its_line(make_stack):
    stack = make_stack(start=False)
    stack.write_config(log='\n  access_format = "%(h)s %(status)s";')
    done = subprocess.run([BINARY, "check", "--config", stack.config], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"forkmark\.conf:5: .*log\.access_format.*unknown atom %\(status\)s; did you mean %\(s\)s\?",
                     done.stderr), done.stderr
    # A reload refuses it, too, and goes on.
    running = make_stack(workers=1)
    running.write_config(log='access_format = "%(status)s";')
    answer = running.ctl_at("reload", "--wait")
    assert answer.returncode == 1 and "did you mean %(s)s?" in answer.stdout + answer.stderr
    assert running.client().get("/health/liveness").status_code == 200


def test_a_format_changes_with_a_reload(make_stack, access_log):
    stack = with_format(make_stack, access_log, "first %(U)s")
    stack.client().get("/health/liveness")
    wait_for_line(access_log, "first /health/liveness")
    stack.write_config(log='level = "info"; access = true; ' + log_options(access_path=access_log, access_format="second %(U)s"))
    assert stack.ctl_at("reload", "--wait").returncode == 0
    stack.client().get("/health/liveness")
    wait_for_line(access_log, "second /health/liveness")


def open_files(pid):
    found = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_usr1_reopens_both_in_every_process(make_stack, folder, access_log):
    error_log = os.path.join(folder, "error.log")
    stack = with_format(make_stack, access_log, "%(p)s %(U)s", path=error_log)
    wait_until(lambda: any("ready: http" in line for line in lines_of(error_log)), 10, "ready")
    for path in (error_log, access_log):
        os.rename(path, path + ".1")
    stack.master.signal(signal.SIGUSR1)
    wait_until(lambda: os.path.exists(error_log) and os.path.exists(access_log), 10, "new files")
    pids = [stack.master.pid, *stack.children()]

    def all_have_the_new():
        found = [open_files(pid) for pid in pids]
        return all({error_log, access_log} <= files and not {error_log + ".1", access_log + ".1"} & files
                   for files in found)
    wait_until(all_have_the_new, 10, "every process has the new files open")
    size = os.path.getsize(access_log + ".1")
    seen = set()

    def every_worker_has_written():
        stack.client().get("/health/liveness", headers={"Connection": "close"})
        seen.update(re.findall(r"<(\d+)>", "\n".join(lines_of(access_log))))
        return len(seen) == 2
    wait_until(every_worker_has_written, 10, "both workers write to the new file")
    assert os.path.getsize(access_log + ".1") == size


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody gives root up")
def test_rotated_files_are_handed_to_those_who_could_not_open_them(make_stack, folder):
    """A folder that is root's alone, and consumers with a user of their own; under load."""
    shut = os.path.join(folder, "shut")
    os.mkdir(shut, 0o700)
    paths = [os.path.join(shut, name) for name in ("error.log", "access.log")]
    stack = make_stack(workers=2, start=False, pool='user = "daemon";',
                       log='level = "info"; access = true; ' + log_options(path=paths[0], access_path=paths[1]))
    start(stack)
    wait_until(lambda: len(stack.children()) == 4, 20, "everybody is there")
    load = Load(stack.client().sign_up(), connections=4)
    try:
        for number in range(3):
            for path in paths:
                os.rename(path, f"{path}.{number}")
            # One that has just been forked does not hear the signal: it is handed files, too.
            os.kill(min(stack.children("worker")), signal.SIGKILL)
            stack.master.signal(signal.SIGUSR1)

            def all_have_the_new():
                found = [open_files(pid) for pid in (stack.master.pid, *stack.children())]
                return len(found) == 5 and all(set(paths) <= files and not any("log." in name for name in files)
                                               for files in found)
            wait_until(all_have_the_new, 20, "everybody writes to the new files")
    finally:
        load.stop()
    size = os.path.getsize(paths[1])
    stack.client().get("/health/liveness")
    wait_until(lambda: os.path.getsize(paths[1]) > size, 10, "a line more")
    text = "\n".join("\n".join(lines_of(path)) for path in (paths[0], *(f"{paths[0]}.{n}" for n in range(3))))
    assert "cannot reopen" not in text and "Permission denied" not in text


RFC5424 = re.compile(r"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) "
                     r"([!-~]{1,32}) - (.*)", re.S)


def test_syslog_by_udp(make_stack):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        where = f"syslog://127.0.0.1:{daemon.getsockname()[1]}"
        stack = make_stack(workers=1, start=False, log='level = "info"; access = true; access_format = "gunicorn"; ' +
                           log_options(path=where, syslog_facility="local3"))
        start(stack)
        stack.client().get("/api/nothing")
        seen = []
        while not any("/api/nothing" in message for *_, message in seen):
            match = RFC5424.fullmatch(daemon.recv(65536).decode())
            assert match and "\n" not in match.group(7)
            seen.append(match.groups())
    by_message = {message.split()[0]: (int(priority), kind, int(pid)) for priority, _, _, name, pid, kind, message in seen
                  if name == "forkmark"}
    assert by_message["master"] == (19 * 8 + 6, "-", stack.master.pid)
    assert by_message["127.0.0.1"][:2] == (19 * 8 + 6, "access")
    assert by_message["127.0.0.1"][2] in stack.children("worker")


class Journal:
    """A real systemd-journald with /run to itself, in a mount namespace."""

    def __init__(self, folder):
        # It asks for a control group, which a bare tree has not mounted.
        script = ("{ [ -d /sys/fs/cgroup ] || mount -t sysfs sysfs /sys; } && "
                  "{ [ -n \"$(ls /sys/fs/cgroup)\" ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup; } && "
                  "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal /run/log/journal && "
                  "exec /lib/systemd/systemd-journald")
        self.process = Process(["unshare", "--mount", "sh", "-c", script], os.path.join(folder, "journald.log"))
        # In a chroot, too: else its root would be the namespace's.
        self.enter = ["nsenter", "--mount", "--root", f"--target={self.process.pid}"]
        wait_until(self.answers, 10, "journald listens")

    def answers(self):
        assert self.process.is_running(), self.process.log_text()
        return subprocess.run([*self.enter, "test", "-S", "/run/systemd/journal/socket"], check=False).returncode == 0

    def entries(self, *matches):
        done = subprocess.run([*self.enter, "journalctl", "--directory=/run/log/journal", "-o", "json", "--no-pager",
                               *matches], capture_output=True, text=True, check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def find(self, part, *matches):
        return next((entry for entry in self.entries(*matches) if part in str(entry["MESSAGE"])), None)


@pytest.fixture
def journal(folder):
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd-journald"):
        pytest.skip("needs root and the package systemd")
    journal = Journal(folder)
    yield journal
    journal.process.end()


# Standard error as a stream into the journal, and the variable that says so.
AS_A_SERVICE = ["systemd-cat", "sh", "-c",
                'export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec "$@"', "sh"]


@pytest.mark.parametrize("where", ["journal", "-", "syslog:/run/systemd/journal/dev-log"])
def test_a_real_journald(make_stack, journal, where):
    """"-" is run as by systemd: standard error is a stream into the journal."""
    stack = make_stack(workers=1, start=False, log='level = "info"; access = true; access_format = "gunicorn"; ' +
                       log_options(path=where))
    stack.prefix = [*journal.enter, *(AS_A_SERVICE if where == "-" else [])]
    start(stack)
    stack.client().get("/api/nothing", headers={"X-Request-ID": "my-request"})
    access = wait_until(lambda: journal.find("/api/nothing", "SYSLOG_IDENTIFIER=forkmark"), 10, "the access line")
    worker = next(iter(stack.children("worker")))
    assert int(access["_PID"]) == worker and access["PRIORITY"] == "6" and access["SYSLOG_FACILITY"] == "3"
    ready = wait_until(lambda: journal.find("ready: http", "SYSLOG_IDENTIFIER=forkmark"), 10, "the ready line")
    assert int(ready["_PID"]) == stack.master.pid
    if not where.startswith("syslog"):
        assert access["_TRANSPORT"] == "journal"
        assert access["FORKMARK_ID"] == "my-request" and access["FORKMARK_LOG"] == "access"
        assert access["MESSAGE"].startswith("127.0.0.1 - - [") and ready["FORKMARK_PROCESS"] == "master"
    os.kill(worker, signal.SIGKILL)
    died = wait_until(lambda: journal.find("died", "PRIORITY=3"), 10, "the death, as an error")
    assert f"pid {worker}" in died["MESSAGE"]
