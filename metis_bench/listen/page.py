"""The one HTML file that listeners open. It asks for nothing but the test's own audio, and shows no system's name."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from metis_bench.errors import UsageError
from metis_bench.report.environment import environment
from metis_bench.resources import data_dir


def render_page(page: Mapping[str, Any], inline: Mapping[str, bytes]) -> str:
    """HTML with the test embedded. inline: wav bytes by clip id, to be part of the page; else they lie in audio/."""
    embedded = {k: v for k, v in page.items() if k != "audio"}
    embedded["inline"] = {n: "data:audio/wav;base64," + base64.b64encode(inline[n]).decode() for n in sorted(inline)}
    script, style = _asset("player/listen.js"), _asset("style/listen.css")
    text = (
        environment()
        .get_template("listen.html.j2")
        .render(
            title=page["title"],
            scale=page["scale"],
            has_checks=page["has_checks"],
            submit=page["submit"],
            policy=_policy(script, style, page["submit"]),
            test=script_json(embedded),
            script=script,
            style=style,
        )
    )
    return text + "\n"


def script_json(value: object) -> str:
    """JSON that is safe inside a script element, whatever it holds."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def checked_submit(url: str | None) -> str | None:
    """The address ratings are sent to, if it is one. Raises UsageError."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username or any(c in url for c in " '\";,\\\n\t"):
        raise UsageError(f"--submit is not an http(s) address: {url!r}", fix="--submit https://HOST/PATH")
    return url


def _asset(name: str) -> str:
    return (data_dir("reports") / name).read_text(encoding="utf-8").strip()


def _policy(script: str, style: str, submit: str | None) -> str:
    """A content security policy: this script, this style, the test's audio, and at most one address to send to."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    parts = urlsplit(submit or "")
    to = f"{parts.scheme}://{parts.netloc}" if submit else "'none'"
    rules = ("default-src 'none'", f"script-src {digest(script)}", f"style-src {digest(style)}")
    media = ("media-src 'self' file: data: blob:", "img-src data:", f"connect-src {to}")
    return "; ".join((*rules, *media, "base-uri 'none'", "form-action 'none'"))
