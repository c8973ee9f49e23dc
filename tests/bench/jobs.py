"""The job benchmark: alternating runs of RQ's workers and forkmark's consumers.

Everybody waits on a queue of their own in one Redis; a round gives each in turn jobs
that do nothing, and waits for the last. The rate is taken from the jobs' own times, first
start to last end. Everything is on this machine and shares its cores, so only the ratios,
taken within one run, mean something; the processor times say what the servers cost even
when others keep the machine busy.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/harness"))
os.environ.setdefault("FORKMARK_BIN", os.path.join(ROOT, "build/forkmark"))

from measure import cpu_seconds, pss_kb  # noqa: E402
from rq_jobs import fields_of, push_jobs, python_worker, write_jobs  # noqa: E402
from rq_versions import Missing, folder_of  # noqa: E402
from services import Postgres, Process, Redis, wait_until  # noqa: E402
from stack import BINARY, Stack  # noqa: E402

FORKING, SIMPLE, POOL = "rq worker", "RQ SimpleWorker", "rq worker-pool -n 2"
ONE, TWO = "forkmark, 1 consumer", "forkmark, 2 consumers"
# Jobs a second to begin with; later rounds know better.
GUESS = {FORKING: 120, SIMPLE: 300, POOL: 150, ONE: 4000, TWO: 5000}
QUEUES = {FORKING: "bench-fork", SIMPLE: "bench-simple", POOL: "bench-pool", ONE: "bench-one",
          TWO: "bench-two"}
MOST_JOBS = 60000


def seconds_of(stamp):
    """RQ's text form as seconds since 1970."""
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()


class Contestant:
    """One line of the table: its processes, and what was measured of them."""

    def __init__(self, name, pids, process=None):
        self.name, self.queue, self.pids, self.process = name, QUEUES[name], pids, process
        self.guess = GUESS[name]
        self.rates, self.redis_us, self.own_us = {}, {}, {}

    def cpu(self):
        return sum(cpu_seconds(pid, with_children=True) for pid in self.pids())

    def run(self, bench, setting):
        count = min(int(self.guess * bench.seconds), MOST_JOBS)
        ids = write_jobs(bench.redis, self.queue, count)
        own, redis = self.cpu(), cpu_seconds(bench.redis_pid)
        push_jobs(bench.redis, self.queue, ids)
        finished = f"rq:finished:{self.queue}"
        wait_until(lambda: time.sleep(0.1) or bench.redis.zcard(finished) >= count,
                   20 * bench.seconds + 60, f"{self.name}: {count} jobs are done")
        own, redis = self.cpu() - own, cpu_seconds(bench.redis_pid) - redis
        states = fields_of(bench.redis, ids, "status", "started_at", "ended_at")
        assert all(state[0] == "finished" for state in states)
        began = min(seconds_of(state[1]) for state in states)
        ended = max(seconds_of(state[2]) for state in states)
        rate = count / (ended - began)
        self.guess = rate
        self.rates.setdefault(setting, []).append(rate)
        self.redis_us.setdefault(setting, []).append(redis * 1e6 / count)
        self.own_us.setdefault(setting, []).append(own * 1e6 / count)
        bench.forget(self.queue, ids)

    def median(self, what, setting):
        return statistics.median(what[setting])

    def stop(self):
        if self.process:
            self.process.end(signal.SIGTERM)


class Bench:
    def __init__(self, seconds, folder, stack, redis):
        self.seconds, self.folder, self.stack = seconds, folder, stack
        self.redis, self.redis_pid, self.url = redis.connect(), redis.server.pid, redis.url()
        self.contestants = {}

    def forget(self, queue, ids):
        pipe = self.redis.pipeline(transaction=False)
        for each in ids:
            pipe.unlink("rq:job:" + each, "rq:results:" + each)
        pipe.unlink("rq:finished:" + queue)
        pipe.execute()

    def workers_of(self, queue):
        """The process ids of the workers that RQ's books show for a queue."""
        keys = self.redis.smembers("rq:workers:" + queue)
        return [int(pid) for pid in (self.redis.hget(key, "pid") for key in keys) if pid]

    def add_python(self, name, *arguments, processes=1, **options):
        command, popen = python_worker(self.url, *arguments, QUEUES[name], **options)
        log = os.path.join(self.folder, QUEUES[name] + ".log")
        process = Process(command, log, env=popen["env"], cwd=self.folder)
        try:
            wait_until(lambda: len(self.workers_of(QUEUES[name])) == processes or not process.is_running(),
                       30, f"{name} registers")
        finally:
            self.contestants[name] = Contestant(name, lambda: self.workers_of(QUEUES[name]), process)
        assert process.is_running(), process.log_text()

    def add_forkmark(self, name, processes):
        wait_until(lambda: len(self.workers_of(QUEUES[name])) == processes, 30, f"{name} registers")
        self.contestants[name] = Contestant(name, lambda: self.workers_of(QUEUES[name]))

    def set_append_only(self, value):
        self.redis.config_set("appendonly", value)
        wait_until(lambda: time.sleep(0.1) or not self.redis.info("persistence")["aof_rewrite_in_progress"],
                   30, "Redis has written its file")

    def latencies_ms(self, name, count=200):
        """From just before the push to the call of the function, one job at a time."""
        queue, found = QUEUES[name], []
        for _ in range(count):
            time.sleep(0.02)
            ids = write_jobs(self.redis, queue, 1)
            pushed = time.time()
            push_jobs(self.redis, queue, ids)
            wait_until(lambda: self.redis.zcard("rq:finished:" + queue), 10, "the job is done")
            result = self.redis.xrevrange("rq:results:" + ids[0], count=1)[0][1]
            # forkmark says when the function was called; RQ 1.13 only in the job's hash.
            began = result.get(b"execution_started_at")
            began = float(began) if began else seconds_of(fields_of(self.redis, ids, "started_at")[0][0])
            found.append((began - pushed) * 1000)
            self.forget(queue, ids)
        return sorted(found)


def newer_rq():
    """Where RQ 2.3.3 lies, or None and why not."""
    try:
        return folder_of("2.3.3"), None
    except Missing as reason:
        return None, reason


POOLS = "".join(f'{pool}: {{ consumers = {count}; queues = [ "{QUEUES[name]}" ]; }}; '
                for pool, count, name in (("one", 1, ONE), ("two", 2, TWO)))


def print_table(bench, setting, rounds):
    forking = bench.contestants[FORKING].median(bench.contestants[FORKING].rates, setting)
    simple = bench.contestants[SIMPLE].median(bench.contestants[SIMPLE].rates, setting)
    print(f"\n{setting} (medians of {rounds})")
    print(f"{'':24}{'jobs/s':>10}{'/ rq worker':>13}{'/ Simple':>10}{'Redis us/job':>14}{'own us/job':>12}")
    for one in bench.contestants.values():
        rate = one.median(one.rates, setting)
        print(f"{one.name:24}{rate:10.0f}{rate / forking:12.1f}x{rate / simple:9.1f}x"
              f"{one.median(one.redis_us, setting):14.0f}{one.median(one.own_us, setting):12.0f}")


def measure(bench, rounds):
    settings = {"without append-only file": "no", "append-only, fsync every second": "yes"}
    for setting, value in settings.items():
        bench.set_append_only(value)
        for number in range(rounds + 1):
            for one in bench.contestants.values():
                one.run(bench, setting)
                if number == 0:  # a warm-up, which also says how many jobs fill the time
                    one.rates[setting], one.redis_us[setting], one.own_us[setting] = [], [], []
    return settings


def summary(bench, settings):
    def rate(name, setting):
        one = bench.contestants[name]
        return one.median(one.rates, setting)
    return {setting: {"times_forking": rate(ONE, setting) / rate(FORKING, setting),
                      "times_simple": rate(ONE, setting) / rate(SIMPLE, setting)}
            for setting in settings}


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=4)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="fm-jobs-")
    os.chmod(folder, 0o755)
    postgres = Postgres(os.path.join(folder, "db"))
    redis = Redis(os.path.join(folder, "redis"), "--auto-aof-rewrite-percentage", "0")
    stack = bench = None
    try:
        postgres.create("migrated")
        subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "DATABASE_URL": postgres.url("migrated")})
        stack_folder = os.path.join(folder, "stack")
        os.makedirs(stack_folder)
        stack = Stack(stack_folder, postgres, redis, "migrated", workers=1, pools=POOLS,
                      log='level = "info";', jobs="test_functions = true; scheduler = false;")
        bench = Bench(options.seconds, folder, stack, redis)
        bench.add_python(FORKING)
        bench.add_python(SIMPLE, "-w", "rq.SimpleWorker")
        newer, why_not = newer_rq()
        if newer is not None:
            bench.add_python(POOL, "-n", "2", command="worker-pool", path=newer, processes=2)
        stack.start()
        bench.add_forkmark(ONE, 1)
        bench.add_forkmark(TWO, 2)
        settings = measure(bench, options.rounds)
        latency = {name: bench.latencies_ms(name) for name in (SIMPLE, ONE)}
        memory = {name: [pss_kb(pid) / 1024 for pid in bench.contestants[name].pids()]
                  for name in (FORKING, ONE, TWO)}
        load = os.getloadavg()
    finally:
        if bench:
            for one in bench.contestants.values():
                one.stop()
        if stack and stack.master:
            stack.stop()
        redis.stop()
        postgres.stop(signal.SIGQUIT)

    for setting in settings:
        print_table(bench, setting, options.rounds)
    if newer is None:
        print(f"{POOL:24}   skipped: RQ 2.3.3 cannot be had ({why_not})")
    print()
    for name, times in latency.items():
        print(f"{name:24}{statistics.median(times):10.2f} ms from push to start, idle, median; "
              f"{times[int(len(times) * 0.99)]:.2f} p99")
    for name, sizes in memory.items():
        print(f"{name:24}{max(sizes):10.1f} MB a process (PSS)")
    print(f"load average at the end: {load[0]:.1f}")
    print(json.dumps({"ratios": summary(bench, settings), "latency_ms": statistics.median(latency[ONE]),
                      "memory_mb": max(memory[ONE])}))
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
