"""Read replicas: 0, 1 and 2 of them behind one worker, 95 lists to 5 saves by 40 users.

With one replica all reads go to one server, as with none, so that the worker does the
same but for what it takes to route: its share of the cost. (Two share the reads out in
smaller batches, which costs something else.)
"""

import contextlib
import os
import subprocess
import time

from measure import cpu_seconds, tree_seconds
from replica_load import wait_for_state
from replication import Cluster
from scale import Variant, more_than
from services import Postgres, Redis
from stack import BINARY, Stack

TITLE = "Read replicas: processor time a request, 95 % lists of 20, 5 % saves, nothing cached"
USERS, ROWS = 40, 200
MAX_LAG = 1

SCRIPT = """
local tokens = { %s }
local n = 0
init = function() math.randomseed(os.time()) end
request = function()
  n = n + 1
  local token = "Bearer " .. tokens[math.random(#tokens)]
  if n %% 20 == 0 then
    return wrk.format("POST", "/api/bookmarks",
      { ["Content-Type"] = "application/json", ["Authorization"] = token },
      '{"url":"http://example.org/' .. os.time() .. "/" .. math.random(1000000000) .. '"}')
  end
  return wrk.format("GET", "/api/bookmarks?page=1&per_page=20", { ["Authorization"] = token })
end
"""


def fill(stack):
    """Users with rows; their tokens."""
    tokens = []
    for number in range(USERS):
        client = stack.client().sign_up(f"user{number}")
        tokens.append(client.token)
        stack.sql("""INSERT INTO saved_content (user_id, url, url_norm, page_key, title, notes, category,
                         tags, quality_score, scrape_status, extracted_text, saved_at)
                     SELECT %s, u, u, u, 'Bookmark number ' || n, 'a note on ' || n, 'research', 'c,redis',
                         50, 'SUCCESS', 'some text', now() - n * interval '1 minute'
                     FROM (SELECT n, 'http://example.org/page/' || n AS u FROM generate_series(1, %s) n) t""",
                  client.user["id"], ROWS)
    stack.sql("VACUUM ANALYZE")
    return tokens


@contextlib.contextmanager
def running(folder):
    cluster = Cluster(os.path.join(folder, "db"), 0)
    cluster.primary.create("migrated")
    subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "DATABASE_URL": cluster.primary.url("migrated")})
    for _ in range(2):
        cluster.add()
    redises, stacks, variants = [], [], []
    try:
        for count in range(3):
            path = os.path.join(folder, f"with{count}")
            os.makedirs(path)
            redis = Redis(os.path.join(path, "redis"))
            redises.append(redis)
            stack = Stack(path, cluster, redis, "migrated", workers=1, consumers=0, rounds=4,
                          log='level = "info"; access = false;', jobs="scheduler = false;",
                          more="cache: { enabled = false; };")
            stack.options["database_more"] = \
                cluster.option(stack.database, cluster.replicas[:count]) + f"max_lag = {MAX_LAG};"
            stacks.append(stack.start())
            tokens = fill(stack)
            script = os.path.join(path, "mix.lua")
            with open(script, "w", encoding="ascii") as file:
                file.write(SCRIPT % ", ".join(f'"{token}"' for token in tokens))
            worker = next(iter(stack.children("worker")))
            costs = {"worker": lambda worker=worker: cpu_seconds(worker),
                     "primary": lambda: tree_seconds(cluster.primary.server.pid)}
            for number, replica in enumerate(cluster.replicas[:count], 1):
                costs[f"replica {number}"] = lambda replica=replica: tree_seconds(replica.server.pid)
            costs["redis"] = lambda redis=redis: cpu_seconds(redis.server.pid)
            variants.append(Variant(f"{count} replica{'s' if count != 1 else ''}", stack.url, script, costs))
            for replica in cluster.replicas[:count]:
                wait_for_state(stack, replica, "up")
        cluster.caught_up()
        time.sleep(MAX_LAG + 3)
        yield variants
    finally:
        for stack in stacks:
            stack.stop()
        for redis in redises:
            redis.stop()
        cluster.stop()


def limits(results):
    none, one, two = (results[f"{count} replica{'s' if count != 1 else ''}"] for count in range(3))
    return [("LSN routing, worker's processor time a request, 1 replica against none",
             more_than(none, one, "worker"), 5),
            ("the same with 2 replicas (smaller batches to each)", more_than(none, two, "worker"), None),
            ("the primary's processor time a request with 2 replicas",
             more_than(none, two, "primary"), None),
            ("Redis' processor time a request, 1 replica against none", more_than(none, one, "redis"), None)]
