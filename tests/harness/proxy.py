"""TCP proxies: one forgets connections without a word, as a NAT gateway does; one loses answers."""

import re
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
                if not pair[2] and self.passes(pair, source is pair[0], data):
                    sink.sendall(data)
        except OSError:
            pass
        if not pair[2]:
            self.cut(pair)

    @staticmethod
    def cut(pair):
        for end in pair[:2]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def passes(self, pair, is_question, data):
        """Whether this goes on to the other side; asked before it does."""
        return True

    def forget(self):
        """Whatever is open stays open, and nothing passes any more. How many."""
        for pair in self.pairs:
            pair[2] = True
        return len(self.pairs)

    def close(self):
        # A socket that a thread still waits on ends by a shutdown, not by close() alone: until
        # then the other side would find it open, and silent.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for pair in self.pairs:
            self.cut(pair)
            pair[0].close()
            pair[1].close()


def bind_of(query):
    """As a client asks for a query's prepared statement."""
    return rb"B....\0" + query.encode() + rb"\0"


class AnswerLoser(Proxy):
    """In front of PostgreSQL: a connection ends, or is silent from then on, when the server has
    done what it was asked for, and before the client hears of it."""

    READY = b"Z\0\0\0\5"  # behind what the server has done to its end

    def __init__(self, target):
        super().__init__(target)
        self.lock = threading.Lock()
        self.wanted, self.steps, self.losing = [], {}, {}
        self.is_silent, self.lost = False, 0

    def lose(self, *wanted, is_silent=False):
        """The answer to the last of these, of the connection that first asks for all, in order."""
        with self.lock:
            self.wanted = [re.compile(each, re.DOTALL) for each in wanted]
            self.steps, self.is_silent = {}, is_silent

    def passes(self, pair, is_question, data):
        with self.lock:
            if is_question:
                self.note_question(id(pair), data)
                return True
            if id(pair) not in self.losing:
                return True
            self.losing[id(pair)] += data
            if self.READY in self.losing[id(pair)]:
                del self.losing[id(pair)]
                self.lost += 1  # before anybody notices
                if self.is_silent:
                    pair[2] = True
                else:
                    self.cut(pair)
            return False

    def note_question(self, key, data):
        step = self.steps.get(key, 0)
        while step < len(self.wanted) and self.wanted[step].search(data):
            step += 1
        self.steps[key] = step
        if self.wanted and step == len(self.wanted):
            self.losing[key] = b""
            self.wanted, self.steps = [], {}
