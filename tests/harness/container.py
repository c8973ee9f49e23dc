"""A Dockerfile's stages as folders, and its image as a process tree, without an engine.

Each FROM is a debootstrapped tree; RUN, COPY, ENV and the like are carried out in the order
of the file, RUN in a chroot with namespaces of its own. What runs the image is `unshare`
with a fresh pid namespace, in which ENTRYPOINT and CMD are process 1, as USER.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import subprocess

from services import Process, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def instructions(path):
    """(word, rest) of each, with continued lines joined and comments left out."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"^\s*#.*\n", "", file.read(), flags=re.M)
    for line in re.sub(r"\\\n", "", text).splitlines():
        if line.strip():
            word, rest = line.split(None, 1)
            yield word.upper(), rest.strip()


def ignored(name, patterns):
    """.dockerignore's rules, as far as they are used here: names, globs and **/name."""
    parts = name.split("/")
    for pattern in patterns:
        if pattern.startswith("**/"):
            if any(fnmatch.fnmatch(part, pattern[3:]) for part in parts):
                return True
        elif any(fnmatch.fnmatch("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1)):
            return True
    return False


class Stage:
    def __init__(self, root):
        self.root = root
        self.environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.arguments, self.folder, self.user = {}, "/", "root"
        self.entrypoint, self.command, self.health, self.stop_signal = [], [], [], "SIGTERM"

    def path(self, inside):
        return os.path.join(self.root, os.path.join(self.folder, inside).lstrip("/"))


class Image:
    """Builds the last stage; `base(folder)` fills a folder with the tree of FROM."""

    def __init__(self, dockerfile, context, folder, base, arguments=None):
        self.context, self.folder, self.base = context, folder, base
        self.given, self.stages, self.names = arguments or {}, [], {}
        with open(os.path.join(context, ".dockerignore"), encoding="utf-8") as file:
            self.ignore = [line.strip() for line in file if line.strip() and not line.startswith("#")]
        for word, rest in instructions(dockerfile):
            getattr(self, "do_" + word.lower())(rest)
        self.stage = self.stages[-1]

    def do_from(self, rest):
        words = rest.split()
        assert words[0] == "debian:13-slim", rest
        stage = Stage(os.path.join(self.folder, f"stage{len(self.stages)}"))
        self.base(stage.root)
        self.stages.append(stage)
        if len(words) == 3:
            self.names[words[2]] = stage

    def do_arg(self, rest):
        name, _, default = rest.partition("=")
        self.stages[-1].arguments[name] = self.given.get(name, shlex.split(default)[0] if default else "")

    def do_env(self, rest):
        self.stages[-1].environ.update(word.split("=", 1) for word in shlex.split(rest))

    def do_workdir(self, rest):
        stage = self.stages[-1]
        stage.folder = os.path.join(stage.folder, rest)
        os.makedirs(stage.path("."), exist_ok=True)

    def do_user(self, rest):
        self.stages[-1].user = rest

    def do_entrypoint(self, rest):
        self.stages[-1].entrypoint = json.loads(rest)

    def do_cmd(self, rest):
        self.stages[-1].command = json.loads(rest)

    def do_healthcheck(self, rest):
        self.stages[-1].health = json.loads(rest[rest.index("CMD") + 3:])

    def do_stopsignal(self, rest):
        self.stages[-1].stop_signal = rest

    def do_volume(self, rest):
        assert os.path.isdir(self.stages[-1].path(rest)), f"{rest} must be in the image, with its owner"

    def do_expose(self, rest):
        assert rest.isdigit()

    def do_run(self, rest):
        stage = self.stages[-1]
        script = (f"mount -t proc proc {stage.root}/proc && mount --rbind /dev {stage.root}/dev && "
                  f'exec chroot {stage.root} /bin/sh -c "$1"')
        done = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount", "--kill-child", "sh", "-c", script, "sh",
             f"cd {shlex.quote(stage.folder)} && {rest}"],
            env={**stage.environ, **stage.arguments}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout[-3000:]}{done.stderr[-5000:]}"

    def do_copy(self, rest):
        words = rest.split()
        source_root, ignore = self.context, self.ignore
        if words[0].startswith("--from="):
            source_root, ignore = self.names[words.pop(0)[7:]].root, []
        *sources, target = words
        for source in sources:
            self.copy(source_root, source.lstrip("/"), self.stages[-1].path(target), ignore)

    @staticmethod
    def copy(root, source, target, ignore):
        """A folder's contents, or one file; as root's own, with its mode."""
        if os.path.isfile(os.path.join(root, source)):
            if target.endswith("/"):
                target += os.path.basename(source)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.join(root, source), target)
            return
        source = os.path.normpath(source)
        top = os.path.join(root, source)
        for folder, names, files in os.walk(top):
            inside = os.path.relpath(folder, root)
            names[:] = [name for name in names if not ignored(os.path.normpath(f"{inside}/{name}"), ignore)]
            for name in files:
                if ignored(os.path.normpath(f"{inside}/{name}"), ignore):
                    continue
                to = os.path.normpath(os.path.join(target, os.path.relpath(folder, top), name))
                os.makedirs(os.path.dirname(to), exist_ok=True)
                shutil.copy(os.path.join(folder, name), to, follow_symlinks=False)

    def run(self, *command, **options):
        return Container(self, command, **options)


class Container:
    """One `docker run`: its own pid, mount, IPC and host name namespaces; the network is ours."""

    def __init__(self, image, command, environ, volume=None, binds=(), read_only=False, log=None):
        stage = image.stage
        self.root, self.stage = stage.root, stage
        self.environ = {"HOME": "/data", "HOSTNAME": "container", **stage.environ, **environ}
        lines = ["set -e", "mount --make-rprivate /", f"mount --bind {self.root} {self.root}",
                 f"mount -t proc proc {self.root}/proc", f"mount --rbind /dev {self.root}/dev",
                 f"mount -t tmpfs tmpfs {self.root}/tmp", f"chmod 1777 {self.root}/tmp",
                 f"mount -t tmpfs tmpfs {self.root}/dev/shm"]
        for outside, inside in [*binds, *([(volume, "/data")] if volume else [])]:
            lines += [f"mkdir -p {self.root}{inside}", f"mount --bind {outside} {self.root}{inside}"]
        if read_only:
            lines.append(f"mount -o remount,bind,ro {self.root}")
        argv = [*stage.entrypoint, *(command or stage.command)]
        environment = [f"{name}={value}" for name, value in self.environ.items()]
        lines.append("exec " + shlex.join(["chroot", f"--userspec={stage.user}:{stage.user}", self.root, "env", "-i",
                                           "-C", stage.folder, *environment, *argv]))
        self.log = log or os.path.join(image.folder, "container.log")
        self.process = Process(["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--kill-child",
                                "sh", "-c", "\n".join(lines)], self.log)

    @property
    def pid(self):
        """Process 1, as seen from outside; None before it is forkmark."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if not children or os.readlink(f"/proc/{children[0]}/root") != self.root:
            return None
        return int(children[0])

    def exec(self, *argv, user=None, **options):
        """`docker exec`."""
        user = user or self.stage.user
        environment = [f"{name}={value}" for name, value in self.environ.items()]
        return subprocess.run(["nsenter", "-t", str(self.pid), "--pid", "--mount", "--ipc", "--uts", "chroot",
                               f"--userspec={user}:{user}", self.root, "env", "-i", *environment, *argv],
                              capture_output=True, text=True, check=False, timeout=60, **options)

    def health(self):
        return self.exec(*self.stage.health)

    def wait_healthy(self, seconds=60):
        def is_healthy():
            assert self.process.is_running(), self.process.log_text()
            return self.pid and self.health().returncode == 0
        wait_until(is_healthy, seconds, "the health check passes")

    def processes(self):
        """Inside, pid -> (parent, state, command)."""
        listing = self.exec("/bin/sh", "-c", "cd /proc && cat [0-9]*/stat").stdout
        found = {}
        for line in listing.splitlines():
            pid, rest = line.split(" ", 1)
            name, rest = rest.rsplit(") ", 1)
            state, parent = rest.split()[:2]
            found[int(pid)] = (int(parent), state, name[1:])
        return found

    def stop(self, seconds=10):
        """`docker stop`: TERM to process 1, KILL after the grace time. The exit status."""
        os.kill(self.pid, getattr(signal, self.stage.stop_signal))
        return self.process.wait(seconds)

    def end(self):
        self.process.end(signal.SIGKILL)
