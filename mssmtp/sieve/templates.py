"""Scripts that come with the server, for a box to take as its own."""

from __future__ import annotations

from mssmtp.mail import Address
from mssmtp.sieve.signatures import RECEIPT

XDM = "xdm"
"""Name of the script made of `xdm`."""


def xdm(application: Address) -> str:
    """CL-72: what holds a patient's documents goes to the box of the software too, which is asked
    for a receipt; people keep their copy (messages.md §7)."""
    return (
        "# Les courriels avec une archive IHE_XDM.zip vont aussi à la boîte applicative.\r\n"
        f'require ["copy", "mime", "{RECEIPT}"];\r\n'
        "if anyof (\r\n"
        '    header :matches "Subject" "XDM/1.0/DDM*",\r\n'
        '    header :mime :anychild :param ["filename", "name"]\r\n'
        '        :is ["Content-Disposition", "Content-Type"] "IHE_XDM.zip"\r\n'
        ") {\r\n"
        f'    redirect :copy :receipt "{application}";\r\n'
        "}\r\n"
    )
