"""A proxy that requires a login, like those that protect MLflow servers, optionally with TLS."""

import base64
import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD, TOKEN = "me", "s3cret", "t0ken-s3cret"
OTHER = "other"
"""User with a valid password who is not authorised."""

HOP = ("host", "connection", "transfer-encoding", "content-length")
"""Headers that concern one connection only and are not forwarded."""


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()


class _Gate(BaseHTTPRequestHandler):
    """Checks the login of a request, then forwards it to the server behind the proxy."""

    behind = 0

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        login = self.headers.get("Authorization")
        if login == basic(OTHER):
            self.send_error(403)
        elif login not in (basic(USER), f"Bearer {TOKEN}"):
            self.send_error(401)
        else:
            self._hand_on(body)

    def _hand_on(self, body: bytes) -> None:
        headers = {key: text for key, text in self.headers.items() if key.lower() not in HOP}
        server = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=60)
        server.request(self.command, self.path, body, headers)
        answer = server.getresponse()
        content = answer.read()
        server.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Suppresses the log output of the base class."""


@contextmanager
def answering(
    handler: type[BaseHTTPRequestHandler], certificate: Path | None = None
) -> Iterator[str]:
    """Runs an HTTP server on this machine and yields its HOST:PORT.

    Args:
        handler: Class that answers the requests.
        certificate: PEM file with certificate and key for TLS; None: plain HTTP.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def gate(behind: int, certificate: Path | None = None) -> Iterator[str]:
    """Runs a proxy with a login in front of a local server and yields its HOST:PORT.

    Args:
        behind: Port of the server behind the proxy.
        certificate: PEM file with certificate and key for TLS; None: plain HTTP.
    """
    with answering(type("Gate", (_Gate,), {"behind": behind}), certificate) as address:
        yield address


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a self-signed certificate for 127.0.0.1 in a folder.

    Returns:
        The file of the certificate, and a file with certificate and key.
    """
    certificate, key, both = (folder / name for name in ("crt.pem", "key.pem", "both.pem"))
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    both.write_text(key.read_text() + certificate.read_text())
    return certificate, both
