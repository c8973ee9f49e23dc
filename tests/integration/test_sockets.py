"""Addresses: several, IPv6, Unix sockets, those of a service manager, PROXY headers."""

import json
import os
import signal
import socket
import stat
import struct
import time

import pytest

from ledger import Ledger
from services import wait_until
from stack import free_port

ALIVE = b"GET /health/liveness HTTP/1.1\r\nHost: x\r\nX-Request-ID: %s\r\nConnection: close\r\n\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"


def read_all(connection):
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionError:
        pass
    return answer


def ask(address, *parts, family=socket.AF_INET, pause=0.05, source=None):
    """Sends the parts one by one; all that comes back."""
    with socket.socket(family) as connection:
        connection.settimeout(20)
        if source:
            connection.bind((source, 0))
        connection.connect(address)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause if len(parts) > 1 else 0)
        return read_all(connection)


def test_many_addresses_at_once(make_stack, folder):
    path, ports = os.path.join(folder, "http"), [free_port() for _ in range(2)]
    stack = make_stack(start=False, workers=1)
    stack.options["bind"] = (f'"127.0.0.1:{stack.port}", "[::]:{stack.port}", "127.0.0.1:{ports[0]}", '
                             f'"[::1]:{ports[1]}?v6only=1", "unix:{path}?mode=0600"')
    stack.start()
    for address, family in ((("127.0.0.1", stack.port), socket.AF_INET),
                            (("::1", stack.port), socket.AF_INET6),
                            (("127.0.0.1", ports[0]), socket.AF_INET),
                            (("::1", ports[1]), socket.AF_INET6), (path, socket.AF_UNIX)):
        assert b'"alive"' in ask(address, ALIVE % b"x", family=family), address
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    # Another mode is applied, an address that goes is closed; the rest does not notice.
    stack.options["bind"] = f'"127.0.0.1:{stack.port}", "unix:{path}?mode=0666"'
    stack.write_config()
    done = stack.ctl("reload", "--wait")
    assert done.returncode == 0, done
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    assert b'"alive"' in ask(path, ALIVE % b"x", family=socket.AF_UNIX)
    with pytest.raises(ConnectionRefusedError):
        ask(("127.0.0.1", ports[0]), b"")
    stack.stop()
    assert not os.path.exists(path)


def test_what_another_process_left_is_removed_what_it_has_is_not(make_stack, folder):
    path = os.path.join(folder, "http")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)  # and nobody listens any more
    stack = make_stack(start=False, workers=1)
    stack.options["bind"] = f'"127.0.0.1:{stack.port}", "unix:{path}"'
    stack.start()
    assert b'"alive"' in ask(path, ALIVE % b"x", family=socket.AF_UNIX)
    other = make_stack(start=False, workers=1, bind=stack.options["bind"])
    other.options["bind"] = f'"127.0.0.1:{other.port}", "unix:{path}"'
    other.start(wait=False)
    assert other.master.wait(20) == 1
    assert "another process listens there" in other.log_text()
    assert b'"alive"' in ask(path, ALIVE % b"x", family=socket.AF_UNIX)
    # Somebody else's file of that name stays when this server ends.
    os.unlink(path)
    with open(path, "w", encoding="ascii") as file:
        file.write("mine")
    stack.stop()
    assert open(path, encoding="ascii").read() == "mine"


def test_sockets_that_a_service_manager_passes(make_stack, folder):
    path = os.path.join(folder, "http")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen(64)
        port = tcp.getsockname()[1]
        stack = make_stack(start=False, workers=1)
        # As systemd does it: from descriptor 3 on, with the id of the very process.
        stack.prefix = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=http:local exec "$@"', "sh"]

        def give():
            first, second = os.dup(tcp.fileno()), os.dup(unix.fileno())
            first, second = (os.dup2(os.dup(fd), 40 + n) for n, fd in enumerate((first, second)))
            os.dup2(first, 3)
            os.dup2(second, 4)

        stack.popen = {"preexec_fn": give, "close_fds": False}
        before = stack.port
        stack.start()
        assert f":{port}" in stack.log_text() and f"unix:{path}" in stack.log_text()
        assert b'"alive"' in ask(("127.0.0.1", port), ALIVE % b"x")
        assert b'"alive"' in ask(path, ALIVE % b"x", family=socket.AF_UNIX)
        with pytest.raises(ConnectionRefusedError):
            ask(("127.0.0.1", before), b"")
        # A reload keeps them, and the end leaves them to who made them.
        stack.write_config(server='request_timeout = "20s";')
        assert stack.ctl("reload", "--wait").returncode == 0
        assert b'"alive"' in ask(("127.0.0.1", port), ALIVE % b"x")
        assert stack.stop() == 0
        assert os.path.exists(path)
        with socket.create_connection(("127.0.0.1", port), 5):
            tcp.settimeout(5)
            tcp.accept()[0].close()  # it still listens


def test_what_is_no_listening_socket_is_refused(make_stack):
    stack = make_stack(start=False, workers=1)
    stack.prefix = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3</dev/null', "sh"]
    stack.start(wait=False)
    assert stack.master.wait(20) == 1
    assert "descriptor 3 is no socket to serve on" in stack.log_text()


# ---- PROXY headers ----

def v2(command, kind, addresses):
    return V2 + bytes([command, kind]) + struct.pack(">H", len(addresses)) + addresses


def from_v4(host):
    return socket.inet_aton(host) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 4711, 80)


HEADERS = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (v2(0x21, 0x11, from_v4("192.0.2.8")), "192.0.2.8"),
    (v2(0x21, 0x11, from_v4("192.0.2.9") + b"\x04\0\x02ab"), "192.0.2.9"),
    (v2(0x21, 0x21, socket.inet_pton(socket.AF_INET6, "2001:db8::8") + bytes(16) + bytes(4)),
     "2001:db8::8"),
    (v2(0x20, 0x00, b""), "127.0.0.1"),
]


def client_of(stack, name):
    """Whom the access log names for the request of that id."""
    line = wait_until(lambda: [line for line in stack.log_text().splitlines()
                               if line.endswith(f"id={name}")], 5, name)[0]
    return line.split("client=")[1].split()[0]


def access_line(stack, name):
    """The access log's object of the request of that id."""
    return wait_until(lambda: next((json.loads(line) for line in stack.log_text().splitlines()
                                    if f'"request_id":"{name}"' in line), None), 5, name)


def test_a_proxy_header_names_the_client(make_stack):
    stack = make_stack(workers=1, server="proxy_protocol = true;")
    address = ("127.0.0.1", stack.port)
    for number, (header, client) in enumerate(HEADERS):
        name = f"proxied-{number}"
        assert b" 200 " in ask(address, header + ALIVE % name.encode()), header
        assert client_of(stack, name) == client
        # The same in pieces, cut where it hurts.
        name = f"pieces-{number}"
        assert b" 200 " in ask(address, header[:3], header[3:14], header[14:],
                               (ALIVE % name.encode())[:10], (ALIVE % name.encode())[10:]), header
        assert client_of(stack, name) == client
    # Whom a proxied client names is its own invention.
    forged = ALIVE.replace(b"Host", b"X-Forwarded-For: 198.51.100.1\r\nHost") % b"forged"
    ask(address, HEADERS[0][0] + forged)
    assert client_of(stack, "forged") == "192.0.2.7"


def test_a_balancer_asks_for_health_without_a_header(make_stack):
    """Its own question; and it is no way around the header for anything else."""
    stack = make_stack(workers=1, server="proxy_protocol = true;", log='access = true; format = "json";')
    address = ("127.0.0.1", stack.port)
    ready = ALIVE.replace(b"liveness", b"readiness").replace(b"Connection: close", b"X-Forwarded-For: 192.0.2.66")
    answer = ask(address, ready % b"plain-check", ALIVE % b"another")  # two on one connection
    assert answer.count(b"HTTP/1.1 ") == 1 and b" 200 " in answer
    assert access_line(stack, "plain-check")["client_ip"] == "127.0.0.1"
    assert b" 200 " in ask(address, ALIVE.replace(b"GET", b"HEAD") % b"x")
    for other in (b"/api/bookmarks", b"/healthy", b"//health/liveness"):
        assert ask(address, ALIVE.replace(b"/health/liveness", other) % b"x") == b""
    # Nor in pieces, or behind something.
    assert ask(address, b"GET /hea") == b""
    assert ask(address, b"\r\n" + ALIVE % b"x") == b""


def test_the_scheme_is_what_trusted_hops_say(make_stack):
    stack = make_stack(workers=1, server='proxy_protocol = true; proxy_allow_ips = "127.0.0.2";'
                                         'forwarded_allow_ips = "127.0.0.3";',
                       log='access = true; format = "json";')
    tls = b"\x20\0\x05\x01\0\0\0\0"
    proto = ALIVE.replace(b"Host", b"X-Forwarded-Proto: %s\r\nHost")
    cases = [
        ("127.0.0.1", b"", proto % (b"https", b"scheme-0"), "http"),  # nobody's hop
        ("127.0.0.3", b"", proto % (b"https", b"scheme-1"), "https"),
        ("127.0.0.3", b"", proto % (b"https, http", b"scheme-2"), "http"),
        ("127.0.0.3", b"", ALIVE % b"scheme-3", "http"),
        ("127.0.0.2", v2(0x21, 0x11, from_v4("192.0.2.8") + tls), ALIVE % b"scheme-4", "https"),
        ("127.0.0.2", v2(0x21, 0x11, from_v4("192.0.2.8")), ALIVE % b"scheme-5", "http"),
        ("127.0.0.2", v2(0x21, 0x11, from_v4("192.0.2.8") + tls), proto % (b"http", b"scheme-6"), "https"),
        ("127.0.0.2", v2(0x21, 0x11, from_v4("127.0.0.3") + tls), proto % (b"http", b"scheme-7"), "http"),
        # A hop may append a line of its own instead of a value.
        ("127.0.0.3", b"", proto.replace(b"Host", b"X-Forwarded-Proto: http\r\nHost") % (b"https", b"scheme-8"), "http"),
    ]
    for number, (source, header, request, scheme) in enumerate(cases):
        assert b" 200 " in ask(("127.0.0.1", stack.port), header + request, source=source), number
        assert access_line(stack, f"scheme-{number}")["scheme"] == scheme, number


def test_a_balancer_without_a_header_and_with_a_wrong_one(make_stack):
    stack = make_stack(workers=1, server='proxy_protocol = true; header_timeout = "1s";')
    address = ("127.0.0.1", stack.port)
    for wrong in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY TCP4 1 2 3 4\r\n" + ALIVE % b"x", b"\0" * 300,
                  b"PROXY UNKNOWN " + b"x" * 200, v2(0x21, 0x11, from_v4("192.0.2.8")[:8]) + ALIVE % b"x"):
        assert ask(address, wrong) == b"", wrong
    for slow in (b"", b"PROXY TCP4 192.", V2 + b"\x21"):
        began = time.monotonic()
        assert ask(address, slow) == b""
        assert 0.5 < time.monotonic() - began < 15
    assert b" 200 " in ask(address, HEADERS[0][0] + ALIVE % b"x")


def test_only_trusted_peers_speak_it(make_stack):
    stack = make_stack(workers=1, server='proxy_protocol = true; proxy_allow_ips = "10.9.0.0/16";')
    address = ("127.0.0.1", stack.port)
    assert b" 200 " in ask(address, ALIVE % b"direct")
    assert client_of(stack, "direct") == "127.0.0.1"
    assert b" 200 " not in ask(address, HEADERS[0][0] + ALIVE % b"x")


def test_a_drain_waits_for_headers_under_way(make_stack):
    stack = make_stack(workers=1, server="proxy_protocol = true;")
    with socket.create_connection(("127.0.0.1", stack.port), 10) as connection:
        connection.settimeout(20)
        connection.sendall(HEADERS[0][0][:10])
        time.sleep(0.3)
        stack.master.signal(signal.SIGTERM)
        wait_until(lambda: "draining" in stack.log_text(), 10, "it drains")
        connection.sendall(HEADERS[0][0][10:] + ALIVE % b"late")
        assert b" 200 " in read_all(connection)
    assert stack.master.wait(20) == 0


def test_full_of_headers_that_do_not_come(make_stack):
    """They count among worker_connections, and leave the place when their time is over."""
    stack = make_stack(workers=1, server='proxy_protocol = true; worker_connections = 20; header_timeout = "1s";')
    silent = [socket.create_connection(("127.0.0.1", stack.port), 10) for _ in range(40)]
    assert b" 200 " in ask(("127.0.0.1", stack.port), HEADERS[0][0] + ALIVE % b"x")
    for connection in silent:
        connection.close()


def test_reloads_are_free_of_loss_behind_a_balancer(make_stack):
    """The ledger's own connections, each begun with a header."""
    stack = make_stack(start=False, workers=2, jobs="test_functions = true;",
                       server='proxy_protocol = true; proxy_allow_ips = "127.0.0.2";')
    stack.start()

    class Proxied(Ledger):
        async def connect(self):
            import asyncio
            pair = await asyncio.open_connection("127.0.0.1", self.port, local_addr=("127.0.0.2", 0))
            pair[1].write(HEADERS[3][0])
            return pair

    ledger = Proxied(stack.port, stack.client().sign_up().token, connections=16, streams=1)
    try:
        for number in range(2):
            stack.write_config(server='proxy_protocol = true; proxy_allow_ips = "127.0.0.2";'
                                      f'request_timeout = "{20 + number}s";')
            done = stack.ctl("reload", "--wait")
            assert done.returncode == 0, done
    finally:
        ledger.stop()
    print(ledger)
    ledger.check()
