"""Who may ask for what."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from nnunet_weak.annotate.messages import pack
from nnunet_weak.annotate.server import http as server_module
from nnunet_weak.annotate.server.http import BINARY_TYPE, JSON_TYPE, MOST_BYTES


def test_the_address_gives_a_cookie_and_forgets_its_secret(client):
    address = urlsplit(client.server.url)
    assert address.hostname == "127.0.0.1" and len(client.server.token) >= 40
    answer, _ = client.request("GET", f"{address.path}?{address.query}", Cookie=None)
    assert (answer.status, answer.getheader("Location")) == (303, "/")
    cookie = answer.getheader("Set-Cookie")
    assert cookie.startswith(f"nnunet_weak_{client.port}=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.server.token not in cookie
    answer, page = client.request("GET", "/", Cookie=cookie.partition(";")[0])
    assert answer.status == 200 and b"<title>" in page


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/study", "/api/cases/case_a", "/vendor/niivue.js"])
@pytest.mark.parametrize("cookie", [None, "", "nnunet_weak=1", "nnunet_weak_PORT=wrong", "é=1; nnunet_weak_PORT=é"])
def test_nothing_without_the_cookie(client, path, cookie):
    answer, content = client.request(
        "GET", path, Cookie=cookie and cookie.replace("PORT", str(client.port)).encode().decode("latin-1")
    )
    assert answer.status == 403 and b"terminal" in content


def test_a_wrong_token_gives_no_cookie(client):
    answer, _ = client.request("GET", "/?token=wrong", Cookie=None)
    assert answer.status == 403 and answer.getheader("Set-Cookie") is None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
    ]
    + [("", 421), ("localhost:80:80", 421)],
)
def test_only_this_host_by_name_whatever_the_port(client, host, status):
    answer, _ = client.request("GET", "/api/study", Host=host)
    assert answer.status == status


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"X-Nnunet-Weak": None}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": None}, 415),
        ({"Cookie": None}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_writes_come_from_this_page_only(client, folder, changed, status):
    body = pack({"seconds": 1, "done": False, "content": {"regions": {}}})
    answer, _ = client.request(
        "PUT", "/api/cases/case_a/state", body, **{"Content-Type": BINARY_TYPE, "If-Match": '"0"', **changed}
    )
    assert answer.status == status
    assert not (folder / "annotation").exists()


@pytest.mark.parametrize("kind", [JSON_TYPE, BINARY_TYPE])
def test_a_body_that_is_too_large_is_not_read(client, kind):
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        head = (
            f"POST /api/fit HTTP/1.1\r\nHost: localhost:{client.port}\r\nOrigin: http://localhost:{client.port}\r\n"
            f"X-Nnunet-Weak: 1\r\nCookie: {client.cookie}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {MOST_BYTES[kind] + 1}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", [None, "-1", "1e3"])
def test_a_body_tells_its_length(client, length):
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        told = "Transfer-Encoding: chunked\r\n" if length is None else f"Content-Length: {length}\r\n"
        head = (
            f"POST /api/fit HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nX-Nnunet-Weak: 1\r\n"
            f"Cookie: {client.cookie}\r\nContent-Type: application/json\r\n{told}\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 411")


@pytest.mark.parametrize(
    "name",
    ["../case_a", "..%2Fcase_a", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "case_c", "", "/etc/passwd", "case_a%00", "case_a/"],
)
def test_cases_are_looked_up_not_opened(client, folder, name):
    answer, _ = client.request("GET", f"/api/cases/{name}")
    assert answer.status == 404
    answer, _ = client.request("PUT", f"/api/cases/{name}/state", pack({}), Content_Type=BINARY_TYPE, If_Match='"0"')
    assert answer.status == 404
    assert not (folder / "annotation").exists()


@pytest.mark.parametrize(
    "path", ["/../routes.py", "/static/app.js", "/vendor/../app.js", "/%2e%2e/server.py", "/index.html/"]
)
def test_files_of_the_page_are_looked_up_not_opened(client, path):
    answer, _ = client.request("GET", path)
    assert answer.status == 404


def test_other_methods_are_refused(client):
    for method, path, status in (
        ("POST", "/api/study", 405),
        ("PUT", "/api/queue", 405),
        ("DELETE", "/api/study", 501),
    ):
        answer, _ = client.request(method, path, b"{}")
        assert answer.status == status
        assert answer.getheader("Server", "").startswith("nnunet_weak")


def test_headers_keep_everything_here(client):
    answer, _ = client.request("GET", "/")
    policy = answer.getheader("Content-Security-Policy")
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Access-Control-Allow-Origin") is None


def test_it_listens_on_this_computer_alone(client):
    assert client.server.server_address[0] == "127.0.0.1"
    assert not any(field.default == "0.0.0.0" for field in vars(server_module).values() if hasattr(field, "default"))


def test_an_address_that_is_typed_gets_a_page_and_not_json(client):
    for path, cookie in (("/", None), ("/?token=<b>", None), ("/nowhere", client.cookie)):
        answer, content = client.request("GET", path, Cookie=cookie, Accept="text/html,*/*")
        assert answer.status in (403, 404) and answer.getheader("Content-Type").startswith("text/html")
        assert b"<h1>" in content and b"<b>" not in content
