"""A web server for one person on this computer, after the model of Jupyter's.

It listens on 127.0.0.1 alone. The address holds a secret once, which becomes a cookie; a request must name this host,
and one that writes must come from this page. What is requested is looked up in dictionaries, never in the file system.
"""

from __future__ import annotations

import errno
import html
import http.cookies
import json
import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from nnunet_weak.errors import InvalidInputError

logger = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
WRITE_HEADER = "X-Nnunet-Weak"
JSON_TYPE, BINARY_TYPE = "application/json", "application/octet-stream"
MOST_BYTES = {JSON_TYPE: 1 << 20, BINARY_TYPE: 1 << 26}
_STATIC = Path(__file__).parents[1] / "static"
_HOSTS = ("localhost", ADDRESS, "::1")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".txt": "text/plain",
    ".svg": "image/svg+xml",
}


_ERROR_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="dark"><title>nnunet_weak annotate</title>
<h1>This page cannot be shown</h1><p>{}</p></html>
"""


class RequestError(Exception):
    """A request that cannot be answered."""

    def __init__(self, status: HTTPStatus, message: str, **further: Any) -> None:
        super().__init__(message)
        self.status, self.content = status, {"error": message, **further}


@dataclass(frozen=True)
class Request:
    """A request that passed all checks.

    Attributes:
        parts: What the route's pattern found, percent-decoded.
        query: Parameters of the address.
        body: The body.
        revision: Number of the header `If-Match`, or None.
    """

    parts: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    revision: int | None = None

    def json(self) -> dict[str, Any]:
        """The body as JSON object."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
        return content


Answer = bytes | dict[str, Any] | list[Any]
Route = tuple[str, str, Callable[[Request], Answer]]
"""Method, pattern of the path, and what answers it: bytes, or what becomes JSON."""


class AnnotationServer(ThreadingHTTPServer):
    """The server.

    Args:
        port: Port, or 0 for a free one.
        routes: What is answered below `/api/`.
    """

    daemon_threads = True

    def __init__(self, port: int, routes: Sequence[Route]) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.token = secrets.token_urlsafe(32)
        self.cookie = secrets.token_urlsafe(32)
        self.cookie_name = f"nnunet_weak_{self.server_address[1]}"
        self.routes = [(method, re.compile(pattern), answer) for method, pattern, answer in routes]
        self.static = {
            f"/{path.relative_to(_STATIC).as_posix()}": path for path in _STATIC.rglob("*") if path.suffix in _TYPES
        }

    @property
    def url(self) -> str:
        """The address to open, with the secret."""
        return f"http://{ADDRESS}:{self.server_address[1]}/?token={self.token}"

    def serve_in_background(self) -> threading.Thread:
        """Answer requests in a thread; `shutdown` ends it."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        return thread

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closed the connection is no error of ours."""
        logger.debug("connection of %s broke off", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: AnnotationServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    server_version, sys_version = "nnunet_weak", ""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *arguments: Any) -> None:
        logger.debug(format, *arguments)  # never to the terminal: addresses hold the names of cases

    def _answer(self, method: str) -> None:
        try:
            self._check_host()
            address = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(address.query).items()}
            if method == "GET" and address.path == "/" and "token" in query:
                self._log_in(query["token"])
                return
            self._check_cookie()
            if method == "GET" and address.path in ("/", *self.server.static):
                self._send_static("/index.html" if address.path == "/" else address.path)
                return
            body = b"" if method == "GET" else self._checked_body()
            self._send(HTTPStatus.OK, *self._route(method, address.path, query, body))
        except RequestError as error:
            self.close_connection = True  # the body may not have been read
            if "text/html" in self.headers.get("Accept", ""):  # somebody typed an address
                self._send(
                    error.status, "text/html; charset=utf-8", _ERROR_PAGE.format(html.escape(str(error))).encode()
                )
            else:
                self._send(error.status, JSON_TYPE, json.dumps(error.content).encode())

    def _route(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[str, bytes]:
        matches = [
            (verb, match, answer) for verb, pattern, answer in self.server.routes if (match := pattern.fullmatch(path))
        ]
        if not matches:
            raise RequestError(HTTPStatus.NOT_FOUND, "no such page")
        for verb, match, answer in matches:
            if verb == method:
                request = Request(tuple(map(unquote, match.groups())), query, body, self._revision())
                return self._answered(answer, request)
        raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not possible here")

    def _answered(self, answer: Callable[[Request], Answer], request: Request) -> tuple[str, bytes]:
        try:
            content = answer(request)
        except InvalidInputError as error:
            raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            status = HTTPStatus.INSUFFICIENT_STORAGE if full else HTTPStatus.INTERNAL_SERVER_ERROR
            raise RequestError(status, "The disk is full" if full else str(error)) from error
        except RequestError:
            raise
        except Exception as error:
            logger.exception("The page asked for something that failed")
            raise RequestError(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}") from error
        if isinstance(content, bytes):
            return BINARY_TYPE, content
        return JSON_TYPE, json.dumps(content, ensure_ascii=False).encode()

    def _check_host(self) -> None:
        # Whatever the port: `ssh -L` changes it. Another name is a page elsewhere that had its name point here.
        host = self.headers.get("Host", "")
        name = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::\d+)?", host)
        if name is None or name[1].strip("[]").lower() not in _HOSTS:
            raise RequestError(HTTPStatus.MISDIRECTED_REQUEST, "Open this page as localhost or 127.0.0.1")

    def _log_in(self, token: str) -> None:
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise RequestError(HTTPStatus.FORBIDDEN, "This address is of an earlier session: open the last one printed")
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header(
            "Set-Cookie", f"{self.server.cookie_name}={self.server.cookie}; HttpOnly; SameSite=Strict; Path=/"
        )
        self._end(b"")

    def _check_cookie(self) -> None:
        try:
            cookies = http.cookies.SimpleCookie(self.headers.get("Cookie", ""))
        except http.cookies.CookieError:
            cookies = http.cookies.SimpleCookie()
        found = cookies.get(self.server.cookie_name)
        if found is None or not secrets.compare_digest(found.value.encode(), self.server.cookie.encode()):
            raise RequestError(
                HTTPStatus.FORBIDDEN, "Open the address that nnunet_weak_annotate printed in the terminal"
            )

    def _checked_body(self) -> bytes:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self.headers.get(WRITE_HEADER) != "1":
            raise RequestError(HTTPStatus.FORBIDDEN, f"the header {WRITE_HEADER} is missing")
        if self.headers.get("Origin") != f"http://{self.headers['Host']}":
            raise RequestError(HTTPStatus.FORBIDDEN, "this request comes from another page")
        if kind not in MOST_BYTES:
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {' or '.join(MOST_BYTES)}")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "the length of the body must be told")
        if len(length) > 12 or int(length) > MOST_BYTES[kind]:
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BYTES[kind]} bytes are taken")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise RequestError(HTTPStatus.BAD_REQUEST, "the body is cut off")
        return body

    def _revision(self) -> int | None:
        text = self.headers.get("If-Match", "").strip('"')
        return int(text) if text.isdecimal() and len(text) < 10 else None

    def _send_static(self, path: str) -> None:
        file = self.server.static[path]
        kind = _TYPES[file.suffix]
        self._send(HTTPStatus.OK, f"{kind}; charset=utf-8", file.read_bytes())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self._end(body)

    def _end(self, body: bytes) -> None:
        for name, value in (
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", _POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
