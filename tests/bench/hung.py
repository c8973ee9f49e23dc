"""What the others notice of a worker that hangs: their p99, calm and beside it, in turn.

Four workers at a fifth of capacity. One of them spins, blocks in a system call, or is
stopped by a signal; then new clients come, which the others have to take. Held to: at
most 3 times the calm p99, or 10 ms, whichever is more.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time

from side_by_side import BINARY, Postgres, Redis, Stack, h2load_p99, seed, wrk

PATH = "/api/bookmarks?page=1&per_page=20"
LEEWAY_S = 1.5  # until a silent beat is seen, and for h2load's warm-up


def ask_to_hang(stack, how, seconds):
    def ask():
        stack.client().get("/test/wait", params={"how": how, "ms": int(seconds * 1000)})
    thread = threading.Thread(target=ask)
    thread.start()
    return thread.join


def stop_one(stack, how, seconds):
    victim = min(stack.children("worker"))
    os.kill(victim, signal.SIGSTOP)
    return lambda: os.kill(victim, signal.SIGCONT)


KINDS = {"spins": ("spin", ask_to_hang), "blocks": ("block", ask_to_hang), "is stopped": ("stop", stop_one)}


def measure(stack, client, folder, options):
    rate = int(statistics.median(wrk(stack.url + PATH, 2, client.token)[0] for _ in range(3)) / 5)
    found = {name: [] for name in KINDS}
    for _ in range(options.rounds):
        for name, (how, begin) in KINDS.items():
            calm, _ = h2load_p99(stack.url + PATH, client.token, rate, options.seconds, folder)
            end = begin(stack, how, options.seconds + 1 + 2 * LEEWAY_S)
            time.sleep(LEEWAY_S / 3)
            beside, count = h2load_p99(stack.url + PATH, client.token, rate, options.seconds, folder)
            end()
            assert count > rate * options.seconds / 2, f"only {count} answers"
            found[name].append((calm, beside))
    print(f"4 workers, {rate} requests/s (a fifth of capacity), medians of {options.rounds} rounds")
    print(f"{'one worker':<12} {'p99 calm':>10} {'p99 beside':>11} {'ratio':>6}")
    for name, pairs in found.items():
        calm, beside = (statistics.median(column) for column in zip(*pairs))
        verdict = "" if beside <= max(3 * calm, 10) else "  more than 3 times and 10 ms"
        print(f"{name:<12} {calm:>7.2f} ms {beside:>8.2f} ms {beside / calm:>6.1f}{verdict}")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    folder = tempfile.mkdtemp(prefix="fm-hung-")
    os.chmod(folder, 0o755)
    postgres = Postgres(os.path.join(folder, "db"))
    redis = Redis(os.path.join(folder, "redis"))
    postgres.create("migrated")
    subprocess.run([BINARY, "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env={**os.environ, "DATABASE_URL": postgres.url("migrated")})
    os.makedirs(os.path.join(folder, "stack"))
    # Nobody is killed meanwhile: the hang itself is what is measured.
    stack = Stack(os.path.join(folder, "stack"), postgres, redis, "migrated", workers=4, consumers=0,
                  server='timeout = "120s"; request_timeout = "60s";', log='level = "info"; access = false;',
                  more="cache: { enabled = false; };", jobs="scheduler = false; test_functions = true;")
    try:
        stack.start()
        client = stack.client().sign_up("bench")
        seed(stack, client)
        measure(stack, client, folder, options)
    finally:
        stack.stop()
        redis.stop()
        postgres.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
