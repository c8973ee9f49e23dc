"""Commands as job functions: what Python enqueues, a program of any kind answers."""

import json
import os
import pwd
import signal
import subprocess
import time

import pytest

from services import Process, unprivileged, wait_until
from stack import BINARY

rq = pytest.importorskip("rq")
from rq import Queue, Retry  # noqa: E402
from rq.command import send_kill_horse_command, send_stop_job_command  # noqa: E402
from rq.job import Job  # noqa: E402
from rq.registry import FailedJobRegistry, StartedJobRegistry  # noqa: E402
from rq.serializers import JSONSerializer  # noqa: E402

END = ("finished", "failed", "stopped", "canceled")
# Waits of a machine that has other things to do.
LONG = 30

# label -> (command, further fields), as they stand in the file
FUNCTIONS = {
    "cat": ('[ "/bin/cat" ]', ""),
    "fail": ('[ "/bin/sh", "-c", "echo first >&2; echo second line >&2; exit 3" ]', ""),
    "crash": ('[ "/bin/sh", "-c", "kill -SEGV $$" ]', ""),
    "flood": ('[ "yes" ]', 'output_limit = "64K";'),
    "hang": ('[ "sleep", "1000" ]', "timeout = 1;"),
    "nothing": ('[ "/bin/true" ]', ""),
    "text": ('[ "echo", "plain words" ]', ""),
    "halves": ('[ "printf", "{1:" ]', ""),
    "noise": ('[ "/bin/sh", "-c", "seq 1 200000 >&2; echo 7" ]', ""),
    "deaf": ('[ "/bin/sh", "-c", "exec <&-; sleep 0.3; echo 8" ]', ""),
    "missing": ('[ "/no/such/program" ]', ""),
    "plain": ('[ "/etc/passwd" ]', ""),
    "nowhere": ('[ "/bin/cat" ]', 'cwd = "/no/such/folder";'),
    "place": ('[ "/bin/sh", "-c", "printf \'\\"%s\\"\' \\"$(pwd)\\"" ]', 'cwd = "/usr/lib";'),
    "spec": ('[ "/bin/cat" ]', 'args = "int width, text? url";'),
    "binary": ('[ "/bin/sh", "-c", "printf \'\\\\377\\\\000bad\' >&2; exit 1" ]', ""),
}


def script(stack_folder, name, text):
    path = os.path.join(stack_folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


def functions(entries):
    """The group of the configuration file; RQ's names are team.<label>."""
    return "functions: { " + " ".join(
        f'{label}: {{ name = "team.{label}"; command = {command}; {fields} }};'
        for label, (command, fields) in entries.items()) + " };"


def ended(job, seconds=LONG):
    wait_until(lambda: job.get_status() in END, seconds, f"{job.func_name} ends ({job.get_status()})")
    return Job.fetch(job.id, connection=job.connection, serializer=job.serializer)


def value(job, seconds=LONG):
    job = ended(job, seconds)
    assert job.get_status() == "finished", job.latest_result().exc_string
    return job.return_value() if callable(getattr(job, "return_value", None)) else job.result


def why(job, seconds=LONG):
    """A failed job's reason: all of it, and its last line."""
    job = ended(job, seconds)
    assert job.get_status() == "failed", job.get_status()
    text = job.latest_result().exc_string
    return text, text.rstrip("\n").split("\n")[-1]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def read_pid(path):
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except OSError:
        return None
    return int(text) if text.endswith("\n") else None


def pid_in(path, seconds=LONG):
    return wait_until(lambda: read_pid(path), seconds, f"somebody writes {path}")


def all_gone(*pids):
    wait_until(lambda: not any(map(is_alive, pids)), 10, f"{pids} are gone")


class Family:
    """A command that ignores SIGTERM, with a child in its group and one in no group of it."""

    def __init__(self, folder):
        self.folder = folder
        self.path = script(folder, "family", f"""#!/bin/sh
trap '' TERM
echo $$ >{folder}/parent
sh -c 'echo $$ >{folder}/child; while :; do sleep 1; done' &
setsid sh -c 'trap "" TERM; echo $$ >{folder}/escaped; while :; do sleep 1; done' &
while :; do sleep 1; done
""")

    def pids(self):
        return [pid_in(os.path.join(self.folder, name)) for name in ("parent", "child", "escaped")]

    def forget(self):
        for name in ("parent", "child", "escaped"):
            os.unlink(os.path.join(self.folder, name))


@pytest.fixture
def scratch(folder):
    """A folder that commands may write into, whoever they run as."""
    path = os.path.join(folder, "scratch")
    os.mkdir(path)
    os.chmod(path, 0o777)
    return path


@pytest.fixture
def make_exec(make_stack):
    def make(entries, jobs="", **options):
        stack = make_stack(jobs=f"heartbeat = 1; {jobs} " + functions(entries), **options)
        return stack, Queue("default", connection=stack.redis)
    return make


def test_a_thousand_cats_return_their_argument(make_exec):
    stack, queue = make_exec({"cat": FUNCTIONS["cat"]}, consumers=2)
    begin = time.monotonic()
    jobs = [queue.enqueue("team.cat", {"number": number}, key="café", meta={"m": number},
                          result_ttl=600) for number in range(1000)]
    wait_until(lambda: queue.count == 0 and not StartedJobRegistry(queue=queue).count, 300, "all ran")
    seconds = time.monotonic() - begin
    for number, job in enumerate(jobs):
        assert value(job) == {"id": job.id, "args": [{"number": number}],
                              "kwargs": {"key": "café"}, "meta": {"m": number}}
    print(f"1000 jobs of /bin/cat by 2 consumers: {seconds:.1f} s")
    assert FailedJobRegistry(queue=queue).count == 0
    assert "WARN" not in stack.log_text()


def test_what_becomes_of_a_command_is_told(make_exec):
    _, queue = make_exec(FUNCTIONS)
    text, last = why(queue.enqueue("team.fail"))
    assert last == "CommandError: exit status 3: second line"
    assert "first\nsecond line\n" in text and "/bin/sh" in text
    assert why(queue.enqueue("team.crash"))[1] == \
        "CommandError: killed by signal 11 (Segmentation fault)"
    text, last = why(queue.enqueue("team.flood"))
    assert last == "CommandError: wrote more than 65536 bytes to its standard output (output_limit)"
    assert "it ended at SIGTERM" in text
    text, last = why(queue.enqueue("team.hang"))
    assert last == ("rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value "
                    "(1 seconds)")
    assert value(queue.enqueue("team.nothing")) is None
    assert why(queue.enqueue("team.text"))[1].endswith("it begins: plain words")
    assert "no JSON" in why(queue.enqueue("team.halves"))[1]
    assert value(queue.enqueue("team.noise")) == 7
    assert value(queue.enqueue("team.deaf", "x" * 1000000)) == 8
    assert why(queue.enqueue("team.missing"))[1] == \
        "CommandError: cannot run /no/such/program: No such file or directory"
    assert why(queue.enqueue("team.plain"))[1] == \
        "CommandError: cannot run /etc/passwd: Permission denied"
    assert why(queue.enqueue("team.nowhere"))[1] == \
        "CommandError: cannot run in /no/such/folder: No such file or directory"
    assert value(queue.enqueue("team.place")) == "/usr/lib"
    assert value(queue.enqueue("team.spec", 3, url="u"))["args"] == [3]
    assert why(queue.enqueue("team.spec", "3"))[1] == \
        "TypeError: team.spec() wants the argument 'width' as int, not str"
    assert "\ufffdbad" in why(queue.enqueue("team.binary"))[0]
    assert why(queue.enqueue("team.unknown"))[1] == \
        "ValueError: Invalid attribute name: team.unknown"


def test_arguments_that_json_has_no_word_for(make_exec):
    """As README says."""
    _, queue = make_exec({"cat": FUNCTIONS["cat"]})
    given = [b"\x00\xff", (1, 2), {3}, 2 ** 70, 1.5, None, True, {4: "int"}]
    assert value(queue.enqueue("team.cat", *given))["args"] == \
        ["AP8=", [1, 2], [3], 2 ** 70, 1.5, None, True, {"4": "int"}]


def test_a_json_queue_gets_json_back(make_exec):
    stack, _ = make_exec({"cat": FUNCTIONS["cat"]})
    queue = Queue("default", connection=stack.redis, serializer=JSONSerializer)
    job = queue.enqueue("team.cat", {"a": [1, "b"]}, meta={"from": "json"})
    answer = value(job)
    assert answer["args"] == [{"a": [1, "b"]}] and answer["meta"] == {"from": "json"}


def test_a_command_has_no_secrets_of_the_server(make_exec, make_stack):
    stack = make_stack(start=False, jobs=functions({"env": (
        '[ "/bin/sh", "-c", "env | sed \'s/.*/\\"&\\",/; 1s/^/[/; $s/,$/]/\'" ]',
        'environment = [ "TOKEN=${TEAM_TOKEN}", "KEPT" ];')}))
    stack.environ = {"SECRET_KEY": "hidden-1", "TEAM_TOKEN": "for-the-team", "KEPT": "kept",
                     "OTHER": "hidden-2"}
    stack.start()
    queue = Queue("default", connection=stack.redis)
    job = queue.enqueue("team.env")
    seen = dict(line.split("=", 1) for line in value(job))
    assert seen["TOKEN"] == "for-the-team" and seen["KEPT"] == "kept"
    assert seen["FORKMARK_JOB_ID"] == job.id and seen["FORKMARK_JOB_FUNCTION"] == "team.env"
    [consumer] = stack.children("consumer")
    assert seen["USER"] == pwd.getpwuid(os.stat(f"/proc/{consumer}").st_uid).pw_name
    assert "PATH" in seen
    assert not any("hidden" in text for text in seen.values())
    shown = subprocess.run([BINARY, "ctl", "--socket", os.path.join(stack.folder, "control"),
                            "show", "config"], capture_output=True, text=True, timeout=60,
                           check=False).stdout
    assert "TOKEN=(set)" in shown and "for-the-team" not in shown


def test_a_stopped_job_leaves_no_process(make_exec, scratch):
    family = Family(scratch)
    stack, queue = make_exec({"family": (f'[ "{family.path}" ]', 'kill_after = "300ms";'),
                              "cat": FUNCTIONS["cat"]}, consumers=1)
    job = queue.enqueue("team.family", retry=Retry(max=2))
    pids = family.pids()
    send_stop_job_command(queue.connection, job.id)
    assert ended(job).get_status() == "stopped"
    # When the job has ended, so has all of it.
    assert not any(map(is_alive, pids))
    text = job.latest_result().exc_string
    assert "it ignored SIGTERM and was killed" in text
    assert text.rstrip().endswith("Job stopped by user, work-horse terminated.")
    family.forget()

    # kill-horse is a failed attempt, which is retried.
    job = queue.enqueue("team.family", retry=Retry(max=1))
    pids = family.pids()
    worker = queue.connection.hget("rq:job:" + job.id, "worker_name").decode()
    family.forget()
    send_kill_horse_command(queue.connection, worker)
    again = family.pids()
    assert not any(map(is_alive, pids)) and all(map(is_alive, again))
    send_kill_horse_command(queue.connection, worker)
    text, last = why(job)
    assert last.startswith("Work-horse terminated unexpectedly") and not any(map(is_alive, again))
    assert value(queue.enqueue("team.cat", 1))["args"] == [1]
    assert len(stack.children("consumer")) == 1 and "died" not in stack.log_text()


def test_the_jobs_own_time_limit(make_exec, scratch):
    family = Family(scratch)
    _, queue = make_exec({"family": (f'[ "{family.path}" ]', 'kill_after = "200ms";')})
    job = queue.enqueue("team.family", job_timeout=2)
    pids = family.pids()
    text, last = why(job)
    assert last == ("rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value "
                    "(2 seconds)")
    assert "it ignored SIGTERM and was killed" in text
    assert not any(map(is_alive, pids))


def test_a_killed_consumer_leaves_no_process_and_its_job_runs_again(make_exec, scratch):
    family = Family(scratch)
    stack, queue = make_exec({"family": (f'[ "{family.path}" ]', 'kill_after = 0;')}, consumers=1)
    job = queue.enqueue("team.family")
    pids = family.pids()
    family.forget()
    [consumer] = stack.children("consumer")
    os.kill(consumer, signal.SIGKILL)
    again = family.pids()
    all_gone(*pids)
    assert all(map(is_alive, again)) and job.get_status() == "started"
    # The keeper is no consumer: whoever kills the whole group gets both.
    send_stop_job_command(queue.connection, job.id)
    assert ended(job).get_status() == "stopped"
    assert not any(map(is_alive, again))


def test_a_killed_master_leaves_no_process(make_exec, scratch):
    family = Family(scratch)
    stack, queue = make_exec({"family": (f'[ "{family.path}" ]', "")})
    queue.enqueue("team.family")
    pids = family.pids()
    stack.master.signal(signal.SIGKILL)
    stack.master.wait()
    all_gone(*pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_puts_the_job_back_and_leaves_no_process(make_exec, scratch, number):
    family = Family(scratch)
    stack, queue = make_exec({"family": (f'[ "{family.path}" ]', "kill_after = 30;")},
                             server="graceful_timeout = 4;")
    job = queue.enqueue("team.family")
    pids = family.pids()
    assert stack.stop(number) == 0
    assert not any(map(is_alive, pids))
    assert job.get_status() == "queued" and queue.job_ids == [job.id]
    assert StartedJobRegistry(queue=queue).count == 0
    assert "killed" not in "".join(line for line in stack.log_text().splitlines(True)
                                   if "did not end in time" in line)


def test_heartbeats_go_on_beside_a_command(make_exec):
    _, queue = make_exec({"long": ('[ "/bin/sh", "-c", "yes >&2 & sleep 5; echo 1" ]', "")})
    job = queue.enqueue("team.long")
    registry = StartedJobRegistry(queue=queue)
    wait_until(lambda: job.get_status() == "started", LONG, "it runs")
    first = queue.connection.zscore(registry.key, job.id)
    beat = queue.connection.hget("rq:job:" + job.id, "last_heartbeat")
    wait_until(lambda: (queue.connection.zscore(registry.key, job.id) or 0) > first, LONG,
               "its deadline moves")
    assert queue.connection.hget("rq:job:" + job.id, "last_heartbeat") > beat
    assert value(job) == 1


def test_a_job_deleted_meanwhile_is_dropped(make_exec, scratch):
    path = os.path.join(scratch, "go")
    stack, queue = make_exec({
        "wait": (f'[ "/bin/sh", "-c", "while ! test -e {path}; do sleep 0.05; done; echo 1" ]', ""),
        "cat": FUNCTIONS["cat"]}, consumers=1)
    job = queue.enqueue("team.wait")
    wait_until(lambda: job.get_status() == "started", LONG, "it runs")
    job.delete()
    open(path, "w", encoding="ascii").close()
    assert value(queue.enqueue("team.cat", 2))["args"] == [2]
    assert not queue.connection.exists("rq:job:" + job.id)
    assert not queue.connection.exists("rq:results:" + job.id)
    assert StartedJobRegistry(queue=queue).count == 0
    assert "somebody else has decided" in stack.log_text()


def test_a_failing_command_is_retried(make_exec, scratch):
    path = os.path.join(scratch, "count")
    _, queue = make_exec({"third": (
        f'[ "/bin/sh", "-c", "echo >>{path}; test $(wc -l <{path}) = 3 && echo 3" ]', "")})
    job = queue.enqueue("team.third", retry=Retry(max=3))
    assert value(job) == 3
    assert Job.fetch(job.id, connection=job.connection).retries_left == 1


def test_aliases_and_the_command_line(make_exec):
    stack, queue = make_exec({"cat": ('[ "cat" ]', """aliases = [ "old.name" ]; timeout = "50s";
                                      retries = 2; retry_intervals = [ "10s", "1m" ];""")})
    assert value(queue.enqueue("old.name", 1))["args"] == [1]
    done = subprocess.run([BINARY, "jobs", "--config", stack.config, "enqueue", "team.cat", "[2]"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "note:" not in done.stderr, done.stderr
    job = Job.fetch(done.stdout.split(":")[0], connection=queue.connection)
    assert value(job)["args"] == [[2]] and job.timeout == 50
    assert job.retries_left == 2 and job.retry_intervals == [10, 60]


# ---- configuration ----

def check(stack):
    return subprocess.run([BINARY, "check", "--config", stack.config], capture_output=True,
                          text=True, timeout=60, check=False)


def test_check_finds_what_cannot_run(make_stack, folder):
    stack = make_stack(start=False, jobs=functions({
        "cat": FUNCTIONS["cat"], "byname": ('[ "cat" ]', ""),
        "missing": FUNCTIONS["missing"], "plain": FUNCTIONS["plain"],
        "nowhere": FUNCTIONS["nowhere"], "folder": (f'[ "{folder}" ]', ""),
        "unknown": ('[ "no-such-program-anywhere" ]', "")}))
    stack.write_config()
    done = check(stack)
    assert done.returncode == 1 and done.stdout == ""
    found = [line.split(": ", 1)[1] for line in done.stderr.splitlines()]
    assert found == [
        "`jobs.functions.missing.command`: /no/such/program: No such file or directory",
        "`jobs.functions.plain.command`: /etc/passwd: it is not executable",
        "`jobs.functions.nowhere.cwd`: /no/such/folder: No such file or directory",
        f"`jobs.functions.folder.command`: {folder}: it is no file",
        "`jobs.functions.unknown.command`: no-such-program-anywhere: no such program in PATH"]
    assert all(line.startswith(stack.config + ":") for line in done.stderr.splitlines())
    # The server says so and does the rest of its work.
    stack.start()
    assert "/no/such/program: No such file or directory" in stack.log_text()
    assert stack.client().get("/health/liveness").status_code == 200
    stack.write_config(jobs=functions({"cat": FUNCTIONS["cat"]}))
    assert check(stack).stdout == "ok\n"
    stack.write_config(jobs='functions: { cat: { comand = "/bin/cat"; }; };')
    done = check(stack)
    assert done.returncode == 1
    assert "`jobs.functions.cat.comand` is unknown; a function has `name`, " in done.stderr


def test_a_reload_changes_functions(make_exec):
    stack, queue = make_exec({"answer": ('[ "echo", "1" ]', "")})
    assert value(queue.enqueue("team.answer")) == 1
    consumers, workers = set(stack.children("consumer")), set(stack.children("worker"))
    stack.write_config(jobs="heartbeat = 1; " + functions({"answer": ('[ "echo", "2" ]', "")}))
    done = stack.ctl("reload")
    assert done.returncode == 0 and "jobs.functions: others" in done.stdout
    wait_until(lambda: not consumers & set(stack.children("consumer")), LONG, "consumers are new")
    assert value(queue.enqueue("team.answer")) == 2
    assert set(stack.children("worker")) == workers
    assert '"echo", "2"' in stack.ctl("show", "config").stdout
    assert "nothing changed" in stack.ctl("reload").stdout


# ---- pools with a user of their own ----

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")
POOLS = 'pools: {{ default: {{ consumers = 1; }}; other: {{ queues = "other"; {} }}; }}; '
ID = '[ "/bin/sh", "-c", "echo [\\"$(id -un)\\",\\"$(id -gn)\\",\\"$HOME\\",\\"$USER\\"] | ' \
     'sed \'s/[^],[]\\\\+/\\"&\\"/g\'" ]'


def with_pool(stack, fields, jobs=""):
    """The configuration with one more pool, since the harness names its own."""
    stack.write_config()
    with open(stack.config, encoding="utf-8") as file:
        text = file.read()
    with open(stack.config, "w", encoding="utf-8") as file:
        file.write(text[:text.index("jobs:")] + "jobs: {\n" + POOLS.format(fields) + jobs + " };\n")


@root_only
def test_a_pool_runs_as_a_user_of_its_own(make_stack, folder):
    stack = make_stack()
    names = functions({"id": (ID, "")})
    with_pool(stack, 'user = "daemon"; group = "mail";', names)
    assert stack.ctl("reload").returncode == 0
    wait_until(lambda: stack.children("consumer other"), LONG, "the pool is there")
    queue = Queue("other", connection=stack.redis)
    daemon = pwd.getpwnam("daemon")
    assert value(queue.enqueue("team.id")) == ["daemon", "mail", daemon.pw_dir, "daemon"]
    [consumer] = stack.children("consumer other")
    assert os.stat(f"/proc/{consumer}").st_uid == daemon.pw_uid
    with open(f"/proc/{consumer}/status", encoding="ascii") as status:
        assert f"Uid:\t{daemon.pw_uid}\t{daemon.pw_uid}\t{daemon.pw_uid}" in status.read()

    # Another user needs new consumers, and only there.
    others = set(stack.children("consumer default"))
    with_pool(stack, 'user = "games";', names)
    assert stack.ctl("reload").returncode == 0
    wait_until(lambda: {consumer} & set(stack.children()) == set(), LONG, "it is replaced")
    assert value(queue.enqueue("team.id"))[0] == "games"
    assert set(stack.children("consumer default")) == others

    # One that is not there changes nothing, and says where it stands.
    with_pool(stack, '\n user = "no-such-user";', names)
    done = stack.ctl("reload")
    assert done.returncode == 1
    assert f"{stack.config}:" in done.stdout + done.stderr
    assert "`jobs.pools.other.user`: there is no user `no-such-user`" in done.stdout + done.stderr
    assert "no-such-user" in check(stack).stderr
    assert value(queue.enqueue("team.id"))[0] == "games"
    with_pool(stack, '\n group = "no-such-group";', names)
    assert "there is no group `no-such-group`" in check(stack).stderr


def test_only_root_can_give_a_pool_a_user(make_stack):
    """The tests' own user may be root: then the server is started as another one."""
    stack = make_stack(start=False)
    with_pool(stack, '\n user = "daemon";')
    os.chmod(stack.config, 0o644)
    log = os.path.join(stack.folder, "refused.log")
    server = Process(unprivileged([BINARY, "serve", "--config", stack.config]), log, cwd="/")
    assert server.wait(LONG) == 1
    assert "`jobs.pools.other.user`: only a server started as root can run a pool as `daemon`" \
        in server.log_text()
    assert f"{stack.config}:" in server.log_text()
