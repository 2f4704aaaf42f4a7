"""Invented letters for big stores: French clinical prose in the encodings clients use, from a seed.

One letter in `RARE_EVERY` holds `RARE`, so that a search can be checked against a known count.
"""

from __future__ import annotations

import base64
import quopri
import random
from email.header import Header

RARE = "phéochromocytome"
RARE_EVERY = 500
_FIRST = ("Zoé", "Max", "Noé", "Éloïse", "François", "Chloé", "Théo", "Inès", "Jérôme", "Anaïs")
_LAST = ("Tartempion", "Dupontel", "Exemple", "Patientest", "Marteaubois", "Chêneverger", "Lefaux")
_SUBJECTS = (
    "Compte rendu de consultation",
    "Résultats de biologie",
    "Lettre de sortie d'hospitalisation",
    "Compte rendu opératoire",
    "Avis spécialisé demandé",
    "Imagerie : scanner thoracique",
)
_PROSE = """
patient consultation traitement douleur thoracique tension artérielle glycémie bilan
hépatique créatinine échographie scanner radiographie œdème fièvre antibiotique posologie
allergie antécédents familiaux tabagisme hypertension diabète insuffisance cardiaque
rénale aiguë chronique prélèvement hémoglobine leucocytes plaquettes électrocardiogramme
auscultation pulmonaire examen clinique normal stable améliorée surveillance rendez-vous
semaine ordonnance renouvelée kinésithérapie rééducation cicatrisation pansement
infirmière domicile le la les un une de du des et en pour avec sans depuis ce jour
confraternellement cher confrère
"""
_BOUNDARY = "----=_Lettre_0"


def letter(number: int, octets: int, seed: int = 0) -> bytes:
    """Letter `number`: about `octets` long, always the same for the same arguments."""
    chance = random.Random(f"{seed}/{number}")
    who = f"{chance.choice(_FIRST)} {chance.choice(_LAST)}"
    subject = f"{chance.choice(_SUBJECTS)} {number:07d}"
    local = f"m{chance.randrange(200):03d}"
    head = [
        f"Return-Path: <{local}@cabinet-b.test>",
        "Received: from mx.cabinet-b.test (mx.cabinet-b.test [192.0.2.7]) by mx.hopital-a.test",
        f" with ESMTPS id {number:026d}; Mon, 05 Jan 2026 09:15:00 +0100",
        f"From: {Header('Dr ' + who, 'utf-8').encode()} <{local}@cabinet-b.test>",
        "To: zoe.tartempion@hopital-a.test",
        f"Subject: {Header(subject, 'utf-8').encode()}",
        f"Date: Mon, {1 + number % 28:02d} Jan 2026 09:{number % 60:02d}:00 +0100",
        f"Message-ID: <{number}.{seed}@cabinet-b.test>",
        "MIME-Version: 1.0",
    ]
    text = _prose(chance, max(80, octets - 900), rare=number % RARE_EVERY == 0)
    return "\r\n".join(head).encode("ascii") + b"\r\n" + _body(chance, text)


def _prose(chance: random.Random, octets: int, *, rare: bool) -> str:
    words = _PROSE.split()
    lines, length = ["Cher confrère,", ""], 16
    if rare:
        lines.append(f"Suspicion de {RARE}.")
    while length < octets:
        line = " ".join(chance.choices(words, k=11))
        lines.append(line)
        length += len(line) + 2
    return "\r\n".join(lines) + "\r\n"


def _body(chance: random.Random, text: str) -> bytes:
    """One of four shapes: 8bit, quoted-printable in Latin-1, base64, text with an attachment."""
    shape = chance.randrange(4)
    if shape == 0:
        return _part("utf-8", "8bit", text.encode())
    if shape == 1:
        latin = text.replace("œ", "oe").encode("latin-1")
        printable = quopri.encodestring(latin.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        return _part("iso-8859-1", "quoted-printable", printable)
    if shape == 2:
        return _part("utf-8", "base64", _base64(text.encode()))
    half = len(text) // 2
    return b"".join(
        (
            f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"\r\n\r\n'.encode(),
            f"--{_BOUNDARY}\r\n".encode(),
            _part("utf-8", "8bit", text[:half].encode()),
            f"\r\n--{_BOUNDARY}\r\n".encode(),
            b'Content-Type: application/pdf; name="cr.pdf"\r\n',
            b'Content-Disposition: attachment; filename="cr.pdf"\r\n',
            b"Content-Transfer-Encoding: base64\r\n\r\n",
            _base64(chance.randbytes(half * 3 // 4)),
            f"--{_BOUNDARY}--\r\n".encode(),
        )
    )


def _part(charset: str, encoding: str, octets: bytes) -> bytes:
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}"
    return head.encode() + b"\r\n\r\n" + octets


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
