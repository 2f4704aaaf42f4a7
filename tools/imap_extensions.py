"""What stands behind each name that IMAP announces: tests and code that name its RFC.

A section of docs/conformity.md. A name without a test must not be announced.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from mssmtp.identity import EXTERNAL, MECHANISMS, with_tokens
from mssmtp.imap import capabilities

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 3

RFCS = {
    "IMAP4rev1": 3501, "IMAP4rev2": 9051, "STARTTLS": 3501, "LOGINDISABLED": 3501,
    "AUTH=SCRAM-SHA-256-PLUS": 9266, "AUTH=SCRAM-SHA-256": 7677,
    "AUTH=PLAIN": 4616, "AUTH=OAUTHBEARER": 7628, "AUTH=EXTERNAL": 4422, "SASL-IR": 4959,
    "ID": 2971, "ENABLE": 5161, "IDLE": 2177,
    "LITERAL-": 7888, "LITERAL+": 7888, "UIDPLUS": 4315, "MOVE": 6851, "UNSELECT": 3691,
    "NAMESPACE": 2342, "ACL": 4314, "RIGHTS=texk": 4314, "LIST-MYRIGHTS": 8440, "QUOTA": 9208,
    "QUOTA=RES-STORAGE": 9208, "QUOTA=RES-MESSAGE": 9208, "SPECIAL-USE": 6154,
    "CREATE-SPECIAL-USE": 6154, "CHILDREN": 3348, "LIST-EXTENDED": 5258, "LIST-STATUS": 5819,
    "STATUS=SIZE": 8438, "ESEARCH": 4731, "SEARCHRES": 5182, "PARTIAL": 9394, "WITHIN": 5032,
    "SAVEDATE": 8514, "OBJECTID": 8474, "INPROGRESS": 9585, "SORT": 5256, "SORT=DISPLAY": 5957,
    "ESORT": 5267, "CONTEXT=SEARCH": 5267, "THREAD=ORDEREDSUBJECT": 5256,
    "THREAD=REFERENCES": 5256, "THREAD=REFS": 5256, "MULTISEARCH": 7377, "BINARY": 3516,
    "MULTIAPPEND": 3502, "CATENATE": 4469, "REPLACE": 8508, "PREVIEW": 8970, "CONDSTORE": 7162,
    "QRESYNC": 7162, "UIDONLY": 9586, "UIDBATCHES": 10022, "NOTIFY": 5465, "UTF8=ACCEPT": 6855,
    "METADATA": 5464, "LIST-METADATA": 9590, "APPENDLIMIT": 7889, "COMPRESS=DEFLATE": 4978,
}  # fmt: skip
NO_RFC = {
    "XLIST": "outlook_reads_xlist_once",
    "AUTH=LOGIN": "sasl_login_and_plain",
    "AUTH=XOAUTH2": "xoauth2_refuses_with_a_challenge_and_lets_retry",
}
"""Names older than any RFC, and the transcript that shows each."""
FIRST = (
    "IMAP4rev1", "IMAP4rev2", "IDLE", "CONDSTORE", "QRESYNC", "MOVE", "UIDPLUS", "UNSELECT",
    "SPECIAL-USE", "CREATE-SPECIAL-USE", "XLIST", "CHILDREN", "LIST-EXTENDED", "LIST-STATUS",
    "LIST-MYRIGHTS", "NAMESPACE", "ACL", "QUOTA", "ID", "ENABLE", "LITERAL+", "LITERAL-",
    "BINARY", "MULTIAPPEND", "SORT", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "ESEARCH",
    "SEARCHRES", "UTF8=ACCEPT", "OBJECTID", "SAVEDATE", "STATUS=SIZE", "APPENDLIMIT", "SASL-IR",
    "PARTIAL", "AUTH=PLAIN", "AUTH=LOGIN", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-256-PLUS",
    "AUTH=OAUTHBEARER", "AUTH=XOAUTH2", "AUTH=EXTERNAL",
)  # fmt: skip
"""What the clients of today need (the first wave): each of it is announced."""
SECOND = (
    "LIST-METADATA", "CATENATE", "REPLACE", "SORT=DISPLAY", "ESORT", "WITHIN", "MULTISEARCH",
    "SEARCH=FUZZY", "CONTEXT=SEARCH", "NOTIFY", "METADATA", "COMPRESS=DEFLATE", "PREVIEW",
    "UIDONLY", "UIDBATCHES", "MESSAGELIMIT", "SAVELIMIT", "INPROGRESS",
)  # fmt: skip
"""The second wave: announced, or a reason below."""
NOT_ANNOUNCED = {
    "SEARCH=FUZZY": "what is searched is found exactly, in sealed packs; there is no index to rank"
    " near misses by (RFC 6203 wants one)",
    "MESSAGELIMIT": "nothing stops half way after a number of messages: long commands go on in"
    " steps and say so (INPROGRESS), a COPY of more than 50,000 is refused whole",
    "SAVELIMIT": "`$` holds as many results as a mailbox has messages",
    "CONTEXT=SORT": "no client asks for it, no other server has it",
    "UNAUTHENTICATE": "a session that becomes another person's is a risk; no client asks for it",
    "JMAPACCESS": "there is no JMAP",
    "URLAUTH": "links that open a box without a login are not wanted in a trust space",
    "XAPPLEPUSHSERVICE": "would tell a third party who gets mail, and when",
}
BY_SETTING = ("APPENDLIMIT", "COMPRESS=DEFLATE")
"""Put together in `session.py`."""


def announced() -> list[str]:
    """Every name a session may announce, in this order."""
    names = (
        *capabilities.ALWAYS,
        *capabilities.BEFORE_TLS,
        *capabilities.before_login({**with_tokens(MECHANISMS, challenge=True), **EXTERNAL}),
        *capabilities.AFTER_LOGIN,
        *BY_SETTING,
    )
    return list(dict.fromkeys(names))


def transcripts() -> dict[int, list[str]]:
    """RFC -> transcripts whose first line names it; `*` behind those of several clients."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests" / "transcripts" / "imap").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        mark = "" if re.search(r"(?m)^clients: 1\b", text) else " *"
        for number in sorted(set(re.findall(r"RFC (\d+)", text.partition("\n")[0]))):
            found[int(number)].append(f"`{path.stem}`{mark}")
    return found


def tests() -> dict[int, list[str]]:
    """RFC -> test modules that name it: for what needs a clock, or octets no transcript has."""
    found: dict[int, list[str]] = defaultdict(list)
    for folder in ("imap", "imap_server"):
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            for number in sorted(set(re.findall(r"RFC\s+(\d+)", path.read_text("utf-8")))):
                found[int(number)].append(f"`{path.relative_to(ROOT).as_posix()}`")
    return found


def code() -> dict[int, list[str]]:
    """RFC -> modules of the room that name it."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "mssmtp" / "imap").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for number in sorted(set(re.findall(r"RFC\s+(\d+)", text))):
            found[int(number)].append(path.relative_to(ROOT / "mssmtp" / "imap").as_posix())
    return found


def section() -> list[str]:
    """The lines of the page."""
    shown_in, tested_in, named_in = transcripts(), tests(), code()
    lines = [
        "",
        "## What IMAP announces",
        "",
        "Each name with the transcripts of `tests/transcripts/imap`, the other tests and the",
        "modules of `mssmtp/imap` that name its RFC. `*`: two or more clients at once.",
        "",
        "| Capability | RFC | Transcripts and tests | Code |",
        "|---|---|---|---|",
    ]
    for name in announced():
        if name in NO_RFC:
            lines.append(f"| {name} | – | `{NO_RFC[name]}` | |")
            continue
        number = RFCS.get(name, 0)
        lines.append(
            f"| {name} | {number} | {_some(shown_in[number] + tested_in[number])} |"
            f" {_some(named_in[number])} |"
        )
    lines += [
        "",
        "Not announced, and why:",
        "",
        "| Capability | Reason |",
        "|---|---|",
        *(f"| {name} | {reason} |" for name, reason in NOT_ANNOUNCED.items()),
    ]
    return lines


def _some(names: list[str]) -> str:
    more = f"<br>and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "<br>".join(names[:SHOWN]) + more


def problems() -> list[str]:
    """Names that must not be announced yet."""
    shown_in, tested_in, named_in = transcripts(), tests(), code()
    found = []
    for name in announced():
        if name in NO_RFC:
            continue
        number = RFCS.get(name)
        if number is None:
            found.append(f"{name} is announced and has no RFC in tools/imap_extensions.py")
        elif not (shown_in[number] or tested_in[number]):
            found.append(f"{name} is announced and no test names RFC {number}")
        elif not named_in[number]:
            found.append(f"{name} is announced and no code names RFC {number}")
    names = set(announced())
    found += [
        f"{name} is of the first wave and not announced" for name in FIRST if name not in names
    ]
    known = names | NOT_ANNOUNCED.keys()
    found += [
        f"{name} is not announced, and no reason says why" for name in SECOND if name not in known
    ]
    found += [f"{name} is announced all the same" for name in NOT_ANNOUNCED if name in names]
    return found
