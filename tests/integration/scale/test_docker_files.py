"""Compose files and the Space: what they name is there, and forkmark takes it."""

import os
import subprocess

import yaml

from stack import BINARY, ROOT

SECRETS = {"SECRET_KEY": "x" * 32, "JWT_SECRET_KEY": "y" * 32, "ENVIRONMENT": "production",
           "PATH": os.environ["PATH"]}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def check(config, **environment):
    return subprocess.run([BINARY, "check", "--show", "--config", config], env={**SECRETS, **environment},
                          capture_output=True, text=True, check=False)


def options_of(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split("  # ")[0].split(" = ", 1) for line in done.stdout.splitlines())


def test_the_compose_files_configuration_is_accepted():
    options = options_of(check(f"{ROOT}/docker/scale/forkmark.conf", FORKMARK_ADDRESS="192.0.2.11",
                               DATABASE_PASSWORD="forkmark"))
    assert "192.0.2.11:7860" in options["server.bind"]
    assert options["redis.cache.cluster"].count("192.0.2.4") == 6
    assert options["database.replicas"].count("(set)") == 2  # they hold passwords
    # Time to stop within what docker grants.
    services = yaml.safe_load(read("docker/compose.scale.yaml"))["services"]
    grace = services["forkmark1"]["stop_grace_period"]
    needed = float(options["server.drain_delay"].strip('"s')) + float(options["server.graceful_timeout"].strip('"s'))
    assert needed + 2 < float(grace.rstrip("s"))


def test_one_machine_as_a_compose_file():
    services = yaml.safe_load(read("docker/compose.yaml"))["services"]
    environment = services["forkmark"]["environment"]
    assert set(services["forkmark"]["depends_on"]) == {"postgres", "redis"}
    options = options_of(check(f"{ROOT}/docker/forkmark.conf", DATABASE_URL="postgresql://a:b@postgres/forkmark",
                               REDIS_URL=environment["REDIS_URL"], WEB_CONCURRENCY="2"))
    assert "(set)" in options["redis.url"] and float(options["server.graceful_timeout"].strip('"s')) < 10


def test_a_space_is_made_of_the_repository(tmp_path):
    done = subprocess.run(["sh", f"{ROOT}/docker/huggingface/space.sh", str(tmp_path)], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, block, text = (tmp_path / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    block = yaml.safe_load(block)
    assert (block["sdk"], block["app_port"]) == ("docker", 7860) and text.strip()
    dockerfile = (tmp_path / "Dockerfile").read_text(encoding="utf-8")
    assert "EXPOSE 7860" in dockerfile and "useradd --uid 1000" in dockerfile
    for line in dockerfile.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert (tmp_path / line.split()[1]).exists(), line
    services = {"DATABASE_URL": "postgresql://a:b@host/db", "REDIS_URL": "rediss://default:c@host:6380"}
    options = options_of(check(str(tmp_path / "docker/forkmark.conf"), PORT="7860", **services))
    assert options["server.port"] == "7860" and "10.0.0.0/8" in options["server.forwarded_allow_ips"]
