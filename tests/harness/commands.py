"""`forkmark jobs` as an operator calls it."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

from stack import BINARY


def environment(**changes):
    return {"PATH": os.environ["PATH"],
            **{name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
               if name in os.environ}, **changes}


class Jobs:
    """Calls the commands of one stack."""

    def __init__(self, stack):
        self.stack = stack

    def command(self, *arguments):
        return [BINARY, "jobs", "--config", self.stack.config, *arguments]

    def call(self, *arguments, status=0, **options):
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True,
                              timeout=60, check=False, env=environment(), **options)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done

    def text(self, *arguments, **options):
        return self.call(*arguments, **options).stdout

    def json(self, *arguments, **options):
        return json.loads(self.text(*arguments, "--json", **options))

    def enqueue(self, *arguments):
        return self.json("enqueue", *arguments)["id"]

    def on_terminal(self, *arguments, seconds=None, rows=40, columns=120, **variables):
        """What it writes to a terminal; None: until it ends by itself."""
        command, variables = self.command(*arguments), environment(**{"TERM": "xterm", **variables})
        pid, fd = pty.fork()
        if pid == 0:
            try:
                os.execve(BINARY, command, variables)
            finally:
                os._exit(127)
        set_size(fd, rows, columns)
        text, end = b"", time.monotonic() + (seconds or 60)
        try:
            while time.monotonic() < end:
                if not select.select([fd], [], [], 0.1)[0]:
                    continue
                part = os.read(fd, 65536)
                if not part:
                    break
                text += part
        except OSError:  # Linux says so when the other side is closed
            pass
        if seconds:
            os.kill(pid, signal.SIGINT)
        os.waitpid(pid, 0)
        os.close(fd)
        return text.decode()


def set_size(fd, rows, columns):
    import fcntl
    import struct
    import termios
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def table(text, first):
    """The rows of the table whose first title is `first`, by title: cut where the columns
    are, so a cell out of line is a wrong cell."""
    lines = text.splitlines()
    [head] = [number for number, line in enumerate(lines) if re.match(rf"{first}\s", line)]
    titles = [(match.group(), match.start(), match.end())
              for match in re.finditer(r"\S+(?: \S+)*", lines[head])]
    rows = []
    for line in lines[head + 1:]:
        if not line.strip():
            break
        cells = [(match.group(), match.start(), match.end())
                 for match in re.finditer(r"\S+(?: \S+)*", line)]
        row = {}
        for cell, start, end in cells:
            # Texts begin where their title does, numbers end there; the last is free.
            name = [title for title, left, right in titles if start == left or end == right]
            row[name[0] if name else titles[-1][0]] = cell
        rows.append(row)
    return rows
