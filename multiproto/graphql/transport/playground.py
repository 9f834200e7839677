"""The playground, a page for trying out queries in a browser; it loads nothing from other sites.

Script and style are separate files, so that the content security policy can
forbid inline scripts.
"""

from __future__ import annotations

from importlib import resources

from attrs import define, field

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
CONTENT_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "graphql": "text/plain"}


@define(eq=False, repr=False)
class Playground:
    """The files of the playground, read at the start."""

    _path: str  # of the endpoint
    _shows_schema: bool
    _files: dict[str, bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        folder = resources.files("multiproto.graphql")
        self._files = {name: folder.joinpath("page", name).read_bytes() for name in ("page.js", "page.css")}
        page = folder.joinpath("page", "page.html").read_bytes()
        self._files[""] = page.replace(b"@PATH@", self._path.encode())
        if self._shows_schema:
            self._files["schema.graphql"] = folder.joinpath("schema.graphql").read_bytes()

    def get_file(self, name: bytes, accepts_html: bool) -> tuple[str, bytes] | None:
        """The content type and content of a file, or `None`; the page itself only if `accepts_html`."""
        body = self._files.get(name.decode("latin-1"))
        if body is None or (not name and not accepts_html):
            return None
        return CONTENT_TYPES[name.decode().rpartition(".")[2] or "html"], body
