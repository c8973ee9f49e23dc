"""A TCP proxy that can forget connections without a word, as a NAT gateway does."""

import socket
import threading

from stack import free_port


class Proxy:
    """Forwards 127.0.0.1:port to a Unix socket."""

    def __init__(self, target):
        self.target = target
        self.pairs = []  # [client, server, is_forgotten]
        self.listener = socket.socket()
        self.port = free_port()
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            pair = [client, server, False]
            self.pairs.append(pair)
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=(pair, a, b), daemon=True).start()

    def carry(self, pair, source, sink):
        try:
            while data := source.recv(65536):
                if not pair[2]:
                    sink.sendall(data)
        except OSError:
            pass
        if not pair[2]:
            for end in pair[:2]:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def forget(self):
        """Whatever is open stays open, and nothing passes any more. How many."""
        for pair in self.pairs:
            pair[2] = True
        return len(self.pairs)

    def close(self):
        self.listener.close()
        for pair in self.pairs:
            pair[0].close()
            pair[1].close()
