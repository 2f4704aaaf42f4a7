"""Each guard behind a line of "bad input" taken away, one at a time: the tests have to notice.

    python -m tests.weakened              (some ten minutes)
    python -m tests.weakened revoked      (those whose name holds the word)

The tree is copied, one text is replaced in the copy, and the tests named must fail there. That each
text is still in the source is a test of the suite: a guard that moves takes its entry along.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_WITHIN_S = 240


@dataclass(frozen=True, slots=True)
class Weakening:
    """One guard: where it stands, what replaces it, which tests must fail without it."""

    name: str
    file: str
    guard: str
    weakened: str
    tests: tuple[str, ...]


WEAKENINGS = (
    Weakening(
        "size of a bulk file before it is read",
        "mssmtp/bulk/reading.py",
        "    if size > MAX_FILE_OCTETS:\n",
        "    if False:\n",
        ("tests/bulk/test_csv.py",),
    ),
    Weakening(
        "what a workbook unpacks to",
        "mssmtp/bulk/xlsx_guard.py",
        "        if part.file_size > most or (is_dense and part.file_size > 1_048_576):\n",
        "        if False:\n",
        ("tests/bulk/test_xlsx.py",),
    ),
    Weakening(
        "elements of a workbook",
        "mssmtp/bulk/xlsx_guard.py",
        "            or self.inside > MAX_IN_ROW\n",
        "",
        ("tests/bulk/test_xlsx.py",),
    ),
    Weakening(
        "document type of a workbook",
        "mssmtp/bulk/xlsx_guard.py",
        "    parser.StartDoctypeDeclHandler = _no_doctype\n",
        "",
        ("tests/bulk/test_xlsx.py",),
    ),
    Weakening(
        "two lines of one account",
        "mssmtp/bulk/plan.py",
        "        if len(lines) > 1:\n",
        "        if False:\n",
        ("tests/bulk/test_plan.py",),
    ),
    Weakening(
        "replies behind a group of commands",
        "mssmtp/smtp_wire.py",
        "        elif self._buffer and not self._outstanding:\n",
        "        elif False:\n",
        ("tests/smtp_out/test_transaction.py",),
    ),
    Weakening(
        "line ends inside a chunk",
        "mssmtp/smtp_transaction.py",
        "        stuffer.check(letter)\n        stuffer.checked()\n",
        "",
        ("tests/smtp_out/test_transaction.py",),
    ),
    Weakening(
        "TLS that nobody promises onward",
        "mssmtp/smtp_out.py",
        "    if content.require_tls and not connection.promises_tls:\n",
        "    if False:\n",
        ("tests/smtp_out/test_hostile_peers.py",),
    ),
    Weakening(
        "address of a gateway",
        "mssmtp/gateways.py",
        "        found = next((each for each in named if each.is_at(address)), None)\n",
        "        found = named[0]\n",
        ("tests/smtp_in/test_gateway_door.py",),
    ),
    Weakening(
        "name of a gateway's certificate",
        "mssmtp/gateways.py",
        "        named = [each for each in self.all if name in each.names]\n",
        "        named = list(self.all)\n",
        ("tests/smtp_in/test_gateway_door.py",),
    ),
    Weakening(
        "XCLIENT from a declared server alone",
        "mssmtp/smtp_gateway.py",
        "        if not self._conversation.secured or not self._may_tell():\n",
        "        if not self._conversation.secured:\n",
        ("tests/smtp_in/test_gateway_door.py",),
    ),
    Weakening(
        "host name of a hospital's server",
        "mssmtp/smtp_hospital.py",
        "        if not certificate_hosts(leaf) & self._names:\n",
        "        if not certificate_hosts(leaf):\n",
        ("tests/smtp_out/test_hospital.py",),
    ),
    Weakening(
        "RSET behind half a transaction",
        "mssmtp/smtp_pool.py",
        "is_fresh and not connection.is_midway",
        "is_fresh",
        ("tests/smtp_out/test_hospital.py",),
    ),
    Weakening(
        "a report of somebody else's recipient",
        "mssmtp/storage/receipts.py",
        "return one if vouched(one.address) else None",
        "return one",
        ("tests/smtp_in/test_receipts_at_the_doors.py",),
    ),
    Weakening(
        "a sent copy of another body",
        "mssmtp/storage/sent.py",
        "{letter.body_sha256.hex()}",
        "",
        ("tests/imap/test_transcripts.py",),
    ),
    Weakening(
        "a sent copy is joined once",
        "mssmtp/storage/sent.py",
        " or place.sides & _FILED:\n",
        ":\n",
        ("tests/imap/test_transcripts.py",),
    ),
    Weakening(
        "a scanner that gives no verdict",
        "mssmtp/antivirus.py",
        "            raise _down(said.decode",
        '            return ""\n            raise _down(said.decode',
        ("tests/smtp_in/test_antivirus.py",),
    ),
    Weakening(
        "what the scanner has not taken",
        "mssmtp/antivirus.py",
        "        if self.waiting_octets > BUFFER_OCTETS:\n",
        "        if False:\n",
        ("tests/smtp_in/test_antivirus.py",),
    ),
    Weakening(
        "work of one run of a script",
        "mssmtp/sieve/budget.py",
        "        if self.left < 0:\n",
        "        if False:\n",
        ("tests/sieve/test_script.py",),
    ),
    Weakening(
        "redirections of one letter",
        "mssmtp/sieve/interpreter.py",
        "        if len(self._forwards) > MAX_FORWARDS:\n",
        "        if False:\n",
        ("tests/sieve/test_script.py",),
    ),
    Weakening(
        "length of an IMAP line",
        "mssmtp/imap/framer.py",
        "            if len(self._buffer) > room + 1:\n",
        "            if len(self._buffer) > 2 * room + 1_000_000:\n",
        ("tests/imap/test_bounds.py", "tests/imap/test_framer.py"),
    ),
    Weakening(
        "one spelling of a name",
        "mssmtp/imap/names.py",
        "    if encode(name) != octets:\n        raise BadName\n",
        "",
        ("tests/imap/test_syntax.py",),
    ),
    Weakening(
        "text in the place of a header",
        "mssmtp/message/scanner.py",
        "                self._check_section(waiting)  # of a header: text may wait\n",
        "",
        ("tests/message/test_scanner.py",),
    ),
    Weakening(
        "octets of a preview",
        "mssmtp/message/preview.py",
        "    stop = min(node.body_end, node.body_start + MOST_READ)\n",
        "    stop = node.body_end\n",
        ("tests/message/test_preview.py",),
    ),
    Weakening(
        "rights behind a URL",
        "mssmtp/imap/urls.py",
        "mailboxes.find(reading, principal, self.mailbox, mailboxes.READ)",
        'mailboxes.find(reading, principal, self.mailbox, "")',
        ("tests/imap/test_arriving.py",),
    ),
    Weakening(
        "a bomb in a compressed stream",
        "mssmtp/imap/deflate.py",
        "self._given > MOST_TIMES * self._taken",
        "self._given < 0",
        ("tests/imap/test_deflate.py",),
    ),
    Weakening(
        "octets behind COMPRESS",
        "mssmtp/imap/commands/compress.py",
        "        if session.framer.buffered:\n",
        "        if False:\n",
        ("tests/imap_server/test_door.py",),
    ),
    Weakening(
        "a summary beyond the limits",
        "mssmtp/storage/summaries.py",
        "    except TooComplex:\n        return None\n    return scanner\n",
        "    except ZeroDivisionError:\n        return None\n    return scanner\n",
        ("tests/imap/test_exactness.py",),
    ),
    Weakening(
        "threads: looks for a loop",
        "mssmtp/imap/threads.py",
        "                if at == child or self._steps < 0:\n",
        "                if at == child:\n",
        ("tests/imap/test_threads.py",),
    ),
    Weakening(
        "threads: references of one message",
        "mssmtp/imap/threads.py",
        "            return ids[-MOST_REFERENCES:]\n",
        "            return ids\n",
        ("tests/imap/test_threads.py",),
    ),
    Weakening(
        "threads: messages that are only referred to",
        "mssmtp/imap/threads.py",
        "        if len(self.parents) >= MOST_NODES:\n",
        "        if False:\n",
        ("tests/imap/test_threads.py",),
    ),
    Weakening(
        "a search in many mailboxes: rights",
        "mssmtp/imap/sources.py",
        "    except (NoSuchMailbox, Refused):\n        return\n",
        "    except (NoSuchMailbox, Refused):\n        raise\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "events: by the rights of now",
        "mssmtp/imap/noticing.py",
        "            READ in each.rights,\n            counts_of(mailbox),\n",
        "            True,\n            counts_of(mailbox),\n",
        ("tests/imap/test_notify.py",),
    ),
    Weakening(
        "events: how many at once",
        "mssmtp/imap/pushing.py",
        "    if len(found.lines) > MOST_EVENTS or _is_too_much(found):\n",
        "    if False:\n",
        ("tests/imap/test_notify.py",),
    ),
    Weakening(
        "events: a look that failed",
        "mssmtp/imap/pushing.py",
        "        watching.hear_everything(heard.annotated)\n        raise\n",
        "        raise\n",
        ("tests/imap/test_notify.py",),
    ),
    Weakening(
        "names: taken by what is hidden",
        "mssmtp/imap/mailboxes.py",
        "        if found is not None and depth == len(levels) and LOOKUP not in inside:\n",
        "        if False:\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "rights in the middle of a long command",
        "mssmtp/imap/mailboxes.py",
        "    now = rights(reading, principal, mailbox)\n    demand(now, READ + needed)\n",
        "    now = ALL_RIGHTS\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "readings: how many are remembered",
        "mssmtp/storage/readings.py",
        "            kept = new[: max(MOST_KEPT - self._count, 0)]\n",
        "            kept = new\n",
        ("tests/imap/test_readings.py",),
    ),
    Weakening(
        "annotations: rights",
        "mssmtp/imap/metadata.py",
        "    if not may_be_read(rights):\n",
        "    if False:\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "annotations: what all share, a reader does not change",
        "mssmtp/imap/commands/setmetadata.py",
        "            mailboxes.demand(rights, mailboxes.WRITE)\n",
        "            pass\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "annotations: how long",
        "mssmtp/imap/commands/setmetadata.py",
        "        if any(value and len(value) > MAX_VALUE for _, value in self.values):\n",
        "        if False:\n",
        ("tests/imap/test_metadata.py",),
    ),
    Weakening(
        "annotations: how many",
        "mssmtp/imap/commands/setmetadata.py",
        "                if len(kept) > MOST_ENTRIES or ",
        "                if ",
        ("tests/imap/test_metadata.py",),
    ),
    Weakening(
        "names in UTF-8: octets that are none",
        "mssmtp/imap/names.py",
        '        return folded(octets.decode("utf-8"))\n',
        '        return folded(octets.decode("utf-8", "replace"))\n',
        ("tests/imap/test_mailbox_names.py",),
    ),
    Weakening(
        "names: control characters",
        "mssmtp/imap/names.py",
        "    if _CONTROL.search(stripped):\n",
        "    if False:\n",
        ("tests/imap/test_mailbox_names.py",),
    ),
    Weakening(
        "rights of one mailbox",
        "mssmtp/imap/mailboxes.py",
        "    return general if exception is None else exception\n",
        "    return general\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "rights: a hidden mailbox is not there",
        "mssmtp/imap/mailboxes.py",
        "    if LOOKUP in rights:\n        raise Refused",
        "    if LOOKUP in rights or rights:\n        raise Refused",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "rights of an open mailbox, asked again",
        "mssmtp/imap/welcome.py",
        "    if selected is not None and selected.mailbox.bal in session.principal.roles:\n",
        "    if False:\n",
        ("tests/imap/test_rights.py",),
    ),
    Weakening(
        "expunged messages that the store has forgotten",
        "mssmtp/storage/tombstones.py",
        "return given is not None and buried is not None and given[0] - 1 == given[1] + buried[0]",
        "return True",
        ("tests/imap/test_qresync_model.py",),
    ),
    Weakening(
        "an expunge that waits behind a modseq",
        "mssmtp/imap/sync.py",
        "        out.append(_highest(ModSeq(news.withheld - 1)))\n",
        "        pass\n",
        ("tests/imap/test_transcripts.py",),
    ),
    Weakening(
        "what vanished of what the session still counts",
        "mssmtp/imap/vanished.py",
        "(uid for uid in gone if view.position(uid) is None)",
        "gone",
        ("tests/imap/test_transcripts.py",),
    ),
    Weakening(
        "where decoding can go on",
        "mssmtp/imap/streams.py",
        "        at = self._at or self._places.before(self._part, self._start)\n",
        "        at = self._at or BEGINNING\n",
        ("tests/imap/test_streams.py",),
    ),
    Weakening(
        "a suspended box of a known password",
        "mssmtp/identity/authenticator.py",
        "row is None or not state.may_log_in() or self._is_touch_due(row):\n",
        "row is None or self._is_touch_due(row):\n",
        ("tests/identity/test_authenticator.py",),
    ),
    Weakening(
        "sieves of expunged messages",
        "mssmtp/storage/messages.py",
        "            for kind in (0, 1, 2):\n",
        "            for kind in (0, 1):\n",
        ("tests/storage/test_texts.py",),
    ),
    Weakening(
        "no certificate",
        "mssmtp/revocation.py",
        'raise CertificateRefused("no certificate")',
        "return",
        ("tests/trust/test_decision.py", "tests/trust/test_chains.py"),
    ),
    Weakening(
        "unlisted",
        "mssmtp/trust.py",
        "    if not operator.domains:\n",
        "    if False:\n",
        ("tests/trust/test_decision.py",),
    ),
    Weakening(
        "other operator's certificate",
        "mssmtp/trust.py",
        "    if operator.dn not in names:\n",
        "    if False:\n",
        ("tests/trust/test_decision.py",),
    ),
    Weakening(
        "expired, wrong authority",
        "mssmtp/pki.py",
        "        context.verify_certificate()\n",
        "        pass\n",
        ("tests/trust/test_chains.py",),
    ),
    Weakening(
        "revoked",
        "mssmtp/revocation.py",
        '    if any(status.verdict == "revoked" for status in statuses):\n',
        "    if False:\n",
        ("tests/trust/test_chains.py",),
    ),
    Weakening(
        "CRL past its end",
        "mssmtp/revocation.py",
        "            if crl.is_in_date(now) and crl.scope.covers(certificate):\n",
        "            if crl.scope.covers(certificate):\n",
        ("tests/trust/test_chains.py", "tests/trust/test_revocation.py"),
    ),
    Weakening(
        "CRL of others",
        "mssmtp/revocation.py",
        "            if crl.is_in_date(now) and crl.scope.covers(certificate):\n",
        "            if crl.is_in_date(now):\n",
        ("tests/trust/test_revocation.py",),
    ),
    Weakening(
        "delta CRL",
        "mssmtp/revocation.py",
        "for crl in loaded if not _is_delta(crl))",
        "for crl in loaded)",
        ("tests/trust/test_revocation.py",),
    ),
    Weakening(
        "older CRL",
        "mssmtp/trust_feed/crls.py",
        "            if crl.number < held.number:\n",
        "            if False:\n",
        ("tests/trust/test_feed.py",),
    ),
    Weakening(
        "CRL of another authority in its place",
        "mssmtp/trust_feed/crls.py",
        "        self._check_follows(url, crls, now)\n",
        "        pass\n",
        ("tests/trust/test_hostile_server.py",),
    ),
    Weakening(
        "validators that cannot be sent back",
        "mssmtp/trust_feed/fetch.py",
        "    return said if said.isascii() and said.isprintable() else None\n",
        "    return said\n",
        ("tests/trust/test_hostile_server.py",),
    ),
    Weakening(
        "OCSP answer of anybody",
        "mssmtp/ocsp.py",
        "    if usages is None or Eku.OCSP_SIGNING not in usages:\n",
        "    if False:\n",
        ("tests/trust/test_ocsp.py",),
    ),
    Weakening(
        "OCSP answer of yesterday",
        "mssmtp/ocsp.py",
        "    if not hmac.compare_digest(said, nonce):\n",
        "    if False:\n",
        ("tests/trust/test_ocsp.py",),
    ),
    Weakening(
        "OCSP answer about another",
        "mssmtp/ocsp.py",
        "        if (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (\n",
        "        if True or () == (\n",
        ("tests/trust/test_ocsp.py",),
    ),
    Weakening(
        "OCSP pardon",
        "mssmtp/revocation.py",
        '            known.verdict == "revoked"\n            or ',
        "            ",
        ("tests/trust/test_ocsp.py",),
    ),
    Weakening(
        "stranger makes us ask",
        "mssmtp/responder.py",
        "                pki.judge_certificate(leaf, snapshot.anchors, role, now)\n",
        "                pass\n",
        ("tests/trust/test_responder.py",),
    ),
    Weakening(
        "kept connection of a revoked peer",
        "mssmtp/smtp_pool.py",
        "                await self._settled(connection, wanted)\n"
        "            except PeerNotTrusted as error:\n",
        "                pass\n            except PeerNotTrusted as error:\n",
        ("tests/smtp_out/test_relay.py",),
    ),
    Weakening(
        "wrong EKU",
        "mssmtp/pki.py",
        "    if not _fits(leaf, role, require_eku=require_eku):\n",
        "    if False:\n",
        ("tests/trust/test_chains.py",),
    ),
    Weakening(
        "null sender of a name that has left the list",
        "mssmtp/trust.py",
        "    if not listed.domains_of(operator.dn):\n",
        "    if False:\n",
        ("tests/trust/test_decision.py",),
    ),
    Weakening(
        "From of another operator",
        "mssmtp/policy/header_from.py",
        '    return refuse("from.peer", refusals.FROM_FOREIGN.reply(), why)\n',
        '    return accept("from.peer", why)\n',
        ("tests/policy", "tests/acceptance/test_sessions.py"),
    ),
    Weakening(
        "foreign From, without a domain that comes",
        "mssmtp/policy/header_from.py",
        "        box.domain in tables.moves.coming and box.domain in listed",
        "        box.domain in listed",
        ("tests/policy",),
    ),
    Weakening(
        "foreign From, for another's box",
        "mssmtp/policy/header_from.py",
        " and facts.sender in (None, box)\n",
        "\n",
        ("tests/policy/test_moves.py",),
    ),
    Weakening(
        "relay for strangers while a domain leaves",
        "mssmtp/policy/recipient.py",
        "    return leaving and not recipient.is_local_domain and recipient.bal is not None\n",
        "    return leaving and not recipient.is_local_domain\n",
        ("tests/policy/test_moves.py",),
    ),
    Weakening(
        "served before its date",
        "mssmtp/policy/moves.py",
        "        return moment if moment is not None and now < moment else None\n\n"
        "    def leaving_until",
        "        return None\n\n    def leaving_until",
        ("tests/policy/test_moves.py",),
    ),
    Weakening(
        "handed on to ourselves",
        "mssmtp/smtp_pool.py",
        "        if operator.dn in wanted.nobody_of:\n",
        "        if False:\n",
        ("tests/acceptance/test_moves.py",),
    ),
    Weakening(
        "queue deaf to a new list",
        "mssmtp/smtp_out.py",
        "                    await self._heed_list()\n",
        "",
        ("tests/smtp_out/test_moves.py",),
    ),
    Weakening(
        "announced move given up after 48 hours",
        "mssmtp/smtp_record.py",
        "        if again is None and until is not None:\n",
        "        if False:\n",
        ("tests/acceptance/test_moves.py",),
    ),
    Weakening(
        "server certificate not judged",
        "mssmtp/smtp_pool.py",
        "        self._judge(connection, wanted)\n",
        "        pass\n",
        ("tests/acceptance/test_certificates.py",),
    ),
    Weakening(
        "peer's smaller SIZE",
        "mssmtp/smtp_out.py",
        "    if largest is not None and content.size_octets > largest:\n",
        "    if False:\n",
        ("tests/acceptance/test_sessions.py",),
    ),
    Weakening(
        "refused in the handshake",
        "mssmtp/tls_refusal.py",
        "        return int(error == _LIB.X509_V_OK)\n",
        "        return 1\n",
        ("tests/acceptance/test_handshake.py",),
    ),
    Weakening(
        "our bug in the handshake",
        "mssmtp/tls_refusal.py",
        "        return _OTHERWISE\n",
        "        return 0\n",
        ("tests/acceptance/test_handshake.py",),
    ),
    Weakening(
        "matrix: key usages",
        "mssmtp/pki.py",
        "    if not _fits(leaf, role, require_eku=require_eku):\n",
        "    if False:\n",
        ("tests/acceptance/test_certificates.py",),
    ),
    Weakening(
        "matrix: listed name",
        "mssmtp/trust.py",
        "    if operator.dn not in names:\n",
        "    if False:\n",
        ("tests/acceptance/test_certificates.py",),
    ),
    Weakening(
        "matrix: weak keys and digests",
        "mssmtp/pki.py",
        "    if is_weak(leaf):\n",
        "    if False:\n",
        ("tests/acceptance/test_certificates.py",),
    ),
    Weakening(
        "matrix: authorities of other kinds",
        "mssmtp/pki.py",
        "    if not any(leaf.issuer == issuer.subject for issuer in anchors.issuing):\n",
        "    if False:\n",
        ("tests/acceptance/test_certificates.py",),
    ),
    Weakening(
        "a separator character is white space",
        "mssmtp/pki.py",
        '    return _RUN_OF_SPACE.sub(" ", value).strip(" ")',
        '    return " ".join(value.split())',
        ("tests/trust/test_names.py",),
    ),
    Weakening(
        "weak keys and digests",
        "mssmtp/pki.py",
        "    if is_weak(leaf):\n",
        "    if False:\n",
        ("tests/trust/test_against_openssl.py",),
    ),
    Weakening(
        "another authority below our root",
        "mssmtp/pki.py",
        "    if not any(leaf.issuer == issuer.subject for issuer in anchors.issuing):\n",
        "    if False:\n",
        ("tests/trust/test_against_openssl.py",),
    ),
    Weakening(
        "a list changed after signing",
        "mssmtp/whitelist_signature.py",
        "    signed = _verified_root(root, signer)\n",
        "    signed = root\n    signed.remove(signed[-1])\n",
        ("tests/trust/test_against_xmlsec.py", "tests/trust/test_list.py"),
    ),
    Weakening(
        "unknown or foreign recipient",
        "mssmtp/policy/engine.py",
        "    + recipient.RULES\n",
        "",
        ("tests/policy",),
    ),
    Weakening(
        "oversize, announced",
        "mssmtp/smtp/transaction.py",
        "        if command.size_octets > limit:\n",
        "        if False:\n",
        ("tests/smtp/test_transaction.py", "tests/smtp_in"),
    ),
    Weakening(
        "oversize, not announced",
        "mssmtp/smtp/receiver.py",
        "            self.too_big = True\n",
        "            pass\n",
        ("tests/smtp/test_receiver.py",),
    ),
    Weakening(
        "bare CR or LF",
        "mssmtp/smtp/receiver.py",
        "            self.bare = True\n",
        "            pass\n",
        ("tests/smtp/test_receiver.py",),
    ),
    Weakening(
        "NUL",
        "mssmtp/smtp/receiver.py",
        "            self.nul = True\n",
        "            pass\n",
        ("tests/smtp/test_receiver.py",),
    ),
    Weakening(
        "a dot between other line ends",
        "mssmtp/smtp/receiver.py",
        "            self.ambiguous = bool(_DOT_LINE.search(window)) or (\n",
        "            self.ambiguous = False and (\n",
        ("tests/smtp/test_receiver.py", "tests/smtp_in"),
    ),
    Weakening(
        "a chunk of a message that was refused",
        "mssmtp/smtp_reception.py",
        "        if message.failure is not None:\n            raise message.failure\n",
        "",
        ("tests/smtp_in/test_chunks.py", "tests/smtp_in/test_transcripts.py"),
    ),
    Weakening(
        "a bare line end in a chunk",
        "mssmtp/smtp/receiver.py",
        '        self.bare = self._line_ends.newlines not in (None, "\\r\\n")\n',
        "",
        ("tests/smtp/test_receiver.py", "tests/smtp_in/test_chunks.py"),
    ),
    Weakening(
        "a chunk whose size cannot be read",
        "mssmtp/smtp_reception.py",
        "            self._is_last = True  # ATT-35: nobody knows",
        "            pass  # ATT-35: nobody knows",
        ("tests/smtp_in/test_transcripts.py",),
    ),
    Weakening(
        "a machine from elsewhere",
        "mssmtp/machines.py",
        "        return comes_from(address, self.networks)\n",
        "        return True\n",
        ("tests/smtp_in/test_appliance_door.py",),
    ),
    Weakening(
        "a machine in a person's box",
        "mssmtp/machines.py",
        "bal is None or bal.type is not BalType.APP or bal.state is not BalState.ACTIVE:",
        "bal is None:",
        ("tests/smtp_in/test_appliance_door.py",),
    ),
    Weakening(
        "100,000 headers",
        "mssmtp/smtp/content.py",
        "            if len(self._held) > self._limit + len(_EMPTY_LINE):\n",
        "            if False:\n",
        ("tests/smtp", "tests/smtp_in"),
    ),
    Weakening(
        "clear text behind STARTTLS, SMTP",
        "mssmtp/smtp_machine.py",
        "        if len(self._inbox):\n            # RFC 3207",
        "        if False:\n            # RFC 3207",
        ("tests/smtp_in",),
    ),
    Weakening(
        "clear text behind STARTTLS, IMAP",
        "mssmtp/imap/commands/starttls.py",
        "        if session.framer.buffered:\n",
        "        if False:\n",
        ("tests/imap", "tests/imap_server"),
    ),
    Weakening(
        "literal of 4 GiB before login",
        "mssmtp/imap/incoming.py",
        "    elif session.state is State.NOT_AUTHENTICATED or (\n",
        "    elif False and (\n",
        ("tests/imap", "tests/imap_server"),
    ),
    Weakening(
        "wrong passwords",
        "mssmtp/smtp_machine.py",
        "            if self._wrong_passwords >= self._house.rules.limits.wrong_passwords:\n",
        "            if False:\n",
        ("tests/smtp_in",),
    ),
    Weakening(
        "broken configuration",
        "mssmtp/config_base.py",
        'extra="forbid"',
        'extra="ignore"',
        ("tests/cli/test_settings.py",),
    ),
    Weakening(
        "key file others can read",
        "mssmtp/tls_settings.py",
        "    if mode & 0o077:\n",
        "    if False:\n",
        ("tests/tls/test_settings.py",),
    ),
    Weakening(
        "port in use",
        "mssmtp/workers.py",
        "            _probe(door, endpoint)\n",
        "            pass\n",
        ("tests/workers",),
    ),
    Weakening(
        "full disk",
        "mssmtp/storage/database.py",
        "        if primary == sqlite3.SQLITE_FULL:\n",
        "        if False:\n",
        ("tests/storage/test_faults.py",),
    ),
    Weakening(
        "missing key file",
        "mssmtp/tls_settings.py",
        "    except OSError as error:\n        raise ConfigError(\n"
        '            str(path), f"cannot be read',
        "    except ZeroDivisionError as error:\n        raise ConfigError(\n"
        '            str(path), f"cannot be read',
        ("tests/tls/test_settings.py",),
    ),
    Weakening(
        "read-only disk",
        "mssmtp/storage/database.py",
        "        sqlite3.SQLITE_READONLY,\n",
        "",
        ("tests/storage/test_faults.py",),
    ),
    Weakening(
        "list: older",
        "mssmtp/trust_feed/files.py",
        "            if newest is not None and listed.date < newest.date:\n",
        "            if False:\n",
        ("tests/trust/test_feed.py",),
    ),
    Weakening(
        "list: another of the same date",
        "mssmtp/trust_feed/files.py",
        "                if listed.sha256 != newest.sha256:\n",
        "                if False:\n",
        ("tests/trust/test_feed.py",),
    ),
    Weakening(
        "list: what was left by a rollback",
        "mssmtp/trust_feed/files.py",
        "        return digest == state.in_force or held or left\n",
        "        return digest == state.in_force or held\n",
        ("tests/trust/test_history.py",),
    ),
    Weakening(
        "list: the newest date when the state is lost",
        "mssmtp/trust_feed/files.py",
        "        accepted = tuple(self._accepted_on_disk())\n",
        "        accepted: tuple[ListState, ...] = ()\n",
        ("tests/trust/test_history.py",),
    ),
    Weakening(
        "list: shrinks",
        "mssmtp/trust_feed/brakes.py",
        "        if before and (before - after) * 100 > percent * before:\n",
        "        if False:\n",
        ("tests/trust/test_brakes.py",),
    ),
    Weakening(
        "list: shrinks in steps",
        "mssmtp/trust_feed/lists.py",
        "        if not lost:\n",
        "        if False:\n",
        ("tests/trust/test_history.py",),
    ),
    Weakening(
        "list: what was left comes back as a grace",
        "mssmtp/trust_feed/state.py",
        "for each in earlier[::-1] if not each.left)",
        "for each in earlier[::-1] if True)",
        ("tests/trust/test_grace.py",),
    ),
    Weakening(
        "list: our entry lost",
        "mssmtp/trust_feed/brakes.py",
        "        if had and not listed.names(name) & own.names:\n",
        "        if False:\n",
        ("tests/trust/test_brakes.py",),
    ),
    Weakening(
        "list: held until confirmed",
        "mssmtp/trust_feed/lists.py",
        "            reasons = self._reasons_to_hold(listed)\n",
        "            reasons: tuple[str, ...] = ()\n",
        ("tests/trust/test_history.py",),
    ),
    Weakening(
        "list: profile of the signature",
        "mssmtp/whitelist_signature.py",
        "    if found != _PROFILE:\n",
        "    if False:\n",
        ("tests/trust/test_list.py",),
    ),
    Weakening(
        "list: signature",
        "mssmtp/whitelist_signature.py",
        "    signed = _verified_root(root, signer)\n",
        "    signed = root\n    signed.remove(signed[-1])\n",
        ("tests/trust/test_list.py",),
    ),
    Weakening(
        "list: pin of the signer",
        "mssmtp/whitelist_signature.py",
        "        check_pin(signer, rules.pin)\n",
        "        pass\n",
        ("tests/trust/test_list.py",),
    ),
    Weakening(
        "list: document type",
        "mssmtp/whitelist_signature.py",
        '    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:\n',
        "    if False:\n",
        ("tests/trust/test_list.py",),
    ),
    Weakening(
        "list: anchors of its server",
        "mssmtp/trust_feed/fetch.py",
        "    context = client_context(settings.tls, None, anchors_file)\n",
        "    context = client_context(settings.tls, None)\n",
        ("tests/trust/test_proxy.py",),
    ),
    Weakening(
        "own certificate not listed for the sender's domain",
        "mssmtp/own/keys.py",
        "own for own, name in ours if name in names",
        "own for own, name in ours if True",
        ("tests/own/test_choice.py",),
    ),
    Weakening(
        "new pair judged before it is used",
        "mssmtp/own/keys.py",
        "        for problem in problems(own, slot.anchors, slot.roles, self._clock.now()):\n",
        "        for problem in ():\n",
        ("tests/own/test_renewal.py",),
    ),
    Weakening(
        "own name that changes before it is listed",
        "mssmtp/own/keys.py",
        "        if lost:\n            raise _renamed(what, lost)\n",
        "        if False:\n            raise _renamed(what, lost)\n",
        ("tests/own/test_renewal.py",),
    ),
    Weakening(
        "settings that lose a listed name",
        "mssmtp/own/keys.py",
        '        if lost:\n            raise _renamed("tls.operators", lost)\n',
        '        if False:\n            raise _renamed("tls.operators", lost)\n',
        ("tests/own/test_renewal.py",),
    ),
    Weakening(
        "somebody else's key, by the list",
        "mssmtp/own/judging.py",
        "    if bound and served.isdisjoint(bound):\n",
        "    if False:\n",
        ("tests/own/test_holder.py",),
    ),
    Weakening(
        "somebody else's key, by our memory",
        "mssmtp/own/judging.py",
        "    for use in foreign_uses(own, served, memory):\n        raise",
        "    for use in ():\n        raise",
        ("tests/own/test_holder.py",),
    ),
    Weakening(
        "chain sent without its issuer",
        "mssmtp/own/judging.py",
        "    sent = [crypto.X509.from_cryptography(each) for each in chain]\n",
        "    sent = [crypto.X509.from_cryptography(e) for e in (*chain, *anchors.issuing)]\n",
        ("tests/own/test_doors.py",),
    ),
    Weakening(
        "certificate of the other trust space",
        "mssmtp/own/spaces.py",
        "        if found is not None and found != space:\n",
        "        if False:\n",
        ("tests/own/test_holder.py",),
    ),
    Weakening(
        "authorities of the other trust space",
        "mssmtp/own/spaces.py",
        "    for each in found - {None, space}:\n",
        "    for each in frozenset[Space]():\n",
        ("tests/own/test_holder.py",),
    ),
    Weakening(
        "key of the demo in production",
        "mssmtp/own/spaces.py",
        '    if own.is_demo and space == "production":\n',
        "    if False:\n",
        ("tests/own/test_holder.py",),
    ),
    Weakening(
        "home of the other trust space",
        "mssmtp/own/spaces.py",
        "    if remembered is not None and remembered != space:\n",
        "    if False:\n",
        ("tests/own/test_holder.py",),
    ),
    Weakening(
        "key owned by somebody else",
        "mssmtp/tls_settings.py",
        "    if us and status.st_uid not in (us, 0):\n",
        "    if False:\n",
        ("tests/tls/test_settings.py",),
    ),
    Weakening(
        "own domain that is not listed writes outside",
        "mssmtp/policy/standing.py",
        "    if not facts.own_unlisted or all(r.is_local_domain for r in facts.recipients):\n",
        "    if True:\n",
        ("tests/policy/test_standing.py",),
    ),
    Weakening(
        "own domain that is not listed receives from outside",
        "mssmtp/policy/standing.py",
        "        if not recipient.is_local_domain or domain not in states:\n",
        "        if True:\n",
        ("tests/policy/test_standing.py",),
    ),
    Weakening(
        "a list file verified with another certificate of its signer",
        "mssmtp/whitelist_audit.py",
        "        if signer != wanted:\n",
        "        if False:\n",
        ("tests/cli/test_trust_verify.py",),
    ),
    Weakening(
        "a list file whose given signer had ended",
        "mssmtp/whitelist_audit.py",
        "        if date > signer.not_valid_after_utc:\n",
        "        if False:\n",
        ("tests/cli/test_trust_verify.py",),
    ),
    Weakening(
        "a list file of tomorrow",
        "mssmtp/whitelist_audit.py",
        "    if listed.date > at + AHEAD:\n",
        "    if False:\n",
        ("tests/cli/test_trust_verify.py",),
    ),
    Weakening(
        "another name bound to our domain",
        "mssmtp/own_rows.py",
        "            for key in sorted(published.names(domain) - ours):\n",
        "            for key in ():\n",
        ("tests/cli/test_trust_expected.py",),
    ),
    Weakening(
        "another contact published for us",
        "mssmtp/own_rows.py",
        "_plain(expected) != _plain(published)",
        "False",
        ("tests/cli/test_trust_expected.py",),
    ),
)


def is_noticed(weakening: Weakening) -> bool:
    """Do the named tests fail once the guard is gone?"""
    with tempfile.TemporaryDirectory(prefix="mssmtp-weakened-") as folder:
        copy = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__")
        shutil.copytree(ROOT, copy, ignore=ignored)
        target = copy / weakening.file
        source = target.read_text("utf-8")
        target.write_text(source.replace(weakening.guard, weakening.weakened), "utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-n", "2", *weakening.tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    # 2: stopped by -x in one of the two processes.
    return done.returncode in (1, 2) and " failed" in done.stdout


def main(words: list[str]) -> int:
    """Play those asked for; 1 when a missing guard went unnoticed."""
    missed = []
    for weakening in WEAKENINGS:
        if not words or any(word in weakening.name for word in words):
            try:
                said = "noticed" if is_noticed(weakening) else "MISSED"
            except subprocess.TimeoutExpired:
                said = "TOO LONG"
            print(f"{said:<8} {weakening.name}", flush=True)
            if said != "noticed":
                missed.append(weakening.name)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
