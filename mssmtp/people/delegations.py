"""Who may open the box of another, how long, and who hears of it (SEED-42, DEF-12, DEF-23, F10).

A delegate has a login of the own; the holder's password is never shared. Whatever is given or taken
back is traced in the activity of both, and the holder is told at the usual address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mssmtp.config_policy import DelegationSettings
from mssmtp.mail import AccountId, Bal, BalState, BalType, DelegateRight, PersonState
from mssmtp.notices import Desk, Kind
from mssmtp.people import persons
from mssmtp.people.boxes import OF_PERSONS
from mssmtp.people.refusing import NotAllowed
from mssmtp.storage import Delegation, DelegationKind, Reading, TraceKind, Writing

LEAST_REASON = 10
"""Characters: a word is no reason for opening another's mail."""
_SHOWN = {
    DelegateRight.READ: "lire",
    DelegateRight.REPLY: "lire, répondre",
    DelegateRight.SEND: "lire, répondre, écrire au nom du titulaire",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """The box `bal` for the person who logs in as `delegate`; `by` is who says so."""

    bal: Bal
    delegate: str
    by: str
    right: DelegateRight = DelegateRight.READ
    begins_at: datetime | None = None
    ends_at: datetime | None = None
    reason: str = ""


class Delegations:
    """Gives and takes back, inside a transaction of the caller."""

    def __init__(self, settings: DelegationSettings, retention: timedelta, desk: Desk) -> None:
        """`retention`: how long the mail of a closed box stays (OP-49)."""
        self._settings, self._retention, self._desk = settings, retention, desk

    def delegate(self, writing: Writing, wish: Wish, now: datetime) -> Delegation:
        """The holder names somebody (DEF-12); without `ends_at` until it is taken back.

        A delegation of the same person that is in force is replaced. Raises NotAllowed.
        """
        account, _ = self._delegate_of(writing, wish)
        made = self._given(writing, wish, account, DelegationKind.DELEGATION, now)
        values = {
            "box": str(wish.bal.address),
            "delegate": wish.delegate,
            "rights": _SHOWN[made.right],
            "until": _until(made.ends_at),
        }
        self._tell(writing, Kind.DELEGATION, wish.bal, values)
        return made

    def hand_over(self, writing: Writing, wish: Wish, now: datetime) -> Delegation:
        """A colleague of the structure looks after what is unread or not done, and what comes from
        now on (DEF-23): during an absence, or in a box that was closed. Always with an end, and
        senders are told. Raises NotAllowed."""
        account, own = self._delegate_of(writing, wish)
        self._require_colleague(wish, own)
        if wish.begins_at is not None and wish.begins_at > now:
            raise NotAllowed(
                str(wish.bal.address),
                "une relève commence à l'instant : elle porte sur ce qui reste à lire à ce moment",
                "Donnez-la sans date de début, le jour du départ.",
            )
        _require_end(wish, now, self._longest(writing, wish.bal, now))
        made = self._given(writing, wish, account, DelegationKind.HANDOVER, now)
        values = {
            "box": str(wish.bal.address),
            "colleague": wish.delegate,
            "until": _until(made.ends_at),
        }
        self._tell(writing, Kind.HANDOVER, wish.bal, values)
        return made

    def break_glass(self, writing: Writing, wish: Wish, now: datetime) -> Delegation:
        """A certified professional of the structure reads the box at once, for hours, and says why
        (F10); the holder is told who and why. Raises NotAllowed."""
        account, own = self._delegate_of(writing, wish)
        self._require_colleague(wish, own)
        if own.type is not BalType.PER or own.person is not PersonState.CERTIFIED:
            raise NotAllowed(
                wish.delegate,
                "l'accès d'urgence est réservé à un professionnel certifié de la structure",
                "Nommez un titulaire d'une boîte PER certifié.",
            )
        if len(wish.reason.strip()) < LEAST_REASON or not wish.reason.isprintable():
            raise NotAllowed(
                str(wish.bal.address),
                f"un accès d'urgence se motive en {LEAST_REASON} caractères au moins",
                "Donnez le motif, sur une ligne ; le titulaire le lira.",
            )
        _require_end(wish, now, self._settings.break_glass_at_most)
        made = self._given(writing, wish, account, DelegationKind.BREAK_GLASS, now)
        values = {
            "box": str(wish.bal.address),
            "person": wish.delegate,
            "reason": wish.reason.strip(),
            "until": _until(made.ends_at),
        }
        self._tell(writing, Kind.BREAK_GLASS, wish.bal, values)
        return made

    def end(self, writing: Writing, given: Delegation, by: str) -> None:
        """Take it back; nothing of the box is left at the next command of an open session."""
        writing.end_delegation(given)
        writing.note_reactions(given.bal)
        _trace(writing, given, by, "ended")

    def _longest(self, reading: Reading, bal: Bal, now: datetime) -> timedelta:
        """Of a handover: not beyond the day on which the mail of a closed box is destroyed."""
        longest = self._settings.handover_at_most
        closed_at = reading.closed_at(bal.id)
        return longest if closed_at is None else min(longest, closed_at + self._retention - now)

    def _given(
        self,
        writing: Writing,
        wish: Wish,
        account: AccountId,
        kind: DelegationKind,
        now: datetime,
    ) -> Delegation:
        is_handover = kind is DelegationKind.HANDOVER
        begins = now if is_handover else wish.begins_at or now
        if wish.ends_at is not None and (wish.ends_at <= begins or wish.ends_at <= now):
            raise NotAllowed(
                str(wish.bal.address), "la fin précède le début", "Donnez une date à venir."
            )
        for each in writing.delegations_of(wish.bal.id):
            if each.account == account and each.kind is kind and each.ended_at is None:
                writing.end_delegation(each)
        right = DelegateRight.READ if kind is DelegationKind.BREAK_GLASS else wish.right
        new = Delegation(
            wish.bal.id,
            account,
            right,
            begins,
            wish.ends_at,
            kind,
            wish.reason.strip(),
            wish.by,
        )
        made = writing.hand_over(new) if is_handover else writing.add_delegation(new)
        if is_handover:
            writing.note_reactions(wish.bal.id)
        _trace(writing, made, wish.by, "given")
        return made

    def _delegate_of(self, reading: Reading, wish: Wish) -> tuple[AccountId, Bal]:
        """Account and own box of the delegate: a person, another one, who may log in."""
        bal = wish.bal
        if bal.type not in OF_PERSONS:
            raise NotAllowed(
                str(bal.address),
                f"une boîte {bal.type} n'est pas déléguée",
                "Une boîte ORG a des membres (`mssmtp bal member add`) ; une boîte APP sert à un"
                " logiciel, jamais à une personne.",
            )
        account = reading.account(wish.delegate)
        own = None if account is None else reading.box_of(account.id)
        if account is None or own is None or own.type not in OF_PERSONS:
            raise NotAllowed(
                wish.delegate,
                "n'est le compte d'aucune personne ici",
                "Un délégué a son propre compte ; créez-le d'abord.",
            )
        is_finalised = own.person is not PersonState.PRE_REGISTERED
        if own.id == bal.id or not account.active or own.state is not BalState.ACTIVE:
            why = "est le titulaire" if own.id == bal.id else "ne peut pas se connecter"
            raise NotAllowed(wish.delegate, why, "Nommez une autre personne.")
        if not is_finalised:
            raise NotAllowed(
                wish.delegate,
                "n'a pas finalisé son compte",
                "Attendez que la personne ait choisi son mot de passe (SEED-37).",
            )
        persons.require_attested_account(reading, account.id)
        return account.id, own

    def _require_colleague(self, wish: Wish, own: Bal) -> None:
        """DEF-23: of the same structure; without structures, of the same domain."""
        holder = wish.bal
        is_same = (
            own.structure == holder.structure
            if own.structure is not None or holder.structure is not None
            else own.address.domain == holder.address.domain
        )
        if not is_same:
            raise NotAllowed(
                wish.delegate,
                "n'est pas de la structure du titulaire",
                "Nommez un collègue de la même structure.",
            )

    def _tell(self, writing: Writing, kind: Kind, bal: Bal, values: dict[str, str]) -> None:
        """The holder, by the usual address; the activity log has it in any case."""
        account = writing.account_of(bal.id)
        person = None if account is None else writing.person_by_account(account.id)
        to = person or bal.usual_address
        if to is not None:
            self._desk.tell(writing, kind, to, values, bal=bal.id)


def _require_end(wish: Wish, now: datetime, longest: timedelta) -> None:
    latest = (wish.begins_at or now) + longest
    if wish.ends_at is None or wish.ends_at > latest:
        raise NotAllowed(
            str(wish.bal.address),
            f"cet accès finit au plus tard le {_until(latest)}",
            "Donnez une fin plus proche.",
        )


def _trace(writing: Writing, one: Delegation, by: str, what: str) -> None:
    """In the activity of the holder and in that of the delegate (SEED-48)."""
    bal = writing.bal_by_id(one.bal)
    box = "" if bal is None else str(bal.address)
    delegate = writing.account_login(one.account) or ""
    request = f"{one.kind} {what}: {delegate} may {one.right} in {box}, until {_until(one.ends_at)}"
    if one.reason:
        request += f"; {one.reason}"
    holder = writing.account_of(one.bal)
    is_urgent = one.kind is DelegationKind.BREAK_GLASS
    kind: TraceKind = "break-glass" if is_urgent else "rights"
    accounts = {one.account} if holder is None else {one.account, holder.id}
    for account in sorted(accounts):
        writing.trace(kind, by, request, account=account, bal=one.bal)


def _until(moment: datetime | None) -> str:
    return "retrait" if moment is None else f"{moment:%d/%m/%Y à %H:%M} UTC"
