"""D6 at length: a mailbox of 100,000 letters, its packs thrown away, made anew, and compared.

    python -m bench.rebuild DIR [--messages 100000]

Prints a digest over all that FETCH and SEARCH answer from (summaries, the plain content of every
pack) before and after, and ends with 1 when they differ.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.fill import CLOCK, ENTROPY, Filler, Plan, settings_of
from bench.search import RARE_KEY, answer, opened
from mssmtp.imap.selected import Selected
from mssmtp.mail import Uid
from mssmtp.storage import Reading, Store
from mssmtp.storage.messages import PACK_UIDS
from mssmtp.storage.textsealing import TextKind
from mssmtp.storage.textspans import Span


def digest(store: Store, selected: Selected) -> str:
    """Of every summary and of every packed text, and of a search."""
    total = hashlib.sha256()
    uids = [Uid(uid) for uid in selected.view.uids]
    for start in range(0, len(uids), PACK_UIDS):
        some = uids[start : start + PACK_UIDS]
        for octets in store.read(_contents(selected, some), patient=True).result():
            total.update(len(octets).to_bytes(8, "big") + octets)
    total.update(repr(answer(store, selected, RARE_KEY)[0]).encode())
    return total.hexdigest()


def _contents(selected: Selected, uids: list[Uid]) -> Callable[[Reading], list[bytes]]:
    mailbox = selected.mailbox.id

    def job(reading: Reading) -> list[bytes]:
        found = [octets for _, octets in reading.summaries(mailbox, uids)]
        for kind in TextKind:
            texts = reading.open_texts(mailbox, kind, Span(uids[0], uids[-1])) or {}
            found += [text or b"" for _, text in sorted(texts.items())]
        return found

    return job


def main() -> None:
    """Fill a new home, make its packs, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--messages", type=int, default=100_000)
    options = parser.parse_args()
    is_new = not options.directory.exists()
    with closing(Store(settings_of(options.directory), CLOCK, ENTROPY, worker="bench")) as store:
        if is_new:
            for _ in Filler(store, Plan(options.messages, octets=4_000)).run():
                pass
        selected = opened(store)
        store.rebuild(from_the_start=True)
        before = digest(store, selected)
        for says in ("as they are", "thrown away"):
            if says == "thrown away":
                store.write(lambda w: (w.drop_packs(), w.drop_texts())).result()
            began = time.perf_counter()
            report = store.rebuild(from_the_start=True)
            seconds = time.perf_counter() - began
            print(
                f"packs {says}: {report.messages} messages in {seconds:.0f} s,"
                f" {report.messages / seconds:.0f}/s; summaries {report.summaries},"
                f" packs {report.packs}, texts {report.texts}",
                flush=True,
            )
        after = digest(store, selected)
        print(f"before {before}\nafter  {after}")
        if before != after or not report.all_identical:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
