"""Ida finds her account, in a real Firefox: link, password, code, account, card, logout.

    python -m tests.browser [--pictures DIRECTORY]

A demo of its own runs meanwhile. Each step is printed; the first that does not hold ends it with 1.
"""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.browser.firefox import Firefox, firefox
from tests.space import free_base_port

PASSWORD = "Mot-de-passe-d-Ida-7"
WITHIN_S = 120.0


class Mail:
    """What Ida is mailed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seen = folder, 0

    def next(self, pattern: str) -> str:
        """What `pattern` finds in the next mail that has it."""
        ends = time.monotonic() + WITHIN_S
        while time.monotonic() < ends:
            files = sorted(self._folder.glob("*.eml"))
            for file in files[self._seen :]:
                self._seen += 1
                if found := re.search(pattern, _read(file)):
                    return found.group(1)
            time.sleep(0.2)
        raise AssertionError(f"no mail with {pattern}")


def _read(file: Path) -> str:
    letter = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    body = letter.get_body(("plain",))
    return f"{letter['Subject']}\n{body.get_content() if body else ''}"


def said(step: str) -> None:
    print(f"ok  {step}", flush=True)


def demand(held: object, what: str) -> None:
    if not held:
        raise AssertionError(what)


def story(browser: Firefox, portal: dict[str, str], pictures: Path | None) -> None:
    """From the activation link to the card."""
    mail, usual = Mail(Path(portal["service_mail"])), portal["usual_address"]

    def seen(step: str) -> None:
        said(step)
        if pictures is not None:
            browser.picture(pictures / f"{re.sub('[^a-z]+', '-', step)}.png")

    link = mail.next(r"(https://\S+/activation#\S+)")
    secret = link.partition("#")[2]
    browser.go(link)
    demand(browser.value("token") == secret, "the script has not found the secret")
    demand(secret not in browser.path, "the secret is still in the address")
    browser.press()
    demand(usual in browser.text, browser.text)
    seen("the link is opened, its secret is out of the address")
    for language, word in (("en", "Activate"), ("fr", "Activer")):
        browser.press(f"footer button[value={language}]")
        demand(word in browser.text, browser.text)
        demand(browser.value("token") == secret, "the other language has lost the link")
        demand(secret not in browser.path, "the secret is in the address")
        browser.press()
        demand(usual in browser.text, browser.text)
    seen("another language keeps the link")
    browser.fill("password", PASSWORD)
    browser.fill("again", PASSWORD)
    browser.press()
    demand("activé" in browser.text, browser.text)
    seen("the account is activated")
    browser.fill("usual", usual)
    browser.fill("password", PASSWORD)
    browser.press()
    demand(browser.path == "/connexion/code", browser.text)
    seen("the password is right, a code is asked for")
    browser.fill("code", mail.next(r"\[([0-9]{6})\]"))
    browser.press()
    demand(browser.path == "/compte" and usual in browser.text, browser.text)
    seen("the code opens the account")
    browser.press("footer button[value=en]")
    demand("My account" in browser.text, browser.text)
    seen("the account in english")
    envelope(browser, portal, mail, seen)
    card(browser, portal, mail, seen)


def envelope(
    browser: Firefox, portal: dict[str, str], mail: Mail, seen: Callable[[str], None]
) -> None:
    """To somebody nobody knows here, who is invited once she has said so (DEF-09)."""
    browser.go(f"{portal['url']}/enveloppes")
    browser.press("main a[href$='/enveloppes/nouvelle']")
    browser.fill("to", "inconnue@poste.example")
    browser.fill("text", "Bonjour")
    browser.press()
    demand("tick the invitation" in browser.text, browser.text)
    demand(browser.value("to") == "inconnue@poste.example", "what was typed is lost")
    seen("nobody is known there, she is asked")
    browser.press("#f-inviter-on")
    browser.press()
    demand("Your message has left" in browser.text, browser.text)
    mail.next(r"(https://\S+/confirmation#\S+)")
    seen("she has said so, and the invitation is mailed")


def card(browser: Firefox, portal: dict[str, str], mail: Mail, seen: Callable[[str], None]) -> None:
    """Linked by who is logged in, then a login, then unlinked."""
    usual = portal["usual_address"]
    browser.go(f"{portal['url']}/compte/identites")
    browser.press("main a[href$='/identites/carte']")
    arrives(browser, "/compte/identites/carte/code")
    seen("her card is read at its port, a code is asked for")
    browser.fill("code", mail.next(r"\[([0-9]{6})\]"))
    browser.press()
    demand("Your CPx card is linked" in browser.text, browser.text)
    seen("the card is linked")
    browser.press("header form button")
    demand("logged out" in browser.text, browser.text)
    browser.go(f"{portal['url']}/compte")
    demand(browser.path == "/connexion", browser.path)
    seen("logged out, and out it is")
    browser.press("main a[href$='/carte/connexion']")
    arrives(browser, "/compte")
    demand(usual in browser.text, browser.text)
    seen("the card opens the account, without password and code")
    browser.go(f"{portal['url']}/compte/identites")
    browser.press("main table form button")
    arrives(browser, "/connexion")
    seen("unlinked, what it had opened is closed")


def arrives(browser: Firefox, path: str) -> None:
    """Pages that go on by themselves take it there."""
    ends = time.monotonic() + WITHIN_S
    while browser.path != path:
        demand(time.monotonic() < ends, f"{browser.path}: {browser.text}")
        time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    pictures = parser.parse_args().pictures
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mssmtp-browser-") as made:
        place, command = Path(made), [sys.executable, "-m", "mssmtp", "demo", "--no-exchange"]
        command += ["--directory", str(place / "space"), "--base-port", str(free_base_port())]
        with subprocess.Popen([*command, "--accounts", "1"], stdout=subprocess.DEVNULL) as demo:
            try:
                portal = _ready(place / "space" / "manifest.json", demo)
                card = Path(portal["card_file"])
                with firefox(place / "profile", card, portal["pin"]) as browser:
                    story(browser, portal, pictures)
            except AssertionError as error:
                print(f"FAILED  {error}", file=sys.stderr)
                return 1
            finally:
                demo.terminate()
    return 0


def _ready(manifest: Path, demo: subprocess.Popen[bytes]) -> dict[str, str]:
    ends = time.monotonic() + WITHIN_S
    while demo.poll() is None and time.monotonic() < ends:
        if manifest.exists():
            told = json.loads(manifest.read_text("utf-8"))
            found = told["portal"] | {n: told["portal"]["card"][n] for n in ("card_file", "pin")}
            return {name: str(value) for name, value in found.items()}
        time.sleep(0.3)
    raise AssertionError("the demo has ended, or is not ready in time")


if __name__ == "__main__":
    sys.exit(main())
