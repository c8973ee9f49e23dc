"""RQ jobs by the thousand: written as RQ's own producers write them, in few round trips."""

import os
import subprocess
import sys

from rq import Queue
from rq.job import Job

FUNCTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "rq_functions")
ECHO, FAIL, SLEEP = "forkmark.test.echo", "forkmark.test.fail", "forkmark.test.sleep"
BATCH = 1000


def write_jobs(connection, queue, count, func=ECHO, args=(), retries=None, **options):
    """`count` equal jobs of a queue, queued but not yet pushed; their ids."""
    queue = Queue(queue, connection=connection)
    ids = []
    for begin in range(0, count, BATCH):
        pipe = connection.pipeline(transaction=False)
        for _ in range(min(BATCH, count - begin)):
            job = Job.create(func, args=args, connection=connection, origin=queue.name,
                             status="queued", timeout=180, **options)
            job.enqueued_at = job.created_at
            job.retries_left = retries
            job.save(pipeline=pipe)
            ids.append(job.id)
        pipe.execute()
    return ids


def push_jobs(connection, queue, ids):
    """All at once: from then on consumers see them."""
    pipe = connection.pipeline()
    pipe.sadd("rq:queues", f"rq:queue:{queue}")
    for begin in range(0, len(ids), 10 * BATCH):
        pipe.rpush(f"rq:queue:{queue}", *ids[begin:begin + 10 * BATCH])
    pipe.execute()


def fields_of(connection, ids, *names):
    """One list of the wanted hash fields (texts or None) a job."""
    found = []
    for begin in range(0, len(ids), BATCH):
        pipe = connection.pipeline(transaction=False)
        for each in ids[begin:begin + BATCH]:
            pipe.hmget("rq:job:" + each, *names)
        found += [[value and value.decode() for value in row] for row in pipe.execute()]
    return found


def python_worker(redis_url, *arguments, command="worker", path=None, **popen):
    """The command line of one RQ worker that can import forkmark.test; its Popen arguments.

    `path`: where another version of RQ lies; default: the system's."""
    paths = [each for each in (path, FUNCTIONS) if each]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **popen.pop("env", {})}
    return ([sys.executable, "-W", "ignore", "-m", "rq.cli", command, "-u", redis_url, *arguments],
            {"env": environment, "stdin": subprocess.DEVNULL, **popen})
