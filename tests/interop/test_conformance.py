"""The conformance checker, run from Debian 12's RQ and Debian 13's, finds nothing.

Each run has a Redis, a database and a forkmark of its own, and all go on at once: what
takes their time is mostly waiting.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile

import pytest

import rq_versions
from services import SANITIZER_WORDS, Process, Redis, wait_until
from stack import BINARY, Stack

HERE = os.path.dirname(os.path.abspath(__file__))
CHECKER = os.path.join(HERE, "interop_check.py")
JOBS = "test_functions = true; heartbeat = 2; outbox_age = 1; "
COMMON = ["--queue", "default", "--queue2", "low", "--json-queue", "high", "--scheduler",
          "--monitor-interval", "2", "--timeout", "20", "--both-wip-formats", "--hostile",
          os.path.join(HERE, "fixtures", "hostile.json")]
RUNS = {
    "redelivering": (["--redelivers", "--strict-loss", "--kill-rounds", "3"], ""),
    "at-most-once": ([], "redeliver = false; "),
}
# What a version has not, and what a run is not about, does not apply.
NOT_IN_RQ = {"1.13": {"stuck-intermediate", "repeat", "repeat-interval", "group"}, "2.3.3": set()}
NOT_IN_RUN = {"redelivering": set(), "at-most-once": {"sigkill-loses-nothing"}}
# A process that the checker has started must end at RQ's command. Our master, like RQ's
# own worker pool, fills a consumer's place again instead: that check has a run of its
# own, in which something else than the checker keeps the consumers up.
SUPERVISED = "shutdown-command"


class Run:
    """One checker over one forkmark."""

    def __init__(self, folder, postgres, template, version, kind):
        os.chmod(folder, 0o755)
        self.options, jobs = RUNS[kind]
        self.kind, self.version = kind, version
        self.folder = folder
        self.redis = Redis(os.path.join(folder, "redis"))
        self.stack = Stack(folder, postgres, self.redis, template, consumers=1, workers=1,
                           jobs=JOBS + jobs)
        self.stack.write_config()
        self.pid_file = os.path.join(folder, "pid")
        self.checker = None

    def command(self, *options):
        return [sys.executable, "-W", "ignore", CHECKER, "--redis", self.redis.url(), *COMMON,
                *self.options, *options, "--kill-cmd",
                f"kill -KILL $(cat {shlex.quote(self.pid_file)})"]

    def environment(self):
        return rq_versions.environment(rq_versions.folder_of(self.version))

    def begin(self):
        """The checker starts, kills and stops the process by itself."""
        serve = (f"echo $$ > {shlex.quote(self.pid_file)}; exec {shlex.quote(BINARY)} serve "
                 f"--config {shlex.quote(self.stack.config)}")
        self.checker = Process(
            self.command("--start-cmd", serve, "--consumer-log", os.path.join(self.folder, "log"),
                         "--skip", SUPERVISED),
            os.path.join(self.folder, "checker.log"), env=self.environment())

    def end(self):
        self.checker.wait(900)
        return self.checker.log_text()

    def sanitizers_said(self):
        text = ""
        for name in ("log", "forkmark.log"):
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                text += file.read()
        return [word for word in SANITIZER_WORDS if word in text]

    def supervised(self):
        self.stack.start()
        with open(self.pid_file, "w", encoding="utf-8") as file:
            file.write(str(self.stack.master.pid))
        done = subprocess.run(self.command("--only", SUPERVISED), env=self.environment(),
                              capture_output=True, text=True, timeout=120, check=False)
        return done.stdout + done.stderr

    def stop(self):
        if self.checker:
            self.checker.end(signal.SIGTERM)
        if self.stack.master:
            self.stack.stop()
        self.redis.stop()


@pytest.fixture(scope="module")
def runs(session_folder, postgres, template):
    """All of them, begun; by version and kind."""
    begun = {}
    try:
        for version in rq_versions.RELEASES:
            try:
                rq_versions.folder_of(version)
            except rq_versions.Missing:
                continue
            for kind in RUNS:
                run = Run(tempfile.mkdtemp(dir=session_folder), postgres, template, version, kind)
                begun[version, kind] = run
                run.begin()
        yield begun
    finally:
        for run in begun.values():
            run.stop()


def checks_named(text, word):
    return set(re.findall(rf"^{word} +(\S+)", text, re.M))


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("version", rq_versions.RELEASES)
def test_the_checker_finds_nothing(runs, version, kind):
    try:
        rq_versions.folder_of(version)
    except rq_versions.Missing as reason:
        pytest.skip(f"RQ {version} is not to be had: {reason}")
    run = runs[version, kind]
    text = run.end()
    print(text)
    assert f"RQ {version}" in text
    assert not checks_named(text, "FAIL"), text
    assert checks_named(text, "skip") == NOT_IN_RQ[version] | NOT_IN_RUN[kind] | {SUPERVISED}, text
    assert re.search(r"^\d+ passed, 0 failed$", text, re.M), text
    again = run.supervised()
    print(again)
    assert checks_named(again, "ok") == {SUPERVISED}, again
    wait_until(lambda: len(run.stack.children("consumer")) == 1, 20, "its place is filled again")
    run.stack.stop()
    assert not run.sanitizers_said()
