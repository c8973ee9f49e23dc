"""A Redis with TLS and ACL users: it works, or what is wrong is said, everywhere the same."""

import os
import signal
import subprocess

import pytest
import redis
from certificates import Authority
from pages import article
from services import Process, wait_until
from stack import BINARY, free_port

USER = "user forkmark on >secret ~rq:* ~fm:* &* +@all -@dangerous +info"


class TlsRedis:
    """Its TLS port, its plain port, and a Unix socket for the test itself."""

    def __init__(self, folder, certificate, *lines):
        self.folder, self.lines = folder, lines
        self.port, self.plain_port = free_port(), free_port()
        self.socket = os.path.join(folder, "redis.sock")
        os.makedirs(folder, exist_ok=True)
        self.start(certificate)

    def start(self, certificate):
        config = os.path.join(self.folder, "redis.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write("\n".join([
                f"port {self.plain_port}", f"tls-port {self.port}", "bind 127.0.0.1", f"dir {self.folder}",
                'save ""', f"unixsocket {self.socket}", "unixsocketperm 777", USER, *certificate.lines(), *self.lines]) + "\n")
        self.server = Process(["redis-server", config], os.path.join(self.folder, "redis.log"))
        wait_until(self.answers, 10, "Redis answers")

    def answers(self):
        try:
            return self.connect().ping()
        except redis.exceptions.RedisError:
            assert self.server.is_running(), self.server.log_text()
            return False

    def connect(self):
        return redis.Redis(unix_socket_path=self.socket)

    def settings(self, host="localhost", user="forkmark:secret", scheme="rediss", port=None, more=""):
        return f'url = "{scheme}://{user}@{host}:{port or self.port}/0"; {more}'

    def stop(self, number=signal.SIGKILL):
        self.server.end(number)


@pytest.fixture(scope="session")
def authority(session_folder):
    return Authority(os.path.join(session_folder, "tls"))


@pytest.fixture(scope="session")
def certificates(authority):
    other = Authority(authority.folder, "stranger")
    return {
        "good": authority.sign("good", "DNS:localhost"),
        "expired": authority.sign("expired", "DNS:localhost", days=0),
        "wrong name": authority.sign("named", "DNS:redis.example.org,IP:10.1.2.3"),
        "self-signed": authority.self_signed("alone", "DNS:localhost"),
        "unknown authority": other.sign("foreign", "DNS:localhost"),
    }


@pytest.fixture
def start_redis(folder):
    started = []

    def start(certificate, *lines):
        started.append(TlsRedis(f"{folder}/redis-{len(started)}", certificate, *lines))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def check(stack):
    return subprocess.run([BINARY, "check", "--services", "--config", stack.config],
                          capture_output=True, text=True, timeout=60, check=False)


def trusts(authority):
    return f'ssl_ca_file = "{authority.path}";'


def use(stack, text):
    """Names the group `redis` of its configuration from now on."""
    class Named:
        @staticmethod
        def settings():
            return text
    stack.redis_server = Named


def is_refused(stack, *words):
    """By check, by a start: each says why, and what to do."""
    stack.write_config()
    told = check(stack)
    assert told.returncode == 1 and told.stdout == "", told
    for word in words:
        assert word in told.stderr, (word, told.stderr)
    stack.start(wait=False)
    assert stack.master.wait(30) == 1, stack.log_text()
    for word in words:
        assert word in stack.log_text(), (word, stack.log_text())
    stack.master = None


def test_a_good_one_serves(make_stack, pages, start_redis, certificates, authority):
    server = start_redis(certificates["good"])
    stack = make_stack(start=False, jobs="outbox_age = 1;")
    use(stack, server.settings(more=trusts(authority)))
    stack.start()
    assert check(stack).stderr == ""
    client = stack.client().sign_up()
    client.save(pages.put("/a", article("A", "word " * 60)))
    wait_until(lambda: stack.sql("SELECT analysis_status FROM saved_content") == [("SUCCESS",)], 30,
               "the jobs have run")
    assert all(c["user"] == "forkmark" for c in server.connect().client_list() if c["name"].startswith("forkmark"))
    assert any(c["name"].startswith("forkmark-worker") for c in server.connect().client_list())

    # Later its certificate runs out: the workers say so, and go on without Redis.
    server.stop()
    server.start(certificates["expired"])
    wait_until(lambda: "it has expired" in stack.log_text(), 20, "the log says why")
    wait_until(lambda: client.get("/health/readiness").json()["status"] == "degraded", 10, "it is degraded")
    client.save(pages.put("/b", article("B", "word " * 60)))
    server.stop()
    server.start(certificates["good"])
    wait_until(lambda: stack.sql("SELECT DISTINCT analysis_status FROM saved_content") == [("SUCCESS",)], 60,
               "the other one, too")


def test_certificates_that_will_not_do(make_stack, start_redis, certificates, authority):
    stack = make_stack(start=False)
    trust = trusts(authority)
    for name, words in {
        "expired": ("it has expired, on 20", "renew it"),
        "wrong name": ("it is for redis.example.org, 10.1.2.3, not for `localhost`", "redis.ssl_name"),
        "self-signed": ("it is self-signed", "redis.ssl_ca_file"),
        "unknown authority": ("authority unknown here (stranger)", "redis.ssl_ca_file"),
    }.items():
        server = start_redis(certificates[name])
        use(stack, server.settings(more=trust))
        is_refused(stack, "redis.url: its certificate is refused: ", *words)
        use(stack, server.settings(more=trust + "allow_unverified_ssl = true;"))
        stack.write_config()
        assert check(stack).returncode == 0
    use(stack, server.settings(more='ssl_ca_file = "/nowhere.pem";'))
    is_refused(stack, "redis.ssl_ca_file: `/nowhere.pem` cannot be used: No such file")

    # Each named in the way it asks for.
    server = start_redis(certificates["wrong name"])
    use(stack, server.settings(more=trust + 'ssl_name = "redis.example.org";'))
    stack.write_config()
    assert check(stack).stderr == ""
    server = start_redis(certificates["self-signed"])
    use(stack, server.settings(more=f'ssl_ca_file = "{certificates["self-signed"].path}";'))
    stack.write_config()
    assert check(stack).stderr == ""
    server = start_redis(certificates["good"], "tls-auth-clients yes")
    use(stack, server.settings(more=trust))
    is_refused(stack, "asks for a certificate of the client", "redis.ssl_certificate")
    own = certificates["expired"].path.replace("expired", "good")
    use(stack, server.settings(more=trust + f'ssl_certificate = "{own}"; ssl_key = "{own[:-3]}key";'))
    stack.write_config()
    assert check(stack).stderr == ""


def test_ports_and_users_that_will_not_do(make_stack, start_redis, certificates, authority):
    stack = make_stack(start=False)
    trust = trusts(authority)
    server = start_redis(certificates["good"], "user weak on >secret ~rq:* &* +@all -zadd",
                         "user mute on >secret ~* &* -@all +ping", "user nochannels on >secret ~* +@all")
    for settings, words in (
        (dict(port=server.plain_port), ("speaks no TLS on this port", "redis://")),
        (dict(scheme="redis"), ("speaks TLS on this port", "rediss://")),
        (dict(user="forkmark:wrong"), ("AUTH refused: WRONGPASS", "redis.password")),
        (dict(user="nobody:secret"), ("AUTH refused: WRONGPASS", "redis.user")),
        (dict(user="weak:secret"), ("may not: zadd on rq:", "on fm:", "ACL SETUSER")),
        (dict(user="mute:secret"), ("may not: eval", "ACL SETUSER")),
        (dict(user="nochannels:secret"), ("may not: publish to rq:*", "&*")),
    ):
        use(stack, server.settings(more=trust + 'connect_timeout = 1;', **settings))
        is_refused(stack, "redis.url: ", *words)


def test_a_cluster_is_no_queue(make_stack, pages, start_redis, certificates, redis_server):
    server = start_redis(certificates["good"], "cluster-enabled yes", f"cluster-port {free_port()}")
    stack = make_stack(start=False)
    use(stack, f'url = "unix://{server.socket}";')
    is_refused(stack, "redis.url: ", "is in cluster mode", "redis.queue.sentinels", "redis.cache.cluster")

    # A reload is refused with the same words, and nothing changes; then one that is good
    # moves the queue without a restart.
    use(stack, redis_server.settings())
    stack.start()
    before = stack.children()
    for settings, words in ((f'url = "unix://{server.socket}";', "is in cluster mode"),
                            (server.settings(user="forkmark:wrong", scheme="redis", port=server.plain_port),
                             "WRONGPASS")):
        use(stack, settings)
        stack.write_config()
        told = stack.ctl("reload", "--wait")
        assert told.returncode == 1 and "redis.url: " in told.stderr and words in told.stderr, told
        assert stack.children() == before
    other = start_redis(certificates["good"])
    use(stack, other.settings(scheme="redis", port=other.plain_port))
    stack.write_config()
    told = stack.ctl("reload", "--wait")
    assert told.returncode == 0 and "secret" not in told.stdout, told
    client = stack.client().sign_up()
    client.save(pages.put("/a", article("A", "word " * 60)))
    wait_until(lambda: other.connect().exists("rq:workers"), 10, "consumers are there")
    wait_until(lambda: stack.sql("SELECT scrape_status FROM saved_content") == [("SUCCESS",)], 30, "the job ran")
    assert not stack.children() .items() & before.items()
