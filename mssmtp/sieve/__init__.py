"""Sieve (RFC 5228) as a quiet room: a script, a letter and a box in; what is to be done out."""
