"""All of docker/compose.scale.yaml without containers: the same files, on loopback.

Two forkmark servers behind nginx, a PostgreSQL primary with two replicas behind PgBouncer,
a Redis Cluster of six nodes for the cache, and a queue of two Redis that three sentinels
watch. The files in docker/scale name addresses of 192.0.2.0/24; here a network of
127.0.0.0/8, drawn by lot, stands in its place, so that every server has an address and
its usual port of its own, and two of these topologies do not meet.
"""

import concurrent.futures
import contextlib
import glob
import os
import pwd
import random
import shutil
import socket
import subprocess
import time
from signal import SIGINT, SIGKILL, SIGTERM

import psycopg2
import redis
import yaml

from balancer import Nginx, substituted
from services import Process, unprivileged, wait_until
from stack import BINARY, ROOT

SCALE = "docker/scale"
PASSWORD = "forkmark"  # docker/scale/userlist.txt
SECRETS = {"SECRET_KEY": "topology-secret-key", "JWT_SECRET_KEY": "topology-jwt-secret"}
MASTER = "forkmark"  # the queue's name among the sentinels


class Member:
    """One server program: started, killed, started again by its name."""

    def __init__(self, name, address, port, command, folder, **popen):
        self.name, self.address, self.port = name, address, port
        self.command, self.folder, self.popen = command, folder, popen
        self.process = None

    def start(self):
        self.process = Process(self.command, os.path.join(self.folder, f"{self.name}.log"), **self.popen)
        return self

    def is_running(self):
        return self.process is not None and self.process.is_running()

    def listens(self):
        assert self.is_running(), f"{self.name}: {self.process.log_text()[-3000:]}"
        try:
            socket.create_connection((self.address, self.port), 1).close()
            return True
        except OSError:
            return False

    def kill(self, number=SIGKILL):
        self.process.end(number, seconds=40)

    def log_text(self):
        return self.process.log_text()


class Topology:
    def __init__(self, folder, binary=BINARY, sets=()):
        """`sets`: "key=value" over docker/scale/forkmark.conf, on both servers."""
        self.folder, self.binary, self.sets = str(folder), binary, list(sets)
        os.chmod(self.folder, 0o755)
        self.network = f"127.{random.randrange(64, 127)}.{random.randrange(1, 255)}."
        self.members = {}
        self.nginx = None
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.pg_bin = found[-1] if found else os.path.dirname(shutil.which("postgres") or "")

    def at(self, number):
        return f"{self.network}{number}"

    def file(self, name, *changes):
        """That file of docker/scale with this network's addresses; its path."""
        text = substituted(f"{SCALE}/{name}", changes).replace("192.0.2.", self.network)
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def own_folder(self, name, account=None):
        path = os.path.join(self.folder, name)
        os.makedirs(path, exist_ok=True)
        if account and os.geteuid() == 0:
            entry = pwd.getpwnam(account)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def add(self, name, number, port, command, **popen):
        member = Member(name, self.at(number), port, command, self.folder, **popen)
        self.members[name] = member
        return member

    def __getitem__(self, name):
        return self.members[name]

    # ---- PostgreSQL ----

    def prepare_postgres(self):
        hba = self.file("pg_hba.conf")
        self.pg_config = self.file("postgresql.conf", ("/etc/forkmark/pg_hba.conf", hba))
        # Nothing here outlives the machine: what the disk has is no matter.
        self.pg_options = ["-c", f"config_file={self.pg_config}", "-c", "fsync=off", "-c", "shared_buffers=64MB"]

    def start_primary(self):
        data = self.own_folder("primary", "postgres")
        sockets = self.own_folder("s", "postgres")
        subprocess.run(unprivileged([f"{self.pg_bin}/initdb", "-D", data, "-U", "forkmark", "--auth=trust",
                                     "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]),
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        member = self.add("primary", 21, 5432, unprivileged(
            [f"{self.pg_bin}/postgres", "-D", data, *self.pg_options, "-k", sockets,
             "-c", f"listen_addresses={self.at(21)}"]), cwd="/")
        member.start()
        # As the image does at its first start: by the socket, a user with a password.
        wait_until(lambda: self.try_connect(sockets, "postgres"), 30, "the primary answers")
        with contextlib.closing(self.try_connect(sockets, "postgres")) as connection:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER USER forkmark PASSWORD '{PASSWORD}'")
                cursor.execute("CREATE DATABASE forkmark")

    @staticmethod
    def try_connect(host, database):
        try:
            connection = psycopg2.connect(host=host, port=5432, user="forkmark", password=PASSWORD,
                                          dbname=database, connect_timeout=5)
            connection.autocommit = True
            return connection
        except psycopg2.OperationalError:
            return None

    def start_replica(self, number):
        name = f"replica{number}"
        environment = {"PATH": f"{self.pg_bin}:{os.environ['PATH']}", "PRIMARY": self.at(21),
                       "PGPASSWORD": PASSWORD, "PGDATA": self.own_folder(name, "postgres"), "LC_ALL": "C.UTF-8"}
        # A copy: whoever owns no files here may not read the checkout.
        self.add(name, 21 + number, 5432, unprivileged(
            ["sh", self.file("replica.sh"), *self.pg_options, "-k", "",
             "-c", f"listen_addresses={self.at(21 + number)}"]), cwd="/", env=environment).start()

    def start_pgbouncer(self):
        users = self.file("userlist.txt")
        config = self.file("pgbouncer.ini", ("/etc/pgbouncer/userlist.txt", users))
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        self.add("pgbouncer", 31, 6432, unprivileged([program, config]), cwd="/").start()

    def sql(self, statement, *arguments, server="primary"):
        connection = psycopg2.connect(host=self[server].address, port=5432, user="forkmark",
                                      password=PASSWORD, dbname="forkmark", connect_timeout=5)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchall() if cursor.description else cursor.rowcount
        finally:
            connection.close()

    # ---- Redis ----

    def start_redis(self, name, number, config, *more):
        folder = self.own_folder(name)
        return self.add(name, number, 6379, ["redis-server", config, "--bind", self.at(number), "--dir", folder,
                                             *more]).start()

    def start_cache(self):
        config = self.file("redis-cache.conf")
        for n in range(1, 7):
            self.start_redis(f"cache{n}", 40 + n, config, "--cluster-announce-ip", self.at(40 + n))
        subprocess.run(["sh", f"{ROOT}/{SCALE}/make-cluster.sh", *(f"{self.at(40 + n)}:6379" for n in range(1, 7))],
                       check=True, stdout=subprocess.DEVNULL, timeout=90)

    def composed(self, name, port):
        """A member started by the very command, files and environment of the compose file."""
        with open(os.path.join(ROOT, "docker/compose.scale.yaml"), encoding="utf-8") as file:
            service = yaml.safe_load(file)["services"][name]
        places = {}
        for volume in service["volumes"]:
            source, target = volume.split(":")[:2]
            places[target] = self.file(os.path.basename(source)) if source.startswith("./scale/") \
                else self.own_folder(name)

        def here(word):
            for target, path in places.items():
                if word == target or word.startswith(f"{target}/"):
                    return path + word[len(target):]
            return word.replace("192.0.2.", self.network)
        number = int(service["networks"]["scale"]["ipv4_address"].rsplit(".", 1)[1])
        command = [here(word) for word in [*service["entrypoint"], *service["command"]]]
        environment = {key: here(value) for key, value in service.get("environment", {}).items()}
        return self.add(name, number, port, [*command, "--bind", self.at(number), "--dir", places["/data"]],
                        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment}).start()

    def start_queue(self):
        for n in (1, 2):
            self.composed(f"queue{n}", 6379)
        wait_until(lambda: self.is_in_step("queue2"), 30, "the queue's replica follows")
        for n in range(1, 4):
            self.composed(f"sentinel{n}", 26379)
        for n in range(1, 4):
            wait_until(lambda n=n: self.knows_the_others(n), 30, "the sentinels know each other")

    def redis(self, name):
        member = self[name]
        return redis.Redis(host=member.address, port=member.port, socket_timeout=5, decode_responses=True)

    def is_in_step(self, name):
        try:
            return self.redis(name).info("replication").get("master_link_status") == "up"
        except redis.exceptions.RedisError:
            return False

    def knows_the_others(self, n):
        try:
            state = self.redis(f"sentinel{n}").execute_command("SENTINEL", "MASTER", MASTER)
            # As a list, or a dictionary where the client makes one of it.
            state = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2]))
            return int(state["num-other-sentinels"]) == 2 and int(state["num-slaves"]) == 1
        except (redis.exceptions.RedisError, KeyError):
            return False

    def queue_master(self):
        """The member that the sentinels call the queue's master; None: they disagree."""
        seen = set()
        for n in range(1, 4):
            if self[f"sentinel{n}"].is_running():
                seen.add(self.redis(f"sentinel{n}").execute_command(
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[0])
        names = [member.name for member in self.members.values() if member.address in seen]
        return self[names[0]] if len(names) == 1 else None

    def cache_masters(self):
        """Members that are masters of the cache's cluster now."""
        return [self[f"cache{n}"] for n in range(1, 7) if self[f"cache{n}"].is_running()
                and self.redis(f"cache{n}").info("replication")["role"] == "master"]

    def cache_is_whole(self):
        for n in range(1, 7):
            if not self[f"cache{n}"].is_running():
                continue
            info = self.redis(f"cache{n}").execute_command("CLUSTER", "INFO")
            text = info if isinstance(info, str) else "".join(f"{k}:{v}\n" for k, v in info.items())
            if "cluster_state:ok" not in text or "cluster_slots_ok:16384" not in text:
                return False
        return True

    # ---- forkmark, and what is in front of it ----

    def start_forkmark(self, n):
        name = f"forkmark{n}"
        folder = self.own_folder(name)
        # On loopback nginx comes from here, wherever it listens.
        config = self.file("forkmark.conf", ('"192.0.2.1"', '"127.0.0.1"'))
        sets = [f"server.control={folder}/control", *self.sets]
        command = [self.binary, "serve", "--config", config]
        for each in sets:
            command += ["--set", each]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ENVIRONMENT": "production",
                       "FORKMARK_ADDRESS": self.at(10 + n), "DATABASE_PASSWORD": PASSWORD, **SECRETS}
        for variable in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if variable in os.environ:
                environment[variable] = os.environ[variable]
        self.add(name, 10 + n, 7860, command, env=environment).start()

    def wait_forkmark(self, n, since=0):
        member = self[f"forkmark{n}"]

        def is_ready():
            assert member.is_running(), member.log_text()[-5000:]
            return "ready: http" in member.log_text()[since:]
        wait_until(is_ready, 60, f"{member.name} is ready")

    def ctl(self, n, *arguments):
        return subprocess.run([self.binary, "ctl", "--socket", f"{self.folder}/forkmark{n}/control", *arguments],
                              capture_output=True, text=True, timeout=60, check=False)

    def start(self):
        self.prepare_postgres()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            parts = [pool.submit(self.start_database), pool.submit(self.start_cache), pool.submit(self.start_queue)]
            for part in parts:
                part.result()
        for n in (1, 2):
            self.start_forkmark(n)
        for n in (1, 2):
            self.wait_forkmark(n)
        self.nginx = Nginx(os.path.join(self.folder, "nginx"), [f"{self.at(10 + n)}:7860" for n in (1, 2)]).start()
        return self

    def replica_answers(self, number):
        member = self[f"replica{number}"]
        assert member.is_running(), member.log_text()[-5000:]
        return self.try_connect(member.address, "forkmark")

    def start_database(self):
        self.start_primary()
        for n in (1, 2):
            self.start_replica(n)
        for n in (1, 2):
            wait_until(lambda n=n: self.replica_answers(n), 60, f"replica{n} answers")
        self.start_pgbouncer()
        wait_until(self["pgbouncer"].listens, 20, "PgBouncer answers")

    def stop(self):
        if self.nginx:
            self.nginx.stop()
        order = [name for name in self.members if name.startswith("forkmark")]
        for name in order:  # at once, then each is waited for
            if self[name].is_running():
                self[name].process.signal(SIGTERM)
        order += [name for name in self.members if name not in order]
        for name in order:
            member = self[name]
            if member.is_running():
                number = SIGINT if name.startswith(("primary", "replica")) else SIGTERM
                member.process.end(number, seconds=40)

    def again(self, name):
        """A member that was killed is started again, as it was."""
        member = self[name]
        if name.startswith("replica") or name == "primary":  # what a killed one leaves behind
            for left in glob.glob(os.path.join(self.folder, name, "postmaster.pid")):
                os.unlink(left)
        since = len(member.log_text())
        member.start()
        if name.startswith("forkmark"):
            self.wait_forkmark(int(name[-1]), since)
        else:
            wait_until(member.listens, 60, f"{name} is back")
        return time.monotonic()
