"""The cache in one Redis, and in a Redis Cluster of one and of three primaries, behind one
worker: 90 cached lists to 10 saves by 30 users.

With a cluster of one node all commands go to one server, as without, so that the worker
does the same but for what the cluster's client takes: its share of the cost. (Three share
them out in smaller batches over three connections, which costs something else.)
"""

import contextlib
import json
import os
import subprocess

from measure import cpu_seconds
from redis_cluster import RedisCluster, free_cluster_port
from scale import Variant, more_than
from services import Postgres, Redis
from stack import BINARY, Stack

TITLE = "Redis Cluster: processor time a request, 90 % lists of 20 from the cache, 10 % saves"
USERS, ROWS = 30, 20

SCRIPT = """
local tokens = { %s }
local turn = 0
function request()
    turn = turn + 1
    local headers = { ["Authorization"] = "Bearer " .. tokens[turn %% #tokens + 1],
                      ["Content-Type"] = "application/json" }
    if turn %% 10 == 0 then
        return wrk.format("POST", "/api/bookmarks", headers,
                          '{"url": "http://example.invalid/' .. turn %% 500 .. '"}')
    end
    return wrk.format("GET", "/api/bookmarks?per_page=20", headers)
end
"""


class OneRedis:
    """Over TCP, and keeping as little on disk as the cluster's nodes."""

    def __init__(self, folder):
        port = free_cluster_port()
        self.server = Redis(folder, "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "no")
        self.setting = f'cache_url = "redis://127.0.0.1:{port}";'
        self.pids = [self.server.server.pid]
        self.stop = self.server.stop


class Cluster:
    def __init__(self, folder, primaries):
        self.cluster = RedisCluster(folder, primaries=primaries, replicas=0)
        self.setting = self.cluster.settings()
        self.pids = [node.server.pid for node in self.cluster.nodes]
        self.stop = self.cluster.stop


def fill(stack):
    tokens = []
    for _ in range(USERS):
        client = stack.client().sign_up()
        for number in range(ROWS):
            client.save(f"http://example.invalid/row/{number}")
        tokens.append(json.dumps(client.token))
    return tokens


def new_variant(name, folder, postgres, redis, cache, stacks):
    os.makedirs(folder)
    stack = Stack(folder, postgres, redis, "migrated", workers=1, consumers=0, redis_more=cache.setting,
                  log='level = "info"; access = false;', jobs="scheduler = false;")
    stacks.append(stack.start())
    script = os.path.join(folder, "mix.lua")
    with open(script, "w", encoding="ascii") as file:
        file.write(SCRIPT % ", ".join(fill(stack)))
    worker = next(iter(stack.children("worker")))
    return Variant(name, stack.url, script,
                   {"worker": lambda: cpu_seconds(worker),
                    "cache": lambda: sum(cpu_seconds(pid) for pid in cache.pids)})


@contextlib.contextmanager
def running(folder):
    postgres, redis = Postgres(os.path.join(folder, "db")), Redis(os.path.join(folder, "redis"))
    stacks, caches = [], []
    try:
        postgres.create("migrated")
        subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, "DATABASE_URL": postgres.url("migrated")})
        variants = []
        for name, make in (("one Redis", OneRedis), ("cluster of 1", lambda path: Cluster(path, 1)),
                           ("cluster of 3", lambda path: Cluster(path, 3))):
            place = os.path.join(folder, name.replace(" ", "-"))
            caches.append(make(place + "-cache"))
            variants.append(new_variant(name, place, postgres, redis, caches[-1], stacks))
        yield variants
    finally:
        for stack in stacks:
            stack.stop()
        for server in (*caches, redis, postgres):
            server.stop()


def limits(results):
    one, alone, three = (results[name] for name in ("one Redis", "cluster of 1", "cluster of 3"))
    return [("the cluster's client, worker's processor time a request, a cluster of 1 against one Redis",
             more_than(one, alone, "worker"), 10),
            ("the same with a cluster of 3 (smaller batches to each)", more_than(one, three, "worker"), None),
            ("the servers' processor time a request, a cluster of 3 against one Redis",
             more_than(one, three, "cache"), None)]
