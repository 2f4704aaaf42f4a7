"""Policy: Facts -> Decision. Rules are pure functions, tables come from the configuration."""

from mssmtp.policy.engine import Decision, Engine
from mssmtp.policy.explain import as_dict, explain
from mssmtp.policy.facts import BadFacts, condensed, facts_from_bytes, facts_to_bytes
from mssmtp.policy.moves import Moves
from mssmtp.policy.refusals import all_replies, quotable

__all__ = [
    "BadFacts",
    "Decision",
    "Engine",
    "Moves",
    "all_replies",
    "as_dict",
    "condensed",
    "explain",
    "facts_from_bytes",
    "facts_to_bytes",
    "quotable",
]
