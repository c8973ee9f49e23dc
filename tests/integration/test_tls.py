"""HTTPS by certificate and key files: read at the start and by each reload."""

import http.client
import os
import socket
import ssl
import subprocess
import threading
import time

import pytest

from services import wait_until
from stack import BINARY
from test_sockets import ALIVE, HEADERS, read_all


def make_certificate(folder, name, days=30, owner=None):
    """A key and a certificate for localhost, signed by itself."""
    key, certificate = (os.path.join(folder, f"{name}.{kind}") for kind in ("key", "pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", str(days), "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    os.chmod(key, 0o600)
    return certificate, key


@pytest.fixture
def https(make_stack, folder):
    certificate, key = make_certificate(folder, "first")
    stack = make_stack(start=False, workers=2)
    stack.options.update(
        server=f'tls_certificate = "{certificate}"; tls_key = "{key}";',
        bind=f'"127.0.0.1:{stack.port}", "unix:{folder}/http"')
    stack.start()
    stack.url = f"https://127.0.0.1:{stack.port}"
    return stack, certificate, key


def connect(stack, **options):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in options.items():
        setattr(context, name, value)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", stack.port), 10))


def served(stack):
    """The common name of the certificate that is shown now."""
    with connect(stack) as connection:
        der = connection.getpeercert(True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-subject"], input=der,
                          capture_output=True, check=True).stdout.decode()
    return text.strip().rsplit("=", 1)[1].strip()


def test_https_and_plain_beside_it(https, folder):
    stack, certificate, _ = https
    assert f"ready: https://127.0.0.1:{stack.port}" in stack.log_text()
    client = stack.client()
    client.trust_env, client.verify = False, certificate
    client.sign_up()
    numbers = [client.save(f"http://127.0.0.1:9/{n}") for n in range(5)]
    assert client.get("/api/bookmarks").json()["total"] == len(numbers)
    big = client.post("/api/auth/login", data=b"x" * 900_000)
    assert big.status_code in (400, 401, 422), big.text
    # A stream over TLS, and an answer of many frames.
    stream = client.get("/api/realtime/stream", stream=True)
    lines = stream.iter_lines(chunk_size=1, decode_unicode=True)
    assert next(lines)
    stream.close()
    with connect(stack) as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(f"{folder}/http")
        connection.sendall(ALIVE % b"plain")
        assert b'"alive"' in read_all(connection)
    # Who speaks no TLS there gets no answer, and disturbs nobody.
    with socket.create_connection(("127.0.0.1", stack.port), 10) as plain:
        plain.settimeout(20)
        plain.sendall(ALIVE % b"plain")
        assert b" 200 " not in read_all(plain)
    assert client.get("/health/liveness").status_code == 200


def test_old_protocols_are_refused(https):
    stack, _, _ = https
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(stack, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)


def test_a_renewed_certificate_is_served_after_a_reload_and_nobody_notices(https, folder):
    stack, certificate, key = https
    assert served(stack) == "first"
    failures, stopping = [], threading.Event()

    def load():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", stack.port, timeout=20, context=context)
        while not stopping.is_set():
            try:
                connection.request("GET", "/health/liveness")
                answer = connection.getresponse()
                if b'"alive"' not in answer.read() or answer.status != 200:
                    failures.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for name in ("second", "third"):
            new = make_certificate(folder, name)
            os.replace(new[0], certificate)
            os.replace(new[1], key)
            done = stack.ctl("reload", "--wait")
            assert done.returncode == 0 and "another certificate" in done.stdout, done
            assert served(stack) == name
        same = stack.ctl("reload", "--wait")
        assert same.stdout == "nothing changed\n"
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert failures == []


def line_of(stack, text):
    with open(stack.config, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if text in line)


def test_bad_certificates_fail_the_reload_and_say_where(https, folder):
    stack, certificate, key = https
    other, _ = make_certificate(folder, "other")
    before = stack.children("worker")
    expired = os.path.join(folder, "expired.pem")
    nonsense = os.path.join(folder, "nonsense.pem")
    with open(nonsense, "w", encoding="ascii") as file:
        file.write("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    again = ["openssl", "x509", "-in", certificate, "-signkey", key, "-out", expired]
    if subprocess.run([*again, "-days", "-1"], check=False, capture_output=True).returncode != 0:
        subprocess.run([*again, "-not_before", "20200101000000Z", "-not_after", "20200102000000Z"],
                       check=True, capture_output=True)  # from OpenSSL 3.4 on
    bad = [
        (f'tls_certificate = "{folder}/none.pem"; tls_key = "{key}";',
         "server.tls_certificate: cannot read", "tls_certificate ="),
        (f'tls_certificate = "{folder}"; tls_key = "{key}";',
         "server.tls_certificate: cannot read", "tls_certificate ="),
        (f'tls_certificate = "{certificate}";\n tls_key = "{folder}/none.key";',
         "server.tls_key: cannot read", "tls_key ="),
        (f'tls_certificate = "{nonsense}"; tls_key = "{key}";',
         "holds no certificate", "tls_certificate ="),
        (f'tls_certificate = "{certificate}";\n tls_key = "{nonsense}";',
         "holds no private key", "tls_key ="),
        (f'tls_certificate = "{other}";\n tls_key = "{key}";',
         "is not that of the certificate", "tls_key ="),
        (f'tls_certificate = "{expired}"; tls_key = "{key}";', "has expired", "tls_certificate ="),
        (f'tls_key = "{key}";', "no server.tls_certificate", "tls_key ="),
    ]
    for text, reason, at in bad:
        stack.write_config(server=text)
        answer = stack.ctl_at("reload", "--wait")
        assert answer.returncode == 1 and reason in answer.stderr, (reason, answer)
        assert f"forkmark.conf:{line_of(stack, at)}: " in answer.stderr, answer
        checked = subprocess.run([BINARY, "check", "-c", stack.config],
                                 capture_output=True, text=True, check=False)
        assert checked.returncode == 1 and reason in checked.stderr, checked
        assert served(stack) == "first"
    assert stack.children("worker") == before


def test_it_does_not_start_without_its_certificate(make_stack, folder):
    stack = make_stack(start=False, server=f'tls_certificate = "{folder}/none.pem";')
    stack.start(wait=False)
    assert stack.master.wait(20) == 1
    assert "forkmark.conf:" in stack.log_text() and "server.tls_certificate" in stack.log_text()


def test_a_balancer_in_front_of_tls(make_stack, folder):
    certificate, key = make_certificate(folder, "behind")
    stack = make_stack(start=False, workers=1)
    stack.options["server"] = (f'tls_certificate = "{certificate}"; tls_key = "{key}";'
                               'proxy_protocol = true; header_timeout = "2s";')
    stack.start()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", stack.port), 10) as raw:
        raw.sendall(HEADERS[0][0])
        with context.wrap_socket(raw) as connection:
            connection.sendall(ALIVE % b"through")
            assert b" 200 " in read_all(connection)
    wait_until(lambda: "client=192.0.2.7" in stack.log_text(), 5, "the client behind it")
    # A handshake that never begins has header_timeout like any head.
    with socket.create_connection(("127.0.0.1", stack.port), 10) as raw:
        raw.settimeout(20)
        began = time.monotonic()
        raw.sendall(HEADERS[0][0] + b"\x16\x03\x01")
        assert read_all(raw) == b"" and time.monotonic() - began < 15
