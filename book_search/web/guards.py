"""What every request and every answer must keep to: bodies of a bounded size, and headers that bind the browser.

Knows ASGI messages alone; nothing of what is asked.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts, styles and pictures come from this server alone, and nothing that is written into a page can run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
DRAINED = 4  # times the limit: a sender who goes on so far still reads the answer, not a broken connection


class SafeHeaders:
    """Gives every answer the security headers, and has those without an age of their own asked for again."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does, with the headers."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self.app(scope, receive, with_headers)


class BoundedBody:
    """Refuses bodies above a size with 413, by what they say of themselves or else when they get there."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application read no more than it may."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        declared = int(said) if said.isdigit() else 0
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if max(taken, declared) <= self.most:
                return message
            while message.get("more_body") and max(taken, declared) <= DRAINED * self.most:
                message = await receive()
                taken += len(message.get("body", b""))
            raise HTTPException(413, f"pictures may have {self.most // 2**20} MB in all")

        await self.app(scope, bounded, send)
