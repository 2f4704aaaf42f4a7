"""Service mail to people's usual addresses: codes, links, notices of what happened (DEF-04).

The one part that speaks to the ordinary Internet, with a queue and a relay of its own. It carries
no letter and no attachment, and no letter has a way into it: `Desk.tell` takes a kind and a few
short values, and what is written about a letter is its sender and its title (DEF-15).
"""

from mssmtp.notices.desk import Desk, NoticesDown
from mssmtp.notices.kinds import Kind

__all__ = ["Desk", "Kind", "NoticesDown"]
