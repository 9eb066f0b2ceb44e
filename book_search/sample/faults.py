"""What goes wrong at the server that plays Open Library: drawn by seed and address, and sent as broken servers send it.

Knows answers and sockets; nothing of what is served.
"""

import os
import random
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body>We will be back soon.</body></html>\n"
PIECES = 10  # that a dripping body comes in
# The faults by the names of their shares; new ones come last, so that a seed draws what it drew before.
KINDS = (
    "throttled",
    "unavailable",
    "broken",
    "throttled_silently",
    "reset",
    "dripping",
    "length_too_long",
    "length_too_short",
    "page",
    "elsewhere",
)


@dataclass(frozen=True)
class Faults:
    """Which requests go wrong in a way that passes: each share is of requests, drawn by seed and address.

    The same address goes wrong twice in a row at most.

    Attributes:
        throttled: answered 429 with Retry-After.
        unavailable: answered 503 without it.
        broken: closed in mid-body.
        throttled_silently: answered 429 without Retry-After.
        reset: reset in mid-body (RST).
        dripping: sent in pieces, with `drip_pause` seconds between them.
        length_too_long: announced as longer than what comes before the connection is closed.
        length_too_short: announced as half of what comes; a client that believes it has half a picture.
        page: an HTML page with status 200.
        elsewhere: a redirect to `elsewhere_url`.
        retry_after: seconds.
        retry_date: whether Retry-After is written as a date, seconds from now.
    """

    seed: int = 0
    throttled: float = 0.0
    unavailable: float = 0.0
    broken: float = 0.0
    throttled_silently: float = 0.0
    reset: float = 0.0
    dripping: float = 0.0
    length_too_long: float = 0.0
    length_too_short: float = 0.0
    page: float = 0.0
    elsewhere: float = 0.0
    retry_after: int = 1
    retry_date: bool = False
    drip_pause: float = 0.02
    elsewhere_url: str = "https://example.org/"

    def drawn(self, path: str, times: int) -> str | None:
        """What goes wrong with the request for a path that was asked `times` times before; None for nothing."""
        if times >= 2:
            return None
        drawn = random.Random(f"{self.seed}:{path}:{times}").random()
        for kind in KINDS:
            share: float = getattr(self, kind)
            if drawn < share:
                return kind
            drawn -= share
        return None

    def answer_instead(self, fault: str | None) -> tuple[int, bytes, Mapping[str, str]] | None:
        """Status, body and headers of a fault that is an answer; None for one of a body on its way, and for none."""
        if fault == "throttled":
            date = formatdate(time.time() + self.retry_after, usegmt=True) if self.retry_date else None
            headers = {"Retry-After": date or str(self.retry_after), "Content-Type": "application/json"}
            return 429, b'{"error": "too many requests"}', headers
        if fault == "throttled_silently":
            return 429, b'{"error": "too many requests"}', {"Content-Type": "application/json"}
        if fault == "unavailable":
            return 503, b"come back later", {}
        if fault == "page":
            return 200, PAGE, {"Content-Type": "text/html"}
        if fault == "elsewhere":
            return 302, b"", {"Location": self.elsewhere_url}
        return None


SOME_FAULTS = Faults(seed=1, throttled=0.005, unavailable=0.01, broken=0.01)


def announced(fault: str | None, length: int) -> int:
    """The Content-Length of a body of `length` bytes."""
    return {"length_too_long": length + 1000, "length_too_short": length // 2}.get(fault or "", length)


def sent(fault: str | None, length: int) -> int:
    """How many of a body's bytes are sent."""
    return length // 2 if fault in ("broken", "reset") else length


def send_body(handler: BaseHTTPRequestHandler, body: bytes, fault: str | None, drip_pause: float) -> None:
    """Send a body as the fault wants it, after its headers; `fault` is None for no fault."""
    if fault == "dripping":
        size = max(1, -(-len(body) // PIECES))
        for first in range(0, len(body), size):
            time.sleep(drip_pause)
            handler.wfile.write(body[first : first + size])
        return
    handler.wfile.write(body[: sent(fault, len(body))])
    if fault == "reset":
        # Closed at once and without lingering, a socket sends RST; the handler would say goodbye with FIN before.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(handler.connection.detach())
    if fault is not None:
        handler.close_connection = True
