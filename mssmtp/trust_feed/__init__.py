"""Door to the trust space's publications: the signed list over HTTPS and the CRLs."""

from mssmtp.trust_feed.feed import TrustFeed

__all__ = ["TrustFeed"]
