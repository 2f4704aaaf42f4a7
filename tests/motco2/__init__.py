"""The client interface as a certification bench sees it: from outside, with the standard library.

Made before ANS's own bench (MOTCO2) is met: what is wrong here would be wrong there (OP-98). It
knows nothing of the server but addresses, two boxes and the root its users have learnt.
"""
