"""A short ledger over everything an operator does; tests/long has the full numbers."""

import signal
import time

from ledger import Ledger
from services import wait_until


def test_nothing_is_lost_whatever_the_operator_does(make_stack):
    stack = make_stack(workers=3, jobs="test_functions = true;", server="max_requests = 400;",
                       log='level = "info"; access = false;')
    ledger = Ledger(stack.port, stack.client().sign_up().token, connections=64)
    try:
        for number in range(3):
            stack.write_config(server=f'max_requests = 400; request_timeout = "{20 + number}s";')
            done = stack.ctl("reload", "--wait")
            assert done.returncode == 0, done
            assert stack.ctl("scale", "web", str(1 + 3 * (number % 2))).returncode == 0
            time.sleep(0.5)
        assert stack.ctl("restart", "--rolling", "--wait").returncode == 0
        assert stack.ctl("scale", "web", "config").returncode == 0
        time.sleep(0.5)
        ledger.is_ending = True
        stack.master.signal(signal.SIGTERM)
        assert stack.master.wait(40) == 0
    finally:
        ledger.stop()
    print(ledger)
    ledger.check()
    assert ledger.sent > 500 and ledger.streams_ended > 4


def test_winch_puts_the_workers_away_until_hup(make_stack):
    stack = make_stack(workers=2)
    stack.master.signal(signal.SIGWINCH)
    wait_until(lambda: not stack.children("worker"), 20, "no worker is left")
    assert stack.children("consumer")
    stack.master.signal(signal.SIGHUP)
    wait_until(lambda: len(stack.children("worker")) == 2, 10, "they are back")
    assert stack.client().get("/health/liveness").status_code == 200
    stack.master.signal(signal.SIGWINCH)
    wait_until(lambda: not stack.children("worker"), 20, "away again")
    stack.master.signal(signal.SIGTTIN)
    wait_until(lambda: len(stack.children("worker")) == 1, 10, "one more than none")


def test_a_second_term_does_not_wait(make_stack):
    stack = make_stack(workers=1, jobs="test_functions = true;")
    ledger = Ledger(stack.port, stack.client().sign_up().token, connections=1, streams=0)
    ledger.stop()
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.request("GET", "/test/wait?how=sleep&ms=20000")
    wait_until(lambda: "/test/wait" in stack.ctl("status").stdout, 10, "it is under way")
    began = time.monotonic()
    stack.master.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in stack.log_text(), 10, "it drains")
    stack.master.signal(signal.SIGTERM)
    assert stack.master.wait(15) == 0
    assert time.monotonic() - began < 15
    connection.close()
