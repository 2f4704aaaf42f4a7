"""What every answer says to the browser about itself."""

from __future__ import annotations

from urllib.parse import quote

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "Strict-Transport-Security": "max-age=63072000",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "X-Robots-Tag": "noindex, nofollow",
    "Server": "mssmtp",
}
OF_PAGES = ALWAYS | {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
OF_STATICS = ALWAYS | {
    "Content-Security-Policy": "default-src 'none'",
    "Cache-Control": "public, max-age=31536000, immutable",
}
_OF_FILES = ALWAYS | {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "no-store",
}
HTML = "text/html; charset=utf-8"


def of_file(media_type: str, name: str) -> dict[str, str]:
    """Of a download, which is kept as a file and never opened as a page of ours (RFC 6266)."""
    clean = "".join(one if one.isprintable() and one not in '\\/"' else "_" for one in name)[:200]
    plain = clean.encode("ascii", "replace").decode().replace("?", "_") or "fichier"
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"
    simple = media_type if media_type.isascii() and media_type.isprintable() else ""
    return _OF_FILES | {
        "Content-Type": simple or "application/octet-stream",
        "Content-Disposition": disposition,
    }
