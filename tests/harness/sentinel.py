"""A Redis master with replicas, watched by sentinels: real servers on loopback.

Stands in for services.Redis: connect() goes to whoever is the master now.
"""

import os
import signal
import time

import redis

from services import Process, wait_until
from stack import free_port

NAME = "forkmark"
DOWN_AFTER_MS = 1000


class Node:
    """One redis-server, or one sentinel, by its port; its configuration file is its own."""

    def __init__(self, folder, lines, *arguments, tls=None):
        self.port, self.tls = free_port(), tls
        self.folder = os.path.join(folder, str(self.port))
        os.makedirs(self.folder)
        self.arguments = arguments
        self.config = os.path.join(self.folder, "redis.conf")
        ports = ["port 0", f"tls-port {self.port}", *tls.lines()] if tls else [f"port {self.port}"]
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join([*ports, "bind 127.0.0.1", f"dir {self.folder}", 'save ""',
                                  "appendonly no", "repl-diskless-sync-delay 0", *lines]) + "\n")
        self.server = None

    def start(self):
        self.server = Process(["redis-server", self.config, *self.arguments],
                              os.path.join(self.folder, "log"))

    def connect(self, **options):
        if self.tls:
            options = {"ssl": True, "ssl_ca_certs": self.tls.authority, **options}
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, **options)

    def is_running(self):
        return self.server is not None and self.server.is_running()


class Sentinels:
    def __init__(self, folder, replicas=2, sentinels=3, password=None, user=None,
                 sentinel_password=None, tls=None):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.user, self.password, self.sentinel_password = user, password, sentinel_password
        self.tls = tls
        more = ["tls-replication yes"] if tls else []
        if password:
            more += [f"requirepass {password}", f"masterauth {password}"]
        if user:
            more += [f"user {user} on >{password} ~* &* +@all"]
        self.nodes = [Node(folder, more, tls=tls) for _ in range(replicas + 1)]
        first = self.nodes[0]
        for node in self.nodes[1:]:
            with open(node.config, "a", encoding="utf-8") as file:
                file.write(f"replicaof 127.0.0.1 {first.port}\n")
        for node in self.nodes:
            node.start()
        self.wait_for_replicas(first, replicas)
        lines = [f"sentinel monitor {NAME} 127.0.0.1 {first.port} {sentinels // 2 + 1}",
                 f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
                 f"sentinel failover-timeout {NAME} 5000", f"sentinel parallel-syncs {NAME} 2"]
        if password:
            lines += [f"sentinel auth-pass {NAME} {password}"]
        if sentinel_password:
            lines += [f"requirepass {sentinel_password}"]
        if tls:
            lines += ["tls-replication yes"]
        self.sentinels = [Node(folder, lines, "--sentinel", tls=tls) for _ in range(sentinels)]
        for node in self.sentinels:
            node.start()
        wait_until(self.is_complete, 30, "the sentinels know each other and the replicas")

    def wait_for_replicas(self, master, count):
        def has_all():
            try:
                info = self.connect_to(master).info("replication")
            except redis.exceptions.RedisError:
                assert master.is_running(), master.server.log_text()
                return False
            return [info.get(f"slave{n}", {}).get("state") for n in range(count)] == ["online"] * count
        wait_until(has_all, 30, "all replicas follow")

    def connect_to(self, node, **options):
        return node.connect(password=self.password, **options)

    def is_complete(self):
        for node in self.sentinels:
            try:
                state = self.ask(node, "MASTER", NAME)
            except redis.exceptions.RedisError:
                assert node.is_running(), node.server.log_text()
                return False
            if int(state["num-other-sentinels"]) != len(self.sentinels) - 1 or \
                    int(state["num-slaves"]) != len(self.nodes) - 1 or state["flags"] != "master":
                return False
        return True

    def ask(self, node, *words):
        with node.connect(password=self.sentinel_password, decode_responses=True) as client:
            answer = client.execute_command("SENTINEL", *words)
        return dict(zip(answer[::2], answer[1::2])) if isinstance(answer, list) and len(answer) > 2 else answer

    def master(self):
        """The node that calls itself master and whom most sentinels name."""
        named = []
        for node in self.sentinels:
            try:
                named.append(int(self.ask(node, "get-master-addr-by-name", NAME)[1]))
            except redis.exceptions.RedisError:
                pass
        port = max(set(named), key=named.count) if named else None
        return next((node for node in self.nodes if node.port == port), None)

    def others(self):
        master = self.master()
        return [node for node in self.nodes if node is not master]

    def wait_for_another(self, old, seconds=40):
        """Until all agree on another master, which takes writes; that one."""
        def is_there():
            master = self.master()
            try:
                return master not in (None, old) and \
                    self.connect_to(master).execute_command("ROLE")[0] == b"master" and master
            except redis.exceptions.RedisError:
                return False
        return wait_until(is_there, seconds, "another master")

    def restore(self):
        """Whoever was killed or stopped is back and follows."""
        for node in [*self.nodes, *self.sentinels]:
            if node.is_running():
                node.server.signal(signal.SIGCONT)
            else:
                node.start()
        wait_until(self.is_complete, 60, "all are back")
        master = self.master()
        self.wait_for_replicas(master, len(self.nodes) - 1)
        return master

    def kill_master(self):
        old = self.master()
        old.server.end(signal.SIGKILL)
        return old

    def order_failover(self):
        """As an operator does it before maintenance. The sentinels refuse while the last
        one is fresh."""
        old = self.master()
        end = time.monotonic() + 30
        while True:
            try:
                self.ask(self.sentinels[0], "FAILOVER", NAME)
                return old
            except redis.exceptions.ResponseError:
                assert time.monotonic() < end
                time.sleep(0.2)

    # As services.Redis:

    def connect(self, **options):
        return self.connect_to(self.master(), **options)

    def places(self):
        return ", ".join(f'"127.0.0.1:{node.port}"' for node in self.sentinels)

    def settings(self):
        """The group `redis` of a configuration file."""
        text = f'queue: {{ sentinels = [ {self.places()} ]; master = "{NAME}";'
        if self.sentinel_password:
            text += f' sentinel_password = "{self.sentinel_password}";'
        if self.tls:
            text += " sentinel_ssl = true;"
        text += " };"
        if self.user:
            text += f' user = "{self.user}";'
        if self.password:
            text += f' password = "{self.password}";'
        if self.tls:
            text += f' ssl = true; ssl_ca_file = "{self.tls.authority}";'
        return text

    def stop(self):
        for node in [*self.sentinels, *self.nodes]:
            if node.is_running():
                node.server.signal(signal.SIGCONT)
                node.server.end(signal.SIGKILL)
