"""Certificates of an authority of our own, made by openssl."""

import os
import subprocess
import time


def openssl(folder, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Certificate:
    def __init__(self, folder, name, authority):
        self.path, self.key = os.path.join(folder, f"{name}.crt"), os.path.join(folder, f"{name}.key")
        self.authority = authority

    def lines(self):
        """Of a redis.conf. Clients need no certificate."""
        return [f"tls-cert-file {self.path}", f"tls-key-file {self.key}",
                f"tls-ca-cert-file {self.authority}", "tls-auth-clients no"]


class Authority:
    """authority.sign("good", "DNS:localhost,IP:127.0.0.1")"""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        self.path = os.path.join(folder, f"{name}.crt")
        openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")

    def sign(self, name, names, days=30):
        """days 0: it has expired. (OpenSSL 3.5 refuses an end before the start.)"""
        openssl(self.folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        with open(os.path.join(self.folder, f"{name}.ext"), "w", encoding="utf-8") as file:
            file.write(f"subjectAltName={names}\n")
        openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", self.path, "-CAkey",
                f"{self.name}.key", "-CAcreateserial", "-days", str(days), "-extfile", f"{name}.ext",
                "-out", f"{name}.crt")
        if days == 0:
            time.sleep(1.1)
        os.chmod(os.path.join(self.folder, f"{name}.key"), 0o644)
        return Certificate(self.folder, name, self.path)

    def self_signed(self, name, names):
        openssl(self.folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout", f"{name}.key",
                "-out", f"{name}.crt")
        os.chmod(os.path.join(self.folder, f"{name}.key"), 0o644)
        return Certificate(self.folder, name, self.path)
