"""nginx and HAProxy with the files of config/, in front of a test's servers.

The files are used as they are; only addresses, ports and paths are put in the place of
the examples, and every example must be there, or the test has lost its subject.
"""

import os
import shutil
import socket
import ssl
import subprocess

from services import Process, wait_until
from stack import ROOT, Client, free_port

HOST = "bookmarks.example.org"


def make_certificate(folder):
    """(certificate, key) for the example's host name, signed by itself."""
    certificate, key = os.path.join(folder, "fullchain.pem"), os.path.join(folder, "privkey.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate,
                    "-days", "30", "-subj", f"/CN={HOST}", "-addext",
                    f"subjectAltName=DNS:{HOST},DNS:localhost,IP:127.0.0.1"],
                   check=True, capture_output=True)
    return certificate, key


def substituted(path, changes):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        text = file.read()
    for example, ours in changes:
        assert example in text, f"{path} has no `{example}` any more"
        text = text.replace(example, ours)
    return text


class Balancer:
    """What both have: two ports, a certificate, a log, and clients that come through TLS."""

    def __init__(self, folder):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        self.plain_port, self.port = free_port(), free_port()
        self.certificate, self.key = make_certificate(self.folder)
        self.url = f"https://127.0.0.1:{self.port}"
        self.log = os.path.join(self.folder, "balancer.log")
        self.server = None

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self):
        self.server = Process(self.command(), self.log)
        wait_until(self.answers, 20, "the balancer answers")
        return self

    def answers(self):
        assert self.server.is_running(), self.log_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2):
                return True
        except OSError:
            return False

    def stop(self):
        if self.server:
            self.server.end()

    def log_text(self):
        return self.server.log_text()

    def client(self):
        client = Client(self.url)
        client.trust_env, client.verify = False, self.certificate
        return client

    def connect(self, source=None, alpn=("http/1.1",)):
        """A TLS connection from that address."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.set_alpn_protocols(list(alpn))
        plain = socket.create_connection(("127.0.0.1", self.port), 20,
                                         source_address=(source, 0) if source else None)
        return context.wrap_socket(plain, server_hostname=HOST)


class Nginx(Balancer):
    """Two processes, as two cores have; `more` changes the file further."""

    MAIN = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/forkmark.conf;
}}
"""

    def __init__(self, folder, servers, more=(), trusts=None):
        super().__init__(folder)
        first, *others = [f"server {address} max_fails=1 fail_timeout=2s;" for address in servers]
        self.write("forkmark-proxy.conf", substituted("config/nginx/forkmark-proxy.conf", ()))
        self.write("forkmark-cloudflare.conf", substituted(
            "config/nginx/forkmark-cloudflare.conf",
            [("set_real_ip_from 173.245.48.0/20;", f"set_real_ip_from {trusts};")] if trusts else ()))
        self.write("forkmark.conf", substituted("config/nginx/forkmark.conf", [
            ("server 192.0.2.11:7860 max_fails=1 fail_timeout=2s;", first),
            ("server 192.0.2.12:7860 max_fails=1 fail_timeout=2s;", "\n    ".join(others)),
            ("    listen 80;\n", f"    listen 127.0.0.1:{self.plain_port};\n"),
            ("    listen [::]:80;\n", ""),
            ("    listen 443 ssl http2;\n", f"    listen 127.0.0.1:{self.port} ssl http2;\n"),
            ("    listen [::]:443 ssl http2;\n", ""),
            ("/etc/ssl/forkmark/fullchain.pem", self.certificate),
            ("/etc/ssl/forkmark/privkey.pem", self.key),
            ("/var/log/nginx/forkmark.log", f"{self.folder}/access.log"),
            ("/etc/nginx/forkmark-proxy.conf", f"{self.folder}/forkmark-proxy.conf"),
            ("/etc/nginx/forkmark-cloudflare.conf", f"{self.folder}/forkmark-cloudflare.conf"),
            *([("# include", "include")] if trusts else []), *more]))
        self.main = self.write("nginx.conf", self.MAIN.format(folder=self.folder))

    def command(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        return [program, "-e", "stderr", "-p", self.folder, "-c", self.main]

    def access_log(self):
        with open(f"{self.folder}/access.log", encoding="utf-8") as file:
            return file.read()


class HAProxy(Balancer):
    def __init__(self, folder, servers, more=(), trusts=None):
        super().__init__(folder)
        with open(self.certificate, encoding="ascii") as certificate, \
                open(self.key, encoding="ascii") as key:
            both = self.write("forkmark.pem", certificate.read() + key.read())
        self.write("cloudflare.lst", f"{trusts}\n")
        self.config = self.write("haproxy.cfg", substituted("config/haproxy/forkmark.cfg", [
            ("server one 192.0.2.11:7860", f"server one {servers[0]}"),
            ("server two 192.0.2.12:7860",
             "\n    ".join(f"server more{n} {address}" for n, address in enumerate(servers[1:]))),
            ("bind :80\n", f"bind 127.0.0.1:{self.plain_port}\n"),
            ("bind :443 ssl", f"bind 127.0.0.1:{self.port} ssl"),
            ("/etc/haproxy/forkmark.pem", both),
            ("/etc/haproxy/cloudflare.lst", f"{self.folder}/cloudflare.lst"),
            *([("# http-request set-src", "http-request set-src")] if trusts else []), *more]))

    def command(self):
        # -db: in the foreground; the master of several processes is not needed here.
        return [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", self.config]

    def access_log(self):
        return self.log_text()


# What each kind of balancer needs of the servers behind it, as its file says.
BEHIND = {
    Nginx: 'forwarded_allow_ips = [ "127.0.0.1" ]; drain_delay = "1s";',
    HAProxy: 'proxy_protocol = true; proxy_allow_ips = [ "127.0.0.1" ];'
             'forwarded_allow_ips = [ ]; drain_delay = "3s";',
}
