"""What bash offers behind `forkmark`: asked of bash itself, with the file that is installed."""

import os
import re
import subprocess

import pytest

from stack import BINARY, ROOT

# Words as bash would split them; the last one is the one being completed.
ASK = r"""
set -u
source "$FILE"
set +u
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_forkmark
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def installed(session_folder):
    folder = os.path.join(session_folder, "completion")
    done = subprocess.run(["sh", os.path.join(ROOT, "config", "install.sh"), "completion"], check=False,
                          env={**os.environ, "DESTDIR": folder}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return os.path.join(folder, "usr/share/bash-completion/completions/forkmark")


@pytest.fixture
def offers(installed):
    def ask(*words):
        done = subprocess.run(["bash", "--norc", "-c", ASK, "bash", BINARY, *words], text=True, timeout=30,
                              env={**os.environ, "FILE": installed}, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        # compopt may complain outside of a completion; nothing else may.
        assert not [line for line in done.stderr.splitlines() if "compopt" not in line], done.stderr
        return done.stdout.split()
    return ask


def test_it_is_registered_for_the_command(installed):
    done = subprocess.run(["bash", "--norc", "-c", f"source {installed}; complete -p forkmark"],
                          capture_output=True, text=True, check=False)
    assert done.stdout == "complete -F _forkmark forkmark\n"


def test_commands_and_options_are_the_programs_own(offers):
    assert offers("") == ["check", "ctl", "jobs", "migrate", "serve", "version"]
    assert offers("c") == ["check", "ctl"]
    assert offers("check", "--s") == ["--services", "--set", "--show"]
    assert "--config" in offers("--c") and "--socket" in offers("ctl", "--s")
    assert "enqueue" in offers("jobs", "") and offers("jobs", "enq") == ["enqueue"]
    assert offers("jobs", "work", "--bu") == ["--burst"]


def test_each_command_of_ctl_is_offered(offers):
    text = subprocess.run([BINARY, "ctl", "--help"], capture_output=True, text=True, check=True).stdout
    block = text[text.index("Commands:"):text.index("Options:")]
    known = set(re.findall(r"^  ([a-z][a-z-]*)", block, re.M))
    assert set(offers("ctl", "")) == known and {"status", "scale", "drain", "log-level"} <= known
    shown = set(re.findall(r"^  show ([a-z]+)", block, re.M))
    assert set(offers("ctl", "show", "")) == shown
    assert offers("ctl", "status", "") == ["--watch"] and offers("ctl", "stop", "") == ["--quick"]
    assert offers("ctl", "log-level", "d") == ["debug"]
    assert offers("ctl", "restart", "") == ["--rolling"] and offers("ctl", "restart", "--rolling", "") == ["--wait"]
    assert offers("ctl", "scale", "web", "4", "") == ["--for"]
    assert offers("ctl", "scale", "web", "4", "--for", "3") == ["30m"]


def test_keys_behind_set(offers):
    assert offers("--set", "server.work") == ["server.workers=", "server.worker_connections="]
    assert offers("serve", "--set", "=", "autoscale.w") == ["autoscale.window=", "autoscale.waiting="]
    assert offers("--set", "server.port", "=", "80") == []  # a value
    assert offers("--set", "server.port", "=", "80", "c") == ["check", "ctl"]
    assert len(offers("--set", "")) > 100


def test_files_behind_config(offers, folder):
    with open(os.path.join(folder, "one.conf"), "w", encoding="ascii"):
        pass
    assert offers("-c", f"{folder}/o") == [f"{folder}/one.conf"]
    assert offers("ctl", "--socket", f"{folder}/o") == [f"{folder}/one.conf"]


def test_pools_and_processes_of_the_server_that_answers(offers, make_stack):
    stack = make_stack(workers=1, consumers=1)
    here = ("ctl", "-c", stack.config)
    assert offers(*here, "scale", "") == ["web", "jobs.default", "scheduler"]
    assert offers("--config", "=", stack.config, "ctl", "scale", "j") == ["jobs.default"]
    assert offers("ctl", "--socket", f"{stack.folder}/control", "scale", "w") == ["web"]
    assert offers(*here, "scale", "jobs.default", "c") == ["config"]
    assert {int(pid) for pid in offers(*here, "drain", "")} == set(stack.children())
    assert {int(pid) for pid in offers(*here, "kill", "")} == set(stack.children())
    stack.stop()
    assert offers(*here, "scale", "") == [] and offers(*here, "kill", "") == []
