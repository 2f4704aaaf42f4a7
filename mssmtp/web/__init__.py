"""Door: the pages that holders of accounts open in a browser.

    door.py         sockets, TLS, connections, requests in and answers out; the event loop
    card_port.py    the port that asks browsers for the certificate of a card, and nothing else
    connections.py  how many at once, and how long one may take to say what it wants
    reading.py      the body of a request: its limits, its fields, its files
    answering.py    one request in a thread: whose it is, where it comes from, its page, its octets
    sessions.py     who is logged in; the store keeps what recognises a session, never its token
    page.py         what a page is made of, and what it may answer
    pages/          one module for each matter
    programs.py     what mail programs ask to be set up, which is no page and wants no login
    showing.py      templates; texts.py: what they say, in French and in English

A page is one module of `pages/` that ends with `PAGES = (Page(...), ...)` and has its line in
`pages/__init__.py`; its template stands in `templates/`, its texts in `texts/fr/NAME.toml` and
`texts/en/NAME.toml` (used as `t("NAME.key")`), its line of the menu, if it has one, in `menu.py`:

    def _get(call: Call) -> Answer:
        rows = call.site.store.read(lambda reading: ...).result()
        return Shown("activity.html", {"rows": rows})

    PAGES = (Page("compte/activite", Needs.SESSION, get=_get),)

`get` and `post` run in a thread and may wait for the store. `get` changes nothing. When `post` is
called, the form has been sent by a page of ours to the session that is logged in (`answering.py`);
what it refuses it raises, and its page is shown again with the reason. Rights are asked of the
rooms below, never decided in a page.
"""
