"""A stand-in for an object store on 127.0.0.1: as much of S3 as listing and reading use."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["bucket_of"]


@contextlib.contextmanager
def bucket_of(folder: Path) -> Iterator[str]:
    """Serve the files of a folder as the objects of a bucket.

    Yields:
        What stands behind ``s3://bucket/KEY`` in a URL, from the ``?`` on.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        server.objects = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"?endpoint_override=127.0.0.1:{server.server_port}&scheme=http&region=local"
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        _, bucket, *rest = unquote(parts.path).split("/", 2)
        key = "".join(rest)
        if bucket != "bucket":
            self._answer(404)
        elif not key:
            self._answer(200, self._listing(parse_qs(parts.query).get("prefix", [""])[0]))
        elif key not in self.server.objects:
            self._answer(404)
        else:
            content, wanted = self.server.objects[key], self.headers.get("Range")
            if wanted is None:
                self._answer(200, content)
            else:
                first, last = wanted.removeprefix("bytes=").split("-")
                self._answer(206, content[int(first) : int(last) + 1])

    def _listing(self, prefix: str) -> bytes:
        found = [
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size></Contents>"
            for key, content in self.server.objects.items()
            if key.startswith(prefix)
        ]
        return (
            "<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>"
            f"<KeyCount>{len(found)}</KeyCount>{''.join(found)}</ListBucketResult>"
        ).encode()

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Mon, 02 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
