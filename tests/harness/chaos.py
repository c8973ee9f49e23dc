"""Seeded faults against a running tree, and what must be true when they are over."""

import json
import os
import random
import signal
import time

from services import wait_until


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] in "TZX"


def client_ports(pid, port):
    """The clients' ends of the connections to `port` that a stopped process holds."""
    wait_until(lambda: is_stopped(pid), 5, f"process {pid} stands still")
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for _ in range(3):  # a table that changes while it is read may leave some out
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                words = line.split()
                if words[9] in inodes and int(words[1].split(":")[1], 16) == port:
                    found.add(int(words[2].split(":")[1], 16))
    return found


class Chaos:
    """Faults at an even pace; `doomed`: clients' ports of workers that were killed."""

    def __init__(self, stack, seed):
        self.stack, self.random = stack, random.Random(seed)
        self.doomed, self.counts = set(), {}
        self.stopped = {}  # pid -> when it goes on
        self.faults = [self.kill, self.kill, self.stop, self.abort, self.hup, self.ttin,
                       self.ttou, self.scale]

    def victim(self):
        children = sorted(self.stack.children())
        return self.random.choice(children) if children else None

    def end(self, number):
        """Held still first, so that what it has accepted by then is known exactly."""
        pid = self.victim()
        if pid is None or pid in self.stopped:
            return
        try:
            os.kill(pid, signal.SIGSTOP)
            self.doomed |= client_ports(pid, self.stack.port)
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
        except (ProcessLookupError, FileNotFoundError):
            pass

    def kill(self):
        self.end(signal.SIGKILL)

    def abort(self):
        self.end(signal.SIGABRT)

    def stop(self):
        pid = self.victim()
        if pid is not None and len(self.stopped) < 2:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:  # it has ended since it was listed
                return
            self.stopped[pid] = time.monotonic() + self.random.uniform(0.1, 5)

    def hup(self):
        seconds = self.random.randrange(20, 40)
        self.stack.write_config(server=f'request_timeout = "{seconds}s"; {self.server}')
        self.stack.master.signal(signal.SIGHUP)

    def ttin(self):
        self.stack.master.signal(signal.SIGTTIN)

    def ttou(self):
        self.stack.master.signal(signal.SIGTTOU)

    def scale(self):
        pool, most = self.random.choice((("web", 6), ("jobs.default", 4)))
        done = self.stack.ctl_at("scale", pool, str(self.random.randint(1, most)))
        assert done.returncode == 0, done

    def go_on(self, everybody=False):
        for pid, moment in list(self.stopped.items()):
            if everybody or time.monotonic() > moment:
                del self.stopped[pid]
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass

    def run(self, faults, seconds):
        self.server = self.stack.options["server"]
        began = time.monotonic()
        for number in range(faults):
            fault = self.random.choice(self.faults)
            self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
            fault()
            assert self.stack.master.is_running(), self.stack.log_text()[-4000:]
            self.go_on()  # also when faults come late, on a machine with other things to do
            while time.monotonic() < began + seconds * (number + 1) / faults:
                self.go_on()
                time.sleep(0.01)
        self.go_on(everybody=True)

    def status(self):
        answer = self.stack.ctl_at("status", "--json")
        assert answer.returncode == 0, answer
        return json.loads(answer.stdout)

    def is_restored(self):
        return all(pool["ready"] == pool["wanted"] for pool in self.status()["pools"])

    def restored(self, within):
        """How long after the last fault the wanted counts serve."""
        began = time.monotonic()
        wait_until(self.is_restored, within, "the counts are restored")
        return time.monotonic() - began

    def master_descriptors(self):
        """But those that belong to a child each."""
        children = sum(len(pool["children"]) for pool in self.status()["pools"])
        return len(os.listdir(f"/proc/{self.stack.master.pid}/fd")) - children

    def leaks(self):
        """Slots that belong to nobody."""
        status = self.status()
        return status["slots_used"] - sum(len(pool["children"]) for pool in status["pools"])
