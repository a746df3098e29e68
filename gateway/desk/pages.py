"""The built page: a fixed list of files read at start. What is not in the list does not exist."""

import mimetypes
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

STATIC = Path(__file__).parent / "static"
MAX_BYTES = 32 * 1024 * 1024  # of all files together; the page has about 3 MiB
KEEP_ASSET_S = 365 * 86_400  # built assets carry a hash of their content in the name

_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
    ".pbf": "application/x-protobuf",
}
_NOT_BUILT = """<!doctype html>
<html lang="zh">
<head><meta charset="utf-8"><title>PDT gateway</title></head>
<body><h1>网页尚未构建</h1><p>The API works; build the page with <code>make desk</code>.</p></body>
</html>
"""


class Page(NamedTuple):
    """One file as it goes out."""

    body: bytes
    media_type: str
    etag: str
    cache_control: str


def read_pages(folder: Path = STATIC) -> Mapping[str, Page]:
    """Every file under ``folder`` by its URL path; "/" is ``index.html``.

    Hidden files and links that lead out of the folder are left out. Raises ValueError when there is
    more than MAX_BYTES.
    """
    pages: dict[str, Page] = {}
    root = folder.resolve()
    total = 0
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if is_hidden or not file.is_file() or not file.resolve().is_relative_to(root):
            continue
        body = file.read_bytes()
        total += len(body)
        if total > MAX_BYTES:
            raise ValueError(f"{folder}: more than {MAX_BYTES} bytes of static files")
        pages[f"/{name.as_posix()}"] = _page(name, body)
    index = pages.get("/index.html") or _page(Path("index.html"), _NOT_BUILT.encode())
    pages["/"] = pages["/index.html"] = index
    return pages


def _page(name: Path, body: bytes) -> Page:
    guessed = mimetypes.guess_type(name.name)[0] or "application/octet-stream"
    is_asset = name.parts[0] == "assets"
    return Page(
        body=body,
        media_type=_TYPES.get(name.suffix, guessed),
        etag=f'"{blake2b(body, digest_size=12).hexdigest()}"',
        cache_control=f"public, max-age={KEEP_ASSET_S}, immutable" if is_asset else "no-cache",
    )
