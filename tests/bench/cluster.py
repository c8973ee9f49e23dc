"""What the cluster client costs a worker: the same requests with the cache in one Redis and
in a Redis Cluster of three primaries, in processor time of the worker per request.

Two servers with one worker each, on the same PostgreSQL; the load goes to one and to the
other in turn, so that what else the machine does meets both. Both caches are reached over
TCP. A read-heavy mix of many users: nine lists from the cache for each save.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/harness"))
os.environ.setdefault("FORKMARK_BIN", os.path.join(ROOT, "build/forkmark"))

from measure import children_of  # noqa: E402
from redis_cluster import RedisCluster, free_cluster_port  # noqa: E402
from services import Postgres, Redis  # noqa: E402
from stack import BINARY, Stack  # noqa: E402

USERS, ROWS = 30, 20
MOST_PERCENT = 10

WRK_SCRIPT = """
local tokens = {{ {tokens} }}
local turn = 0
function request()
    turn = turn + 1
    local headers = {{ ["Authorization"] = "Bearer " .. tokens[turn % #tokens + 1],
                       ["Content-Type"] = "application/json" }}
    if turn % {save_every} == 0 then
        return wrk.format("POST", "/api/bookmarks", headers,
                          '{{"url": "http://example.invalid/' .. turn % 500 .. '"}}')
    end
    return wrk.format("GET", "/api/bookmarks?per_page=20", headers)
end
"""


def run_ns(pid):
    """Time on a processor of all threads, to the nanosecond."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


class Server:
    """One forkmark with a worker, its users, and their requests as a wrk script."""

    def __init__(self, name, bench, cache, save_every):
        self.name, self.figures = name, []
        folder = tempfile.mkdtemp(dir=bench["folder"])
        self.stack = Stack(folder, bench["postgres"], bench["redis"], "migrated", workers=1, consumers=1,
                           redis_more=cache, log='level = "info"; access = false;',
                           jobs="scheduler = false;").start()
        tokens = []
        for _ in range(USERS):
            client = self.stack.client().sign_up()
            for number in range(ROWS):
                client.save(f"http://example.invalid/row/{number}")
            tokens.append(json.dumps(client.token))
        self.script = os.path.join(folder, "mix.lua")
        with open(self.script, "w", encoding="ascii") as file:
            file.write(WRK_SCRIPT.format(tokens=", ".join(tokens), save_every=save_every))
        self.worker = next(iter(self.stack.children("worker")))
        assert self.worker in children_of(self.stack.master.pid)

    def run(self, seconds, connections):
        """Microseconds of the worker's processor time per request."""
        before = run_ns(self.worker)
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", self.script,
                              self.stack.url], capture_output=True, text=True, check=True).stdout
        used = run_ns(self.worker) - before
        assert "Non-2xx" not in out and "Socket errors" not in out, out
        requests = int(re.search(r"(\d+) requests in", out).group(1))
        return used / 1000 / requests


def spread(figures):
    return f"median {statistics.median(figures):6.2f}, {min(figures):6.2f} to {max(figures):6.2f} us"


def measure(bench, arguments):
    port = free_cluster_port()
    bench["cache"] = Redis(os.path.join(bench["folder"], "cache"), "--port", str(port), "--bind", "127.0.0.1",
                           "--appendonly", "no")  # as the cluster's nodes
    bench["cluster"] = RedisCluster(os.path.join(bench["folder"], "cluster"), primaries=arguments.nodes,
                                    replicas=0)
    places = ", ".join(f'"{node.place}"' for node in bench["cluster"].nodes)
    servers = [Server("one Redis", bench, f'cache_url = "redis://127.0.0.1:{port}";', arguments.save_every),
               Server("cluster", bench, f"cache: {{ cluster = [ {places} ]; }};", arguments.save_every)]
    try:
        for server in servers:
            server.run(2, arguments.connections)  # warms caches and connections
        for number in range(arguments.runs):
            for server in servers if number % 2 == 0 else reversed(servers):
                server.figures.append(server.run(arguments.seconds, arguments.connections))
    finally:
        for server in servers:
            server.stack.stop()
    return servers


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--save-every", type=int, default=10)
    arguments = parser.parse_args()
    bench = {"folder": tempfile.mkdtemp(prefix="fm-cluster-")}
    os.chmod(bench["folder"], 0o755)
    try:
        bench["postgres"] = Postgres(os.path.join(bench["folder"], "db"))
        bench["redis"] = Redis(os.path.join(bench["folder"], "redis"))
        bench["postgres"].create("migrated")
        subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "DATABASE_URL": bench["postgres"].url("migrated")})
        single, cluster = measure(bench, arguments)
        for server in (single, cluster):
            print(f"{server.name:10} {spread(server.figures)} of worker CPU per request")
        cost = (statistics.median(cluster.figures) / statistics.median(single.figures) - 1) * 100
        pairs = [(b / a - 1) * 100 for a, b in zip(single.figures, cluster.figures)]
        print(f"the cluster client costs {cost:+.1f} % (in {len(pairs)} alternating pairs of runs "
              f"{min(pairs):+.1f} to {max(pairs):+.1f} %, median {statistics.median(pairs):+.1f} %); "
              f"wanted at most {MOST_PERCENT} %")
        return 1 if cost > MOST_PERCENT else 0
    finally:
        for name in ("cluster", "cache", "redis", "postgres"):
            if name in bench:
                bench[name].stop()
        shutil.rmtree(bench["folder"], ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
