"""The pages. A new one has its line here."""

from mssmtp.web.page import Page
from mssmtp.web.pages import (
    account,
    activation,
    activity,
    address,
    box,
    certification,
    devices,
    e_cps,
    envelopes,
    language,
    lending,
    login,
    logins,
    notifying,
    password,
    provider,
    registering,
    reset,
)

ALL: tuple[Page, ...] = (
    *account.PAGES,
    *activation.PAGES,
    *activity.PAGES,
    *address.PAGES,
    *box.PAGES,
    *certification.PAGES,
    *devices.PAGES,
    *e_cps.PAGES,
    *envelopes.PAGES,
    *language.PAGES,
    *lending.PAGES,
    *login.PAGES,
    *logins.PAGES,
    *notifying.PAGES,
    *password.PAGES,
    *provider.PAGES,
    *registering.PAGES,
    *reset.PAGES,
)
