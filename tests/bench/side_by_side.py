"""The HTTP benchmark: alternating runs of forkmark and its peer, medians and ratios.

Everything is on this machine and shares its cores, so only the ratios mean
something; they are taken within one run, the two servers in turn.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/harness"))
os.environ.setdefault("FORKMARK_BIN", os.path.join(ROOT, "build/forkmark"))

import requests  # noqa: E402
from measure import children_of, cpu_seconds, pss_kb, tree_seconds  # noqa: E402
from services import Postgres, Process, Redis, wait_until  # noqa: E402
from stack import BINARY, Stack, free_port  # noqa: E402

ROWS = 20


def wrk(url, seconds, token=None, connections=64, script=None):
    """Requests a second, and the errors seen."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
    if script:
        command += ["-s", script]
    out = subprocess.run(command + [url], capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    socket_errors = re.search(r"Socket errors: (.*)", out)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            int(bad.group(1)) if bad else 0, socket_errors.group(1) if socket_errors else "")


def h2load_p99(url, token, rate, seconds, scratch):
    """p99 in ms at a fixed rate over HTTP/1.1 keep-alive."""
    log = os.path.join(scratch, "h2load.log")
    if os.path.exists(log):
        os.unlink(log)
    clients = 20
    subprocess.run(["h2load", "--h1", "-t1", f"-c{clients}", "-m1", f"--rps={max(rate // clients, 1)}",
                    f"--duration={seconds}", "--warm-up-time=1", f"--log-file={log}",
                    "-H", f"Authorization: Bearer {token}", url],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    times = sorted(int(line.split()[2]) for line in open(log, encoding="ascii"))
    return times[int(len(times) * 0.99)] / 1000, len(times)


class Peer:
    def __init__(self, stack, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ, "PEER_BIND": f"127.0.0.1:{self.port}",
            "DATABASE_URL": stack.postgres.url(stack.database),
            "REDIS_URL": f"unix://{stack.redis_server.socket}", "JWT_SECRET_KEY": "test-jwt-secret",
        }
        self.process = Process(["/usr/bin/python3", "-m", "gunicorn", "-c",
                                os.path.join(HERE, "peer/gunicorn_conf.py"), "app:app"],
                               os.path.join(folder, "peer.log"), env=environment,
                               cwd=os.path.join(HERE, "peer"))
        wait_until(self.answers, 20, "the peer answers")

    def answers(self):
        assert self.process.is_running(), self.process.log_text()
        try:
            return requests.get(self.url + "/health/liveness", timeout=1).ok
        except requests.RequestException:
            return False


def seed(stack, client):
    user = client.user["id"]
    stack.sql("""INSERT INTO saved_content (user_id, url, url_norm, page_key, title, notes, category,
                     tags, quality_score, scrape_status, extracted_text, saved_at)
                 SELECT %s, u, u, u, 'Bookmark number ' || n, 'a note on ' || n, 'research', 'c,redis',
                     50, 'SUCCESS', 'some text', now() - n * interval '1 minute'
                 FROM (SELECT n, 'http://example.org/page/' || n AS u FROM generate_series(1, 1000) n) t""",
              user)
    stack.sql("VACUUM ANALYZE")  # as autovacuum does within a minute


def pgbench(stack, user, seconds, folder):
    """The list's statement, prepared, 8 clients: the ceiling."""
    with open(os.path.join(ROOT, "sql/queries/bookmarks.sql"), encoding="utf-8") as file:
        parts = re.split(r"^-- name: *(\w+)\s*$", file.read(), flags=re.M)
    named = dict(zip(parts[1::2], parts[2::2]))
    body = "\n".join(line for line in named["bookmark_list"].splitlines() if not line.startswith("--"))
    for number, value in ((1, f"{user}"), (2, f"{ROWS}"), (3, "0")):
        body = body.replace(f"${number}", value)
    script = os.path.join(folder, "list.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write(body.strip() + "\n")
    out = subprocess.run([os.path.join(stack.postgres.bin, "pgbench"), "-n", "-M", "prepared", "-c8",
                          "-j2", f"-T{seconds}", "-f", script, "-h", stack.postgres.folder,
                          "-U", "forkmark", stack.database],
                         capture_output=True, text=True, check=True).stdout
    return float(re.search(r"tps = ([\d.]+)", out).group(1))


def save_script(folder, name):
    path = os.path.join(folder, name + ".lua")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"""
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "/api/bookmarks", {{["Content-Type"] = "application/json",
    ["Authorization"] = wrk.headers["Authorization"]}},
    '{{"url":"http://example.org/{name}/' .. os.time() .. "/" .. n .. '"}}')
end
""")
    return path


def login_load(stack, name, stop):
    """Four clients that log in without pause."""
    counts = [0] * 4

    def loop(which):
        while not stop.is_set():
            answer = requests.post(stack.url + "/api/auth/login",
                                   json={"email": name, "password": "Passw0rd!x"}, timeout=30)
            counts[which] += answer.ok
    threads = [threading.Thread(target=loop, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    return threads, counts


def main():
    options = argparse.ArgumentParser(description=__doc__)
    # Many short turns: the machine's own speed changes within a minute.
    options.add_argument("--seconds", type=int, default=3)
    options.add_argument("--rounds", type=int, default=9)
    # So many that none of the processes on two cores has to wait for the others' batches.
    options.add_argument("--connections", type=int, default=128)
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="fm-bench-")
    os.chmod(folder, 0o755)
    postgres = Postgres(os.path.join(folder, "db"), durable=True)
    redis = Redis(os.path.join(folder, "redis"))
    postgres.create("migrated")
    subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "DATABASE_URL": postgres.url("migrated")})
    stack_folder = os.path.join(folder, "stack")
    os.makedirs(stack_folder)
    # No consumers: the benchmark is of requests, on both sides.
    stack = Stack(stack_folder, postgres, redis, "migrated", workers=1, consumers=0, rounds=12,
                  log='level = "info"; access = false;',  # as the peer
                  more="cache: { enabled = false; };",
                  jobs="scheduler = false;")
    results = {"forkmark": {}, "peer": {}}
    work = {"forkmark": {}, "peer": {}}  # processor time of each part, us a request
    errors = []
    peer = None
    try:
        stack.start()
        client = stack.client().sign_up("bench")
        # Another one's: the list, pgbench and the p99 below are to read the same rows.
        saver = stack.client().sign_up("saver")
        seed(stack, client)
        peer = Peer(stack, folder)
        routes = {
            "GET /health/liveness": ("/health/liveness", None, None),
            f"GET /api/bookmarks ({ROWS} rows)": (f"/api/bookmarks?page=1&per_page={ROWS}", client.token, None),
            "POST /api/bookmarks": ("/api/bookmarks", saver.token, "save"),
        }
        pids = {"forkmark": next(iter(stack.children("worker"))),
                "peer": children_of(peer.process.pid)[0]}

        def spent(name):
            return (cpu_seconds(pids[name]), tree_seconds(postgres.server.pid), cpu_seconds(redis.server.pid))
        for label, (path, token, script) in routes.items():
            for round_number in range(options.rounds):
                for name, server in (("forkmark", stack), ("peer", peer)):
                    lua = save_script(folder, f"{name}{round_number}") if script else None
                    before = spent(name)
                    rate, bad, broken = wrk(server.url + path, options.seconds, token, options.connections, lua)
                    used = [b - a for a, b in zip(before, spent(name))]
                    results[name].setdefault(label, []).append(rate)
                    work[name].setdefault(label, []).append(
                        [part * 1e6 / (rate * options.seconds) for part in used])
                    if bad or broken:
                        errors.append(f"{name} {label}: {bad} bad answers {broken}")
        # What was saved meanwhile misleads the planner until autovacuum has seen it.
        stack.sql("VACUUM ANALYZE")
        ceiling = pgbench(stack, client.user["id"], options.seconds, folder)

        memory = {name: pss_kb(pid) for name, pid in pids.items()}

        label_list = f"GET /api/bookmarks ({ROWS} rows)"
        rate = int(statistics.median(results["forkmark"][label_list]) / 5)
        path = routes[label_list][0]
        calm, _ = h2load_p99(stack.url + path, client.token, rate, options.seconds, folder)
        stop = threading.Event()
        threads, counts = login_load(stack, "bench", stop)
        busy, seen = h2load_p99(stack.url + path, client.token, rate, options.seconds, folder)
        stop.set()
        for thread in threads:
            thread.join()
    finally:
        if peer:
            peer.process.end()
        stack.stop()
        redis.stop()
        postgres.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)

    print(f"\n{'':34}{'forkmark':>12}{'peer':>12}{'ratio':>9}   (medians of {options.rounds}, {options.connections} connections)")
    summary = {}
    for label in routes:
        ours, theirs = (statistics.median(results[name][label]) for name in ("forkmark", "peer"))
        ratios = sorted(a / b for a, b in zip(results["forkmark"][label], results["peer"][label]))
        summary[label] = statistics.median(ratios)
        print(f"{label:34}{ours:12.0f}{theirs:12.0f}{summary[label]:8.1f}x   requests/s "
              f"({ratios[0]:.1f} to {ratios[-1]:.1f} by turn)")
    # Says what the servers cost even when others keep the machine busy.
    for label in routes:
        for part, of in enumerate(("the worker's", "PostgreSQL's", "Redis'")):
            ours, theirs = (statistics.median(turn[part] for turn in work[name][label])
                            for name in ("forkmark", "peer"))
            if min(ours, theirs) >= 1:  # liveness asks neither of them
                print(f"{label:34}{ours:12.1f}{theirs:12.1f}{theirs / ours:8.1f}x   us of {of} CPU a request")
    ours = statistics.median(results["forkmark"][label_list])
    print(f"{'pgbench, the list statement':34}{ceiling:12.0f}{'':12}{ours / ceiling:8.2f}    forkmark's share")
    print(f"{'memory of one worker (PSS)':34}{memory['forkmark'] / 1024:12.1f}{memory['peer'] / 1024:12.1f}"
          f"{memory['forkmark'] / memory['peer']:8.2f}x   MB")
    print(f"{'p99 at ' + str(rate) + '/s, calm':34}{calm:12.2f}{'':21}   ms")
    print(f"{'p99, 4 clients logging in':34}{busy:12.2f}{'':21}   ms ({sum(counts)} logins, {seen} requests)")
    for line in errors:
        print("ERROR", line)
    print(json.dumps({"ratios": summary, "pgbench_share": ours / ceiling,
                      "memory_share": memory["forkmark"] / memory["peer"], "p99_ms": [calm, busy]}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
