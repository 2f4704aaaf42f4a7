"""What is ours in the trust space: keys, certificates, the state of our domains."""

from mssmtp.own.findings import findings
from mssmtp.own.keys import NotPresentable, OwnKeys
from mssmtp.own.memory import Memory, OwnFiles
from mssmtp.own.spaces import space_in_force
from mssmtp.own.standing import Standing, standings, standings_of
from mssmtp.own.watch import NotFetched, Outside, OwnWatch

__all__ = [
    "Memory",
    "NotFetched",
    "NotPresentable",
    "Outside",
    "OwnFiles",
    "OwnKeys",
    "OwnWatch",
    "Standing",
    "findings",
    "space_in_force",
    "standings",
    "standings_of",
]
