"""A primary with streaming replicas, each a PostgreSQL server of its own, and their failures."""

import glob
import os
import pwd
import shutil
import subprocess
from contextlib import closing
from signal import SIGQUIT

import psycopg2

from services import Postgres, unprivileged, wait_until


class Replica(Postgres):
    """A hot standby, made by pg_basebackup."""

    def __init__(self, folder, primary, options=()):  # not Postgres': no cluster of its own is made
        self.folder, self.data = folder, os.path.join(folder, "pg")
        self.durable, self.server = False, None
        self.options = (*primary.options, *options)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        self.bin = found[-1] if found else os.path.dirname(shutil.which("postgres") or "")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        subprocess.run(
            unprivileged([f"{self.bin}/pg_basebackup", "-D", self.data, "-R", "-X", "stream",
                          "-c", "fast", "--no-sync", "-d",
                          f"host={primary.folder} user=forkmark dbname=postgres"]),
            check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.start()

    def position(self):
        """How far it has replayed."""
        return self.ask("SELECT pg_last_wal_replay_lsn() - '0/0'")

    def pause(self):
        self.ask("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.ask("SELECT pg_get_wal_replay_pause_state()") == "paused", 10,
                   "replay is paused")

    def resume(self):
        self.ask("SELECT pg_wal_replay_resume()")

    def promote(self):
        assert self.ask("SELECT pg_promote(true, 30)")

    def follow(self, other):
        self.ask(f"ALTER SYSTEM SET primary_conninfo = 'host={other.folder} user=forkmark'")
        self.ask("SELECT pg_reload_conf()")


class Cluster:
    """Stands in for the one PostgreSQL of a stack."""

    def __init__(self, folder, count=2, source=None, options=()):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        self.primary = Postgres(os.path.join(folder, "0"), options=(
            "-c", "wal_retrieve_retry_interval=100ms",
            # Many such servers stand on one disk, which has to be cleared away afterwards.
            "-c", "min_wal_size=4MB", "-c", "max_wal_size=16MB", "-c", "wal_keep_size=8MB", *options),
            initdb=("--wal-segsize=1",))
        self.hosts = None  # those in the URL; None: the primary alone
        self.replicas, self.made = [], 1
        if source:
            self.copy(*source)
        for _ in range(count):
            self.add()

    def copy(self, postgres, template):
        """The migrated database, as every test has it."""
        self.primary.create("migrated")
        dump = subprocess.run(
            [f"{postgres.bin}/pg_dump", "-h", postgres.folder, "-U", "forkmark", template],
            check=True, capture_output=True)
        subprocess.run([f"{postgres.bin}/psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.primary.folder,
                        "-U", "forkmark", "migrated"], input=dump.stdout, check=True,
                       stdout=subprocess.DEVNULL)

    def add(self, *options):
        replica = Replica(os.path.join(self.folder, str(self.made)), self.primary, options)
        self.made += 1
        self.replicas.append(replica)
        return replica

    def create(self, database, template):
        self.primary.create(database, template)

    def drop(self, database):
        self.primary.ask(f'DROP DATABASE "{database}" WITH (FORCE)')

    def connect(self, database):
        return self.primary.connect(database)

    def url(self, database):
        hosts = self.hosts or [self.primary]
        return f"postgresql://forkmark@/{database}?host=" + ",".join(host.folder for host in hosts)

    def option(self, database, replicas=None):
        """For a stack's `database_more`."""
        urls = ", ".join(f'"{replica.url(database)}"' for replica in
                         (self.replicas if replicas is None else replicas))
        return f"replicas = [ {urls} ];"

    def caught_up(self, seconds=20):
        """Waits until the replicas have all there is."""
        now = self.primary.ask("SELECT pg_current_wal_lsn() - '0/0'")
        for replica in self.replicas:
            if replica.server.is_running():
                wait_until(lambda replica=replica: replica.position() >= now, seconds, "a replica follows")

    def transactions(self, server, database):
        """(reads' commits, rows written) of a server's database so far."""
        with closing(psycopg2.connect(host=server.folder, user="forkmark", dbname="postgres")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT xact_commit, tup_inserted + tup_updated + tup_deleted "
                               "FROM pg_stat_database WHERE datname = %s", (database,))
                return cursor.fetchone()

    def pids(self, server):
        """Its processes: the one that was started, and its children."""
        listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.server.pid)],
                                 capture_output=True, text=True, check=False).stdout
        return [server.server.pid, *map(int, listing.split())]

    def stop(self):
        for server in [*self.replicas, self.primary]:
            if server.server.is_running():
                server.stop(SIGQUIT)
