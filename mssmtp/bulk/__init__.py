"""Loading accounts from a file: read (CSV, XLSX), checked line by line, planned, applied, reported.

SEED-39, DEF-10. Nothing here opens a file or a socket: a stream comes in, values and sentences in
French go out; what is stored goes through the rooms below.
"""

from mssmtp.bulk.columns import BadFile, Column, Line, Problem
from mssmtp.bulk.plan import Plan, planned
from mssmtp.bulk.reading import read_lines
from mssmtp.bulk.report import Outcome, Told
from mssmtp.bulk.request import Request, Verb

__all__ = [
    "BadFile",
    "Column",
    "Line",
    "Outcome",
    "Plan",
    "Problem",
    "Request",
    "Told",
    "Verb",
    "planned",
    "read_lines",
]
