"""Which hosts may be asked, and how we introduce ourselves to them.

Knows addresses alone, nothing of requests and answers. What is not allowed is refused twice: by its name before
anything is sent, at every redirect, and by the address it resolved to once the connection stands.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

import book_search

PROJECT_URL = "https://github.com/book-search/book_search"
DEFAULT_PORTS = {"http": 80, "https": 443}
# The Internet Archive redirects its downloads to the node that holds them, such as ia804606.us.archive.org.
ARCHIVE = "archive.org"
ARCHIVE_NODE = re.compile(r"(ia|dn)\d+\.[a-z]{2}\.archive\.org")
# An e-mail address or a web address, of characters that may stand in a header's comment (RFC 9110, 5.6.5).
CONTACT = re.compile(r"[!-'*-\[\]-~]*(@|://|\.)[!-'*-\[\]-~]+")


class MissingContactError(ValueError):
    """A real host would be asked by somebody who gives no address."""


class BlockedHostError(RuntimeError):
    """An address is not one that may be asked.

    Attributes:
        url: the address.
        attempts: requests that were made before it came up.
        http_status: of the redirect that led there; None where the first address was refused.
    """

    def __init__(self, url: str, reason: str, attempts: int = 0, http_status: int | None = None) -> None:
        super().__init__(f"{url} is not asked: {reason}")
        self.url, self.reason, self.attempts, self.http_status = url, reason, attempts, http_status


def user_agent(contact: str | None) -> str:
    """How every request introduces itself: `book_search/0.1.0 (+https://...; me@example.org)`.

    Open Library counts a User-Agent with an e-mail or web address as identified. Without a contact the result names
    the project alone, which `require_contact` accepts for hosts of one's own.

    Raises:
        MissingContactError: `contact` is neither an e-mail nor a web address, or has blanks or parentheses in it.
    """
    name = f"book_search/{book_search.__version__} (+{PROJECT_URL}"
    if not contact:
        return f"{name})"
    if not CONTACT.fullmatch(contact):
        raise MissingContactError(
            f"BOOK_SEARCH_CONTACT={contact!r} is no e-mail or web address; write one such as me@example.org"
        )
    return f"{name}; {contact})"


def require_contact(user_agent_sent: str, url: str) -> None:
    """Refuse to ask a real host without saying who asks.

    Raises:
        MissingContactError: `url` is on a real host and the User-Agent is the one without a contact.
    """
    host = urlsplit(url).hostname or ""
    if user_agent_sent == user_agent(None) and not is_own(host):
        raise MissingContactError(
            f"{host} is a real host, and it should know whom to write to: "
            "set BOOK_SEARCH_CONTACT to your e-mail or web address"
        )


def is_own(host: str) -> bool:
    """Whether a host's name says that it is one's own: loopback, a private address, or a name without a domain."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(".localhost")


@dataclass(frozen=True)
class Origin:
    """Whom a URL asks."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of a web address. Raises ValueError for what is none."""
        parts = urlsplit(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r} is no address on the web")
        return cls(parts.scheme, parts.hostname.rstrip("."), parts.port or DEFAULT_PORTS[parts.scheme])


@dataclass(frozen=True)
class AllowedHosts:
    """The origins that may be asked: those configured, by https where they are not configured as http.

    The Internet Archive's storage nodes come with it.
    """

    origins: frozenset[Origin]

    @classmethod
    def of(cls, *urls: str) -> "AllowedHosts":
        """The origins of the configured addresses. Raises ValueError for one that is no web address."""
        return cls(frozenset(Origin.of(url) for url in urls))

    def check(self, url: str) -> Origin:
        """The origin of a URL that may be asked. Raises BlockedHostError for any other."""
        try:
            asked = Origin.of(url)
        except ValueError as error:
            raise BlockedHostError(url, str(error)) from error
        if asked in self.origins:
            return asked
        names = {origin.host for origin in self.origins}
        named = asked.host in names or (ARCHIVE in names and ARCHIVE_NODE.fullmatch(asked.host) is not None)
        if not named:
            raise BlockedHostError(url, f"{asked.host} is none of {', '.join(sorted(names))}")
        if asked.scheme != "https" or asked.port != DEFAULT_PORTS["https"]:
            raise BlockedHostError(url, "it is asked by https and its usual port alone")
        return asked


def checked_pool(**options: object) -> urllib3.PoolManager:
    """A pool whose connections refuse private addresses behind public names; `options` are PoolManager's."""
    pool = urllib3.PoolManager(**options)  # type: ignore[arg-type]
    pool.pool_classes_by_scheme = {"http": _CheckedHTTPPool, "https": _CheckedHTTPSPool}
    return pool


class _CheckedHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _check_address(self, super()._new_conn())


class _CheckedHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _check_address(self, super()._new_conn())


class _CheckedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _CheckedHTTP


class _CheckedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPS


def _check_address(connection: HTTPConnection, connected: socket.socket) -> socket.socket:
    """The socket, if its other end may be spoken to. Asked of the socket itself: a name can resolve anew each time."""
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if (mapped or address).is_global or is_own(connection.host):
        return connected
    connected.close()
    raise BlockedHostError(f"{connection.host}:{connection.port}", f"it resolves to {address}, which is not public")
