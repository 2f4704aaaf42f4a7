"""What mail programs are told so that an address is enough to set them up (OP-85).

    servers.py       the doors for people, as they are reached from outside
    mozilla.py       Thunderbird and who reads its format: config-v1.1.xml
    autodiscover.py  Outlook: the question it posts, the answers it understands
    apple.py         the profile of iPhone, iPad and Mac
    records.py       the DNS records to publish

Everything follows from the settings: nothing here knows whether an address exists.
"""

from mssmtp.autoconfig.servers import Server as Server
from mssmtp.autoconfig.servers import best as best
from mssmtp.autoconfig.servers import servers as servers
