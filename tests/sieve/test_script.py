"""Scripts that may be stored, and those that may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssmtp.sieve.budget import STEPS, Budget
from mssmtp.sieve.faults import BadScript, ScriptFailed
from mssmtp.sieve.interpreter import MAX_FORWARDS, run
from mssmtp.sieve.outcome import Filing, Outcome
from mssmtp.sieve.script import MAX_OCTETS, Script
from mssmtp.sieve.signatures import EXTENSIONS
from tests.sieve import cases
from tests.sieve.letters import PLAIN, box_of, letter_of

ALL = "require [" + ",".join(f'"{name}"' for name in EXTENSIONS) + "];\n"
KEPT = (Filing("INBOX"),)
_TOKENS = [
    *("if", "elsif", "else", "require", "keep", "stop", "fileinto", "redirect", "set", "vacation"),
    *("header", "address", "not", "allof", "anyof", "true", "size", "body", "hasflag", "addflag"),
    *(":is", ":matches", ":contains", ":over", ":flags", ":copy", ":comparator", ":count", ":days"),
    *('"subject"', '"*"', '"a@b.test"', '"${1}"', '"${hex: 41}"', '["a", "b"]', "[", "]", "(", ")"),
    *(
        "{",
        "}",
        ";",
        ",",
        "10",
        "10K",
        "9999999999",
        "text:\r\n.\r\n",
        "text:",
        '"',
        "\\",
        "/*",
        "*/",
    ),
    *("#", "\r\n", " ", "\n", '"variables"', '"fileinto"', ":", "é", "\x00"),
]


def done(script: str, octets: bytes = PLAIN, steps: int = STEPS) -> Outcome:
    return run(
        Script.read(script.encode()),
        letter_of(octets),
        box_of("Archive", "Junk", junk="Junk"),
        Budget(steps),
    )


@given(st.lists(st.sampled_from(_TOKENS), max_size=40).map(" ".join))
def test_any_tokens_are_a_script_or_a_bad_one(text: str) -> None:
    try:
        script = Script.read((ALL + text).encode())
    except BadScript:
        return
    run(script, letter_of(PLAIN), box_of())


@given(st.binary(max_size=200))
def test_any_octets_are_a_script_or_a_bad_one(octets: bytes) -> None:
    try:
        Script.read(octets)
    except BadScript:
        return


@pytest.mark.parametrize("script", cases.STRICTER)
def test_what_can_never_be_right_is_refused_when_it_is_stored(script: str) -> None:
    with pytest.raises(BadScript):
        Script.read((ALL + script).encode())


def test_a_fault_names_its_line() -> None:
    with pytest.raises(BadScript, match="ligne 3"):
        Script.read(b'require "fileinto";\r\n\r\nfileinto;\r\n')


@pytest.mark.parametrize("name", ["fileinto", "redirect :copy", "vacation", "setflag", "set"])
def test_an_extension_is_unknown_until_it_is_required(name: str) -> None:
    with pytest.raises(BadScript):
        Script.read(f'{name} "a@b.test";'.encode())


def test_reject_is_unknown_because_the_sender_has_his_250_already() -> None:
    with pytest.raises(BadScript, match="extension inconnue"):
        Script.read(b'require "reject"; reject "non";')


def test_encoded_characters_are_read_in_strings() -> None:
    script = (
        'require ["fileinto","encoded-character"]; fileinto "${hex: c3 a9}${unicode:e9}${hex}";'
    )
    assert done(script).filings == (Filing("éé${hex}"),)


def test_a_special_use_names_the_mailbox_that_has_it() -> None:
    use = 'require ["fileinto","special-use","mailbox"]; fileinto :specialuse "\\\\Junk" "Spam";'
    assert done(use).filings == (Filing("Junk"),)
    other = use.replace("Junk", "Archive")
    assert done(other).filings == (Filing("Spam"),)
    exists = use.partition(";")[0] + (
        '; if allof(specialuse_exists "\\\\Junk", specialuse_exists "Junk" "\\\\junk",'
        ' not specialuse_exists "\\\\Archive", mailboxexists ["Archive","inbox"],'
        ' not mailboxexists "None") { discard; }'
    )
    assert done(exists).filings == ()


def test_redirect_can_ask_for_a_receipt() -> None:
    script = 'require "vnd.mssmtp.receipt"; redirect :receipt "dpi@hopital-b.test";'
    (forward,) = done(script).forwards
    assert forward.asks_receipt


@pytest.mark.attack("ATT-28")
@pytest.mark.parametrize(
    "script",
    [
        'require ["variables"];' + 'set "a" "${a}${a}x";' * 3_000,
        "if anyof(" + ",".join(['header :matches "subject" "*?*?*?*?*?*?*z"'] * 1_200) + ") {}",
        'require "body";' + 'if body :contains "zz" { stop; }' * 500,
    ],
)
def test_att_28_a_bomb_is_stopped_and_the_letter_kept(script: str) -> None:
    long = PLAIN.replace(b"normal", b"normal " * 40_000).replace(b"urgent", b"u" * 20_000)
    stopped = done(script, long)
    assert "trop de travail" in stopped.failure
    assert stopped.filings == KEPT


@pytest.mark.attack("ATT-28")
@pytest.mark.parametrize("test", ["header", "address", "header :mime", "date"])
def test_att_28_what_is_decoded_is_paid_for_each_time(test: str) -> None:
    """Counting compares nothing, yet every value is decoded before it is counted."""
    many = ",\r\n ".join(f"a{n} <a{n}@hopital-a.test>" for n in range(700))
    long = f"To: {many}\r\nSubject: {'=?utf-8?Q?Zo=C3=A9?= ' * 1_500}\r\n\r\n".encode()
    counted = f'{test} :count "ge" '
    names = ",".join(['"to"' if test == "address" else '"subject"'] * 500)
    once = f'{counted}[{names}] "1"'
    if test == "date":
        once = " , ".join([f'{counted}"subject" "year" "9"'] * 1_000)
    stopped = done(f"{ALL}if anyof({once}) {{ discard; }}", long)
    assert "trop de travail" in stopped.failure
    assert stopped.filings == KEPT


@pytest.mark.attack("ATT-28")
def test_att_28_a_pattern_is_not_tried_twice() -> None:
    subject = b"Subject: " + b"a" * 30_000 + b"\r\n\r\n"
    script = 'if header :matches "subject" "' + "*a" * 5_000 + '*b" { discard; }'
    assert done(script, subject).filings == KEPT


@pytest.mark.attack("ATT-28")
@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("if not " * 40 + "true {}", "imbriqués"),
        ("if true {" * 40 + "}" * 40, "imbriqués"),
        ("keep;" * 5_000, "plus de"),
        ("#" * (MAX_OCTETS + 1), "trop long"),
        ("keep :flags " + '"' + "x" * 40_000 + '";', "trop long"),
        ("require [" + ",".join(['"fileinto"'] * 2_000) + "];", "liste"),
    ],
)
def test_att_28_a_script_is_bounded_when_it_is_stored(script: str, why: str) -> None:
    with pytest.raises(BadScript, match=why):
        Script.read(script.encode())


@pytest.mark.attack("ATT-28")
def test_att_28_a_letter_is_redirected_to_four_at_most() -> None:
    script = "".join(f'redirect "m{n}@hopital-b.test";' for n in range(MAX_FORWARDS))
    assert len(done(script).forwards) == MAX_FORWARDS
    stopped = done(script + 'redirect "one.more@hopital-b.test";')
    assert (stopped.forwards, stopped.filings) == ((), KEPT)
    assert "redirections" in stopped.failure


@pytest.mark.attack("ATT-28")
def test_att_28_copies_and_variables_are_counted() -> None:
    script = 'require "fileinto";' + "".join(f'fileinto "m{n}";' for n in range(40))
    assert "actions" in done(script).failure
    script = 'require "variables";' + "".join(f'set "v{n}" "";' for n in range(200))
    assert "variables" in done(script).failure


def test_the_budget_ends_a_run_at_the_same_step_each_time() -> None:
    script = 'keep; if header :contains "subject" "x" { discard; } keep;'
    needed = next(steps for steps in range(100) if not done(script, steps=steps).failure)
    assert done(script, steps=needed - 1) == Outcome(
        KEPT, failure="ligne 1 : le script demande trop de travail pour ce message"
    )


def test_a_failed_run_says_where() -> None:
    budget = Budget(1)
    budget.step(7)
    with pytest.raises(ScriptFailed, match="ligne 7"):
        budget.spend(1)
