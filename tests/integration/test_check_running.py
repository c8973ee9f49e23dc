"""forkmark check --running: what a container's or a load balancer's health check asks."""

import os
import socket
import ssl
import subprocess
import threading
from contextlib import closing

import pytest

from services import wait_until
from stack import BINARY


def check(stack):
    return subprocess.run([BINARY, "check", "--running", "--config", stack.config],
                          capture_output=True, text=True, timeout=30, check=False)


def test_running_and_not(make_stack, redis_server):
    stack = make_stack(workers=1, start=False)
    stack.write_config()
    before = check(stack)
    assert before.returncode == 1 and "no answer at 127.0.0.1:" in before.stderr and "refused" in before.stderr
    stack.start()
    assert check(stack).returncode == 0 and '"status":"ready"' in check(stack).stdout
    redis_server.stop()
    wait_until(lambda: "degraded" in check(stack).stdout, 10, "degraded, which is still good")
    assert check(stack).returncode == 0
    stack.stop()
    assert check(stack).returncode == 1


def test_no_address_is_every_address(make_stack):
    stack = make_stack(workers=1, start=False, bind="")
    stack.options["server"] = f"port = {stack.port};"
    stack.write_config()
    before = check(stack)
    assert before.returncode == 1 and "no answer at 0.0.0.0: Connection refused" in before.stderr, before
    stack.start()
    assert check(stack).returncode == 0


def test_without_its_database_it_is_not_healthy(make_stack):
    stack = make_stack(workers=1)
    stack.sql("SELECT 1")
    with closing(stack.postgres.connect("postgres")) as admin, admin.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{stack.database}" ALLOW_CONNECTIONS false')
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (stack.database,))

        def is_ill():
            done = check(stack)
            return done.returncode == 1 and done.stderr.startswith("503 ") and "unhealthy" in done.stderr
        wait_until(is_ill, 15, "the health check fails")
        cursor.execute(f'ALTER DATABASE "{stack.database}" ALLOW_CONNECTIONS true')
    wait_until(lambda: check(stack).returncode == 0, 15, "it is healthy again")


def test_a_unix_socket(make_stack):
    stack = make_stack(workers=1, start=False)
    path = os.path.join(stack.folder, "http")
    stack.write_config()
    with open(stack.config, encoding="utf-8") as file:
        text = file.read().replace(f'"127.0.0.1:{stack.port}"', f'"unix:{path}"')
    stack.write_config = lambda **_: None
    with open(stack.config, "w", encoding="utf-8") as file:
        file.write(text)
    stack.start(wait=False)
    wait_until(lambda: check(stack).returncode == 0, 20, "healthy by its Unix socket")


def test_without_http_workers_the_control_socket_counts(make_stack):
    stack = make_stack(workers=0, start=False)
    stack.start(wait=False)
    done = wait_until(lambda: (lambda d: d if d.returncode == 0 else None)(check(stack)), 20, "it runs")
    assert "without HTTP workers" in done.stdout
    stack.stop()
    assert check(stack).returncode == 1


def test_a_wrong_configuration_is_said(make_stack):
    stack = make_stack(start=False)
    stack.write_config(server="keepalive = 99999999;")
    done = check(stack)
    assert done.returncode == 1 and "server.keepalive" in done.stderr


class Endpoint(threading.Thread):
    """A server that wants TLS, or a PROXY header, or both, before it speaks HTTP."""

    def __init__(self, folder, tls, proxy):
        super().__init__(daemon=True)
        self.proxy, self.context, self.asked = proxy, None, 0
        if tls:
            certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=somebody.else",
                            "-keyout", key, "-out", certificate], check=True, capture_output=True)
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            self.asked += 1
            try:
                self.serve(connection)
            except (OSError, ssl.SSLError):
                pass
            connection.close()

    def serve(self, connection):
        connection.settimeout(5)
        if self.proxy:
            header = b""
            while not header.endswith(b"\r\n"):
                piece = connection.recv(1)
                if not piece:
                    return
                header += piece
            if not header.startswith(b"PROXY "):
                return
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        if connection.recv(65536).startswith(b"GET /health/readiness HTTP/1.1\r\n"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nit is well")
        connection.close()


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("proxy", [False, True])
def test_behind_tls_and_a_proxy_header(make_stack, folder, tls, proxy, is_known):
    """The configuration says so, or was changed since the server read it."""
    stack = make_stack(start=False)
    endpoint = Endpoint(folder, tls, proxy)
    stack.port = endpoint.port
    server = ""
    if is_known and tls:
        server += f'tls_certificate = "{folder}/cert.pem"; tls_key = "{folder}/key.pem"; '
    if is_known and proxy:
        server += 'proxy_protocol = true; '
    stack.write_config(server=server)
    done = check(stack)
    assert (done.returncode, done.stdout.strip()) == (0, "it is well"), done.stderr
    assert endpoint.asked == 1 or not is_known
