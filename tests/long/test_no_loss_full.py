"""The whole ledger: 100 reloads, 20 rolling restarts, 20 scalings, max_requests, 5 upgrades by
USR2, a stop."""

import json
import random
import signal
import time

from ledger import Ledger
from services import wait_until

RELOADS, RESTARTS, SCALINGS, UPGRADES = 100, 20, 20, 5


def other(stack):
    """The master beside this one, once it serves."""
    status = json.loads(stack.ctl_at("--json", "status").stdout)
    return status["upgrade"].get("other") if status["upgrade"]["stage"] == "beside the new master" else None


def upgrade(stack):
    """USR2, and TERM to the old master when the new one serves beside it."""
    stack.master.signal(signal.SIGUSR2)
    new = wait_until(lambda: other(stack), 60, "the new master serves")
    stack.master.signal(signal.SIGTERM)
    assert stack.master.wait(60) == 0
    stack.follow(new)
    wait_until(lambda: stack.ctl_at("status").returncode == 0, 20, "it has the control socket")


def test_nothing_is_lost(make_stack):
    stack = make_stack(workers=4, consumers=1, server="max_requests = 50; max_requests_jitter = 50;",
                       database_more="pool_size = 3;", jobs="test_functions = true;",
                       log='level = "info"; access = false;')
    ledger = Ledger(stack.port, stack.client().sign_up().token, connections=64, streams=8)
    began = time.monotonic()
    try:
        for number in range(RELOADS):
            stack.write_config(server="max_requests = 50; max_requests_jitter = 50; "
                                      f'request_timeout = "{20 + number}s";')
            done = stack.ctl("reload", "--wait")
            assert done.returncode == 0, (number, done)
        print(f"{RELOADS} reloads in {time.monotonic() - began:.0f} s: {ledger}", flush=True)
        # Without the limit now: its replacements would hide those of the next part.
        stack.write_config(server="")
        assert stack.ctl("reload", "--wait").returncode == 0
        for number in range(RESTARTS):
            done = stack.ctl("restart", "--rolling", "--wait")
            assert done.returncode == 0, (number, done)
        print(f"{RESTARTS} rolling restarts: {ledger}", flush=True)
        chance = random.Random(1)
        for _ in range(SCALINGS):
            assert stack.ctl("scale", "web", str(chance.randint(1, 8))).returncode == 0
            time.sleep(1)
        print(f"{SCALINGS} scalings: {ledger}", flush=True)
        assert stack.ctl("scale", "web", "config").returncode == 0
        for _ in range(UPGRADES):
            upgrade(stack)
        print(f"{UPGRADES} upgrades: {ledger}", flush=True)
        ledger.is_ending = True
        stack.master.signal(signal.SIGTERM)
        assert stack.master.wait(60) == 0
    finally:
        ledger.stop()
    print(f"{time.monotonic() - began:.0f} s in all: {ledger}")
    ledger.check()
    assert stack.log_text().count("has done its share of requests") > 100
