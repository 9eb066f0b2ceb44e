"""Which hosts may be asked, and how we introduce ourselves to them.

Knows names and addresses alone, nothing of requests and answers. What is not allowed is refused twice: by its name
before anything is sent, at every redirect, and by the address it resolved to once the connection stands, which
`connections` asks here.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urldefrag, urljoin, urlsplit

from urllib3.util import parse_url

import book_search

PROJECT_URL = "https://github.com/book-search/book_search"
DEFAULT_PORTS = {"http": 80, "https": 443}
# The Internet Archive redirects its downloads to the node that holds them, such as ia804606.us.archive.org.
ARCHIVE = "archive.org"
ARCHIVE_NODE = re.compile(r"(ia|dn)\d+\.[a-z]{2}\.archive\.org")
NAT64 = ip_network("64:ff9b::/96")
UNICAST = ip_network("2000::/3")  # all of IPv6 that is handed out
INSIDE = tuple(map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")))
# Public by their number alone: Azure's wire server, and Oracle's metadata among what RFC 6890 sets aside.
INSIDE_CLOUDS = tuple(map(ip_network, ("168.63.129.16/32", "192.0.0.0/24")))
METADATA_6 = ip_address("fd00:ec2::254")  # Amazon's; all others' are link-local
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


@lru_cache(maxsize=1024)
def is_own(host: str) -> bool:
    """Whether a host's name says that it is one's own: loopback, a private address, or a name without a domain."""
    try:
        return not is_public(ip_address(host.strip("[]")))
    except ValueError:
        return "." not in host or host.endswith(".localhost")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the internet at large, for one machine, and does not lead back inside by a translator.

    Addresses that carry an IPv4 one in them are as public as that one: mapped, 6to4 (RFC 3056), NAT64 (RFC 6052).
    Teredo (RFC 4380), ISATAP (RFC 5214) and IPv4-compatible ones (RFC 4291, 2.5.5.1) are out of use, and not public.
    """
    if isinstance(address, IPv4Address):
        special = any(address in network for network in INSIDE_CLOUDS)
        return address.is_global and not (address.is_multicast or address.is_reserved or special)
    carried = IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address.ipv4_mapped or address.sixtofour
    if carried is not None:
        return is_public(carried)
    isatap = int(address) >> 32 & 0xFDFFFFFF == 0x5EFE
    return address in UNICAST and address.is_global and address.teredo is None and not isatap


def may_answer_for(host: str, address: IPv4Address | IPv6Address) -> bool:
    """Whether the machine at `address` may be spoken to under a host's configured name.

    A public name needs a public address; an address as a name, itself; a name without a domain may be on this machine
    or in its network, but not among the addresses where clouds keep their metadata and credentials.
    """
    try:
        return address == ip_address(host.strip("[]"))
    except ValueError:
        if is_public(address):
            return True
    plain = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
    return is_own(host) and plain != METADATA_6 and any(plain in network for network in INSIDE)


@dataclass(frozen=True)
class Origin:
    """Whom a URL asks."""

    scheme: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """The host as one to be polite to: servers of one's own are told apart by their ports as well."""
        return f"{self.host}:{self.port}" if is_own(self.host) else self.host

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of a web address, which every reader of addresses must see in it alike.

        Raises:
            ValueError: it is no web address, carries a name or password, or is read differently by urllib3, which
                connects, than by Python.
        """
        parts, connected = urlsplit(url), parse_url(url)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r} is no address on the web")
        host, there = parts.hostname, (connected.host or "").strip("[]")
        if (parts.scheme, host, parts.port) != (connected.scheme, there, connected.port):
            raise ValueError(f"{url!r} can be read in two ways")
        return cls(parts.scheme, host.removesuffix("."), parts.port or DEFAULT_PORTS[parts.scheme])


def led_to(url: str, location: str, attempts: int, http_status: int) -> str:
    """Where a redirect of `url` leads; the rest is for the BlockedHostError that it raises for what is no address."""
    try:
        return urldefrag(urljoin(url, location)).url
    except ValueError as error:
        raise BlockedHostError(location, str(error), attempts, http_status) from error


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
        names = {origin.host for origin in self.origins if not is_own(origin.host)}  # one's own, as configured alone
        named = asked.host in names or (ARCHIVE in names and ARCHIVE_NODE.fullmatch(asked.host) is not None)
        if not named:
            allowed = sorted({origin.host for origin in self.origins})
            raise BlockedHostError(url, f"{asked.host}, as asked there, is none of {', '.join(allowed)}")
        if asked.scheme != "https" or asked.port != DEFAULT_PORTS["https"]:
            raise BlockedHostError(url, "it is asked by https and its usual port alone")
        return asked
