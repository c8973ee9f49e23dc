"""The RQs that judge us: Debian 12's (1.13) and Debian 13's (2.3.3).

One is installed. The other's package is pure Python and runs here, too: apt fetches it
from the mirror it is configured with, checks it with Debian's own keyring, and it is
unpacked into a cache folder. Nothing is installed, and apt's own state stays as it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile

RELEASES = {"1.13": "bookworm", "2.3.3": "trixie"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                     "forkmark-tests")
_found = {}


class Missing(Exception):
    """Why that version cannot be had here."""


def run(*command, seconds=60, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False,
                          **options)


def environment(folder):
    """What a Python needs to import `rq` from there; "" is the installed one."""
    return {**os.environ, "PYTHONPATH": folder} if folder else dict(os.environ)


def version_in(folder):
    """The RQ that a Python finds with this folder, or why it finds none."""
    shown = run(sys.executable, "-W", "ignore", "-c",
                "import rq; from rq import Queue, Worker; from rq.cli import cli; "
                "print(getattr(rq, 'VERSION', None) or rq.__version__)",
                env=environment(folder))
    return shown.stdout.strip() or (shown.stderr.strip().splitlines() or ["nothing"])[-1]


def mirror():
    """Where this machine's apt takes its own Debian release from."""
    with open("/etc/os-release", encoding="utf-8") as file:
        release = dict(line.strip().split("=", 1) for line in file if "=" in line)
    own = release.get("VERSION_CODENAME", "").strip('"')
    targets = run("apt-get", "indextargets", "--format",
                  "$(CREATED_BY)|$(RELEASE)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)").stdout
    for line in targets.splitlines():
        kind, suite, codename, component, address = line.split("|")
        if kind == "Packages" and component == "main" and own and own in (suite, codename):
            return address
    raise Missing("apt has no source of this Debian release")


def fetch(release, folder):
    """Unpacks that release's python3-rq into the folder."""
    for tool in ("apt-get", "apt-config", "dpkg-deb"):
        if not shutil.which(tool):
            raise Missing(f"there is no {tool} here")
    if not os.path.exists(KEYRING):
        raise Missing(f"there is no {KEYRING} to check packages with")
    with tempfile.TemporaryDirectory(prefix="fm-apt-") as work:
        for part in ("state/lists/partial", "cache/archives/partial", "new"):
            os.makedirs(os.path.join(work, part))
        with open(os.path.join(work, "status"), "w", encoding="utf-8"):
            pass
        with open(os.path.join(work, "sources.list"), "w", encoding="utf-8") as file:
            file.write(f"deb [signed-by={KEYRING}] {mirror()} {release} main\n")
        # How this machine reaches its mirror is kept, its hooks are not.
        how = [line for line in run("apt-config", "dump").stdout.splitlines()
               if line.startswith("Acquire::")]
        with open(os.path.join(work, "apt.conf"), "w", encoding="utf-8") as file:
            file.write("\n".join([
                # Without what is installed, which may be newer: apt would rather have that.
                f'Dir::State::Status "{work}/status";',
                *how, f'Dir::State "{work}/state";', f'Dir::Cache "{work}/cache";',
                f'Dir::Etc::SourceList "{work}/sources.list";', 'Dir::Etc::SourceParts "/dev/null";',
                'Dir::Etc::Parts "/dev/null";', 'Dir::Etc::Main "/dev/null";',
                # As root, apt would fetch as a user that cannot write here.
                'APT::Sandbox::User "root";', 'Acquire::Languages "none";',
                'Acquire::Retries "2";', 'Acquire::http::Timeout "30";', ""]))
        apt = {**os.environ, "APT_CONFIG": os.path.join(work, "apt.conf"), "LC_ALL": "C"}
        for words in (["update"], ["download", "python3-rq"]):
            done = run("apt-get", "-q", *words, env=apt, cwd=os.path.join(work, "new"), seconds=240)
            if done.returncode != 0:
                raise Missing(f"apt-get {words[0]} failed: {done.stderr.strip()[-200:]}")
        [package] = os.listdir(os.path.join(work, "new"))
        unpacked = os.path.join(work, "unpacked")
        done = run("dpkg-deb", "-x", os.path.join(work, "new", package), unpacked)
        if done.returncode != 0:
            raise Missing(f"{package} cannot be unpacked: {done.stderr.strip()}")
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        # In one step, so that an interrupted run leaves no half of it.
        half = tempfile.mkdtemp(dir=os.path.dirname(folder))
        shutil.move(os.path.join(unpacked, "usr/lib/python3/dist-packages"),
                    os.path.join(half, "rq"))
        try:
            os.rename(os.path.join(half, "rq"), folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)


def look_for(version):
    if version_in("") == version or version_in("").startswith(version + "."):
        return ""
    folder = os.path.join(CACHE, f"python3-rq-{RELEASES[version]}")
    if not os.path.isdir(folder):
        try:
            fetch(RELEASES[version], folder)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise Missing(str(error)) from error
    found = version_in(folder)
    if not found.startswith(version):
        raise Missing(f"it does not run on this Python: {found}")
    return folder


def folder_of(version):
    """The folder to put on PYTHONPATH; Missing says why there is none. Looked for once."""
    if version not in _found:
        try:
            _found[version] = look_for(version)
        except Missing as reason:
            _found[version] = reason
    if isinstance(_found[version], Missing):
        raise _found[version]
    return _found[version]
