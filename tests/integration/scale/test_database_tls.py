"""libpq's TLS modes against a PostgreSQL with a certificate of a test authority."""

import os
import pwd
import subprocess

import pytest
from services import Postgres, wait_until


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate, self.key = f"{folder}/{name}.pem", f"{folder}/{name}.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", self.key, "-out", self.certificate)
        os.chmod(self.certificate, 0o644)

    def certify(self, host, to, days="2"):
        """A server's certificate and key in the folder `to`."""
        os.makedirs(to, exist_ok=True)
        extensions, request = f"{to}/extensions", f"{to}/request"
        with open(extensions, "w", encoding="ascii") as file:
            file.write(f"subjectAltName = DNS:{host}\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}",
                "-keyout", f"{to}/server.key", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", f"{to}/server.crt")
        os.chmod(f"{to}/server.crt", 0o644)
        os.chmod(f"{to}/server.key", 0o600)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(f"{to}/server.key", account.pw_uid, account.pw_gid)


class TlsPostgres(Postgres):
    """On TCP with TLS, as host `localhost`; other names are other certificates."""

    def __init__(self, folder, port, certificates):
        self.port = port
        super().__init__(folder, options=(
            "-c", "listen_addresses=localhost", "-p", str(port), "-c", "ssl=on",
            "-c", f"ssl_cert_file={certificates}/server.crt", "-c", f"ssl_key_file={certificates}/server.key"))

    def connect(self, database):
        import psycopg2
        connection = psycopg2.connect(host=self.folder, port=self.port, user="forkmark", dbname=database)
        connection.autocommit = True
        return connection

    def url(self, database):
        return f"postgresql://forkmark@localhost:{self.port}/{database}{self.more}"

    more = ""


@pytest.fixture(scope="module")
def authority(session_folder):
    folder = session_folder + "/ca"
    os.makedirs(folder)
    os.chmod(folder, 0o755)
    return Authority(folder, "good"), Authority(folder, "other")


def secure(session_folder, name, authority, host):
    from stack import free_port
    folder = f"{session_folder}/tls-{name}"
    os.makedirs(folder)
    os.chmod(folder, 0o755)
    authority.certify(host, folder + "/certificates")
    server = TlsPostgres(folder + "/server", free_port(), folder + "/certificates")
    # Nobody gets in without TLS over TCP.
    with open(server.data + "/pg_hba.conf", "w", encoding="ascii") as file:
        file.write("local all all trust\nhostssl all all all trust\nhostnossl all all all reject\n")
    server.ask("SELECT pg_reload_conf()")
    return server


@pytest.fixture(scope="module")
def server(session_folder, authority):
    made = secure(session_folder, "good", authority[0], "localhost")
    yield made
    made.stop()


def put_on(make_stack, server, **options):
    stack = make_stack(start=False, consumers=1, workers=1, **options)
    server.ask(f'CREATE DATABASE "{stack.database}"')
    stack.postgres = server
    return stack


@pytest.mark.parametrize("mode", ["prefer", "verify-full"])
def test_all_connections_speak_tls(make_stack, server, authority, mode):
    more = f'ssl_mode = "{mode}"; ssl_root_cert = "{authority[0].certificate}";'
    stack = put_on(make_stack, server, database_more=more)
    stack.start()  # the schema is brought up to date over TLS, too
    stack.client().sign_up().save("http://example.invalid/a")
    found = stack.sql("SELECT a.application_name, s.ssl FROM pg_stat_activity a JOIN pg_stat_ssl s "
                      "USING (pid) WHERE a.datname = %s AND a.client_addr IS NOT NULL", stack.database)
    assert found and all(ssl for _, ssl in found), found
    assert any("forkmark" in name for name, _ in found)


def refused(make_stack, server, **options):
    stack = put_on(make_stack, server, **options)
    stack.start(wait=False)
    assert stack.master.wait(60) == 1
    return stack.log_text()


def test_without_tls_it_is_refused(make_stack, server):
    assert "no encryption" in refused(make_stack, server, database_more='ssl_mode = "disable";')


def test_another_authority_is_named_as_the_reason(make_stack, server, authority):
    log = refused(make_stack, server, database_more='ssl_mode = "verify-full"; '
                  f'ssl_root_cert = "{authority[1].certificate}";')
    assert "certificate verify failed" in log, log[-2000:]


def test_a_missing_authority_is_named_as_the_reason(make_stack, server):
    log = refused(make_stack, server, database_more='ssl_mode = "verify-full"; ssl_root_cert = "/nowhere.pem";')
    assert 'root certificate file "/nowhere.pem" does not exist' in log, log[-2000:]


def test_the_wrong_name_is_named_as_the_reason(make_stack, session_folder, authority):
    wrong = secure(session_folder, "wrong", authority[0], "database.example.org")
    try:
        log = refused(make_stack, wrong, database_more='ssl_mode = "verify-full"; '
                      f'ssl_root_cert = "{authority[0].certificate}";')
        assert 'server certificate for "database.example.org" does not match host name "localhost"' in log
        # verify-ca asks for the authority alone.
        stack = put_on(make_stack, wrong, database_more='ssl_mode = "verify-ca"; '
                       f'ssl_root_cert = "{authority[0].certificate}";')
        stack.start()
        stack.client().sign_up()
        # The same by a reload: nothing changes, and the reason is told.
        stack.write_config(database_more='ssl_mode = "verify-full"; '
                           f'ssl_root_cert = "{authority[0].certificate}";')
        answer = stack.ctl("reload", "--wait")
        assert answer.returncode == 1 and "does not match host name" in answer.stderr, answer
        stack.client().sign_up()
    finally:
        wrong.stop()


def test_the_url_has_the_last_word(make_stack, server, authority):
    stack = put_on(make_stack, server, database_more='ssl_mode = "disable";')
    server.more = f"?sslmode=verify-full&sslrootcert={authority[0].certificate}"
    try:
        stack.start()
        wait_until(lambda: stack.client().get("/health/readiness").status_code == 200, 20, "it serves")
    finally:
        stack.stop()
        server.more = ""
