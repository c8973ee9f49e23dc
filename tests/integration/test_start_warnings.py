"""What a start says about the queue's Redis: once, and not for each consumer."""

import os
import subprocess

from services import Process, wait_until
from stack import BINARY, free_port

# Redis tells its clock by this call. A real server, an hour ahead.
CLOCK = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
int gettimeofday(struct timeval *now, void *zone)
{
    long rc = syscall(SYS_gettimeofday, now, zone);
    now->tv_sec += 3600;
    return (int)rc;
}
"""


def restart(server, *options, environment=None):
    server.stop()
    command = ["redis-server", "--port", "0", "--unixsocket", server.socket, "--unixsocketperm", "777",
               "--dir", server.folder, "--save", "", *options]
    server.server = Process(command, os.path.join(server.folder, "redis.log"),
                            env={**os.environ, **(environment or {})})
    wait_until(server.answers, 10, "Redis answers")


def clock_ahead(folder):
    source, library = os.path.join(folder, "clock.c"), os.path.join(folder, "clock.so")
    with open(source, "w", encoding="utf-8") as file:
        file.write(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": library}


def check(stack, *arguments):
    return subprocess.run([BINARY, "check", "--config", stack.config, *arguments],
                          capture_output=True, text=True, timeout=60, check=False)


def warned(stack, words):
    wait_until(lambda: words in stack.log_text(), 15, f"the log says {words}")
    assert stack.log_text().count(words) == 1
    told = check(stack, "--services")
    assert told.returncode == 0 and words in told.stderr and told.stdout == "ok\n"
    assert words not in check(stack).stderr  # without being asked, nobody is


def test_eviction(make_stack, redis_server):
    restart(redis_server, "--maxmemory-policy", "allkeys-lru")
    warned(make_stack(consumers=3), "maxmemory-policy allkeys-lru")


def test_a_clock_that_is_wrong(make_stack, redis_server, folder):
    restart(redis_server, environment=clock_ahead(folder))
    warned(make_stack(consumers=2), "3600 s ahead")


def test_nothing_is_said_of_a_good_one(make_stack, redis_server):
    stack = make_stack()
    told = check(stack, "--services")
    assert (told.returncode, told.stdout, told.stderr) == (0, "ok\n", "")
    wait_until(lambda: "ready: http" in stack.log_text(), 10, "it is ready")
    assert "the queue's Redis" not in stack.log_text()
    # A user who may not ask is no reason for a warning, either.
    redis_server.connect().execute_command("ACL", "SETUSER", "default", "-info")
    assert check(stack, "--services").stderr == ""
    redis_server.stop()
    told = check(stack, "--services")
    assert told.returncode == 1 and told.stdout == ""
    assert "no Redis answers at redis.url: cannot connect: " in told.stderr


def test_a_redis_that_comes_later_is_looked_at_too(make_stack, redis_server):
    redis_server.stop()
    stack = make_stack()
    restart(redis_server, "--maxmemory-policy", "allkeys-lru")
    warned(stack, "maxmemory-policy allkeys-lru")
