"""What forkmark costs while nobody asks it for anything, and how soon it serves.

The whole tree (master, 4 workers, 2 consumers, scheduler) with an external PostgreSQL and
Redis: memory as the sum of PSS, processor time from /proc/PID/schedstat, which counts
nanoseconds, and the time from exec to the first answer of /health/readiness.
"""

import argparse
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/harness"))
os.environ.setdefault("FORKMARK_BIN", os.path.join(ROOT, "build/forkmark"))

from measure import children_of, pss_kb  # noqa: E402
from services import Postgres, Redis, wait_until  # noqa: E402
from stack import BINARY, Stack  # noqa: E402

MOST_PSS_MB, MOST_CPU_PERCENT, MOST_START_MS = 40, 0.2, 100
PROCESSES = 8


def run_ns(pid):
    """Time on a processor of all threads."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def wakeups(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches"):
                    total += int(line.split()[1])
    return total


def title(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")[0].decode()


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/readiness")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def new_stack(bench):
    stack = Stack(tempfile.mkdtemp(dir=bench["folder"]), bench["postgres"], bench["redis"],
                  "migrated", workers=4, consumers=2, log='level = "info"; access = false;')
    return stack


def time_of_start(stack):
    """Milliseconds from exec to the first good answer."""
    begin = time.monotonic()
    stack.start(wait=False)
    end = begin + 20
    while not answers(stack.port):
        assert time.monotonic() < end and stack.master.is_running(), stack.log_text()
        time.sleep(0.0005)
    return (time.monotonic() - begin) * 1000


def measure_idle(stack, seconds):
    pids = [stack.master.pid, *children_of(stack.master.pid)]
    assert len(pids) == PROCESSES, [title(pid) for pid in pids]
    before, begin = {pid: (run_ns(pid), wakeups(pid)) for pid in pids}, time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    print(f"{'process':32} {'PSS MB':>7} {'CPU %':>7} {'wakes/s':>8}")
    pss = cpu = 0.0
    for pid in pids:
        used = (run_ns(pid) - before[pid][0]) / 1e7 / elapsed
        wakes = (wakeups(pid) - before[pid][1]) / elapsed
        held = pss_kb(pid) / 1024
        pss, cpu = pss + held, cpu + used
        print(f"{title(pid):32} {held:7.2f} {used:7.4f} {wakes:8.1f}")
    print(f"{'together':32} {pss:7.2f} {cpu:7.4f}")
    return pss, cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--starts", type=int, default=10)
    arguments = parser.parse_args()
    bench = {"folder": tempfile.mkdtemp(prefix="fm-idle-")}
    os.chmod(bench["folder"], 0o755)
    try:
        bench["postgres"] = Postgres(os.path.join(bench["folder"], "db"))
        bench["redis"] = Redis(os.path.join(bench["folder"], "redis"))
        bench["postgres"].create("migrated")
        subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DATABASE_URL": bench["postgres"].url("migrated")})
        starts = []
        stack = new_stack(bench)
        for _ in range(arguments.starts):
            starts.append(time_of_start(stack))
            wait_until(stack.is_ready, 20, "forkmark is ready")
            stack.stop()
        stack.start()
        time.sleep(3)  # what a start does besides
        pss, cpu = measure_idle(stack, arguments.seconds)
        stack.stop()
        start = statistics.median(starts)
        print(f"start to serving: median {start:.1f} ms, slowest {max(starts):.1f} ms, "
              f"of {len(starts)}")
        short = [f"{name}: {is_:.3f}, wanted at most {most}" for name, is_, most in (
            ("PSS in MB", pss, MOST_PSS_MB), ("CPU in % of a core", cpu, MOST_CPU_PERCENT),
            ("start in ms", start, MOST_START_MS)) if is_ > most]
        print("\n".join(short) if short else "within all three limits")
        return 1 if short else 0
    finally:
        for name in ("redis", "postgres"):
            if name in bench:
                bench[name].stop()
        shutil.rmtree(bench["folder"], ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
