"""Door to the trust space's publications: the signed list over HTTPS and the CRLs."""

from mssmtp.trust_feed.brakes import AHEAD
from mssmtp.trust_feed.cards import PLACE as CARDS
from mssmtp.trust_feed.cards import CardFeed
from mssmtp.trust_feed.crls import CRL_ALARM
from mssmtp.trust_feed.feed import TrustFeed
from mssmtp.trust_feed.files import ChoiceRefused, TrustFiles
from mssmtp.trust_feed.lists import freshness, list_rules
from mssmtp.trust_feed.peers import PeerFiles
from mssmtp.trust_feed.state import Event, Failure, Held, ListState, State

__all__ = [
    "AHEAD",
    "CARDS",
    "CRL_ALARM",
    "CardFeed",
    "ChoiceRefused",
    "Event",
    "Failure",
    "Held",
    "ListState",
    "PeerFiles",
    "State",
    "TrustFeed",
    "TrustFiles",
    "freshness",
    "list_rules",
]
