"""A small web site on loopback: pages that tests save, and ways for a page to misbehave."""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARTICLE = """<!doctype html><html lang="en"><head><title>{title}</title>
<meta name="description" content="About {title}"></head>
<body><nav>menu</nav><article><h1>{title}</h1>{paragraphs}</article></body></html>"""


def article(title, words):
    """An article page of these words, some fifty to a paragraph."""
    words = words.split() if isinstance(words, str) else list(words)
    parts = [" ".join(words[i:i + 50]) for i in range(0, len(words), 50)]
    return ARTICLE.format(title=title, paragraphs="".join(f"<p>{part}</p>" for part in parts))


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
        # else the fetching process was killed: that is some tests' point


class PageServer:
    """pages.put("/a", html) serves it at pages.url("/a"); hits counts requests."""

    def __init__(self, host="127.0.0.1"):
        self.pages = {}
        self.hits = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = self.path.split("?")[0]
                outer.hits[path] = outer.hits.get(path, 0) + 1
                page = outer.pages.get(path)
                if page is None:
                    page = {"status": 404, "body": b"no such page"}
                if page.get("delay"):
                    time.sleep(page["delay"])
                body = page["body"]
                self.send_response(page.get("status", 200))
                self.send_header("Content-Type", page.get("type", "text/html; charset=utf-8"))
                self.send_header("Content-Length", str(len(body)))
                for name, value in page.get("headers", {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = QuietServer((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.host = host
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, path, body, **more):
        self.pages[path] = {"body": body.encode() if isinstance(body, str) else body, **more}
        return self.url(path)

    def url(self, path):
        return f"http://{self.host}:{self.port}{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
