"""A service manager's end of sd_notify: a datagram socket, and what arrived there."""

import os
import select
import socket
import time


class Manager:
    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.heard = []  # (moment, {"READY": "1", ...})

    def environment(self, watchdog=None):
        """The variables of a service; `watchdog` in seconds."""
        more = {"WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else {}
        return {"NOTIFY_SOCKET": self.path, **more}

    def listen(self, seconds=0.0):
        """Takes what is there; waits at most so long for something."""
        while select.select([self.socket], [], [], seconds)[0]:
            lines = self.socket.recv(65536).decode().split("\n")
            self.heard.append((time.monotonic(), dict(line.split("=", 1) for line in lines if line)))
            seconds = 0

    def words(self):
        self.listen()
        return [word for _, message in self.heard for word in message.items()]

    def until(self, name, value=None, seconds=20, after=0):
        """Waits for the message with that word, after the first `after` ones; its index."""
        end = time.monotonic() + seconds
        while True:
            for index, (_, message) in enumerate(self.heard):
                if index >= after and name in message and (value is None or value in message[name]):
                    return index
            assert time.monotonic() < end, f"no {name}={value} among {self.heard[after:]}"
            self.listen(0.1)

    def close(self):
        self.socket.close()
