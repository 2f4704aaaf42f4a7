"""The local register of professionals (OP-45): who has which number, and whether it is open."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, insert, select, update

from mssmtp.errors import Damaged
from mssmtp.storage.model import to_us
from mssmtp.storage.schema import register, sql
from mssmtp.storage.view import View, WritingView

REGISTER = b"register"

_ENTRY = sql(
    select(register.c.id, register.c.sealed).where(register.c.digest == bindparam("digest"))
)
_NEW = sql(
    insert(register)
    .values({name: bindparam(name) for name in ("digest", "sealed", "updated_at")})
    .returning(register.c.id)
)
_SEAL = sql(
    update(register)
    .where(register.c.id == bindparam("entry"))
    .values(sealed=bindparam("new"), updated_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class RegisterEntry:
    """A professional: idNatPS, name, profession, and whether the right to exercise is open."""

    national_id: str
    last_name: str
    first_name: str = ""
    profession: str = ""
    is_open: bool = True


class RegisterReading(View):
    """Looking it up."""

    def register_entry(self, national_id: str) -> RegisterEntry | None:
        """The professional with this idNatPS. Raises Damaged."""
        found = self._register_row(national_id)
        return None if found is None else found[1]

    def _register_row(self, national_id: str) -> tuple[int, RegisterEntry] | None:
        for digest in self._master_digests(REGISTER, national_id):
            if (row := self._one(_ENTRY, digest=digest)) is not None:
                octets = self._master_open(register_purpose(row[0]), row[1])
                entry = RegisterEntry(**json.loads(octets))
                if entry.national_id != national_id:
                    raise Damaged("an entry of the register stands under another number")
                return row[0], entry
        return None


class RegisterWriting(RegisterReading, WritingView):
    """Keeping it."""

    def put_register_entry(self, entry: RegisterEntry) -> None:
        """A new one, or another in the place of the one with this number."""
        now = to_us(self._vault.clock.now())
        found = self._register_row(entry.national_id)
        if found is None:
            digest = self._master_digest(REGISTER, entry.national_id)
            id = self._new(_NEW, digest=digest, sealed=b"", updated_at=now)[0]
        else:
            id = found[0]
        sealed = self._master_seal(register_purpose(id), json.dumps(asdict(entry)).encode())
        self._run(_SEAL, entry=id, new=sealed, at=now)


def register_purpose(entry: int) -> bytes:
    """What the sealed part of a row of `register` is bound to."""
    return b"register\0%d" % entry
