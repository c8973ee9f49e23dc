"""A private PgBouncer in front of a test's PostgreSQL, in transaction mode.

A server connection belongs to a client for one transaction only, so whatever a client
leaves on it (a prepared statement, a setting, an advisory lock) is the next one's.
"""

import os
import shutil

import psycopg2

from services import Process, unprivileged, wait_until

BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

# Far fewer server connections than clients: every transaction lands on another one. And
# who waits for a server that is away is told so soon, as README advises.
CONFIG = """
[databases]
* = host={postgres} user=forkmark

[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 300
query_wait_timeout = 2
server_connect_timeout = 2
server_login_retry = 1
{more}
"""


class PgBouncer:
    def __init__(self, folder, postgres, more=""):
        self.folder, self.postgres = folder, postgres
        os.makedirs(folder, exist_ok=True)
        self.config = os.path.join(folder, "pgbouncer.ini")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(folder=folder, postgres=postgres.folder, more=more))
        os.chmod(folder, 0o777)
        os.chmod(self.config, 0o644)
        self.start()

    def start(self):
        self.server = Process(unprivileged([BINARY, self.config]),
                              os.path.join(self.folder, "pgbouncer.log"), cwd="/")
        wait_until(self.answers, 20, "PgBouncer answers")

    def answers(self):
        try:
            self.connect("pgbouncer").close()
            return True
        except psycopg2.OperationalError:
            assert self.server.is_running(), self.server.log_text()
            return False

    def connect(self, database):
        connection = psycopg2.connect(host=self.folder, port=6432, user="forkmark",
                                      dbname=database)
        connection.autocommit = True
        return connection

    def url(self, database):
        return f"postgresql://forkmark@/{database}?host={self.folder}&port=6432"

    def stop(self):
        self.server.end()
