"""The bench of the client interface, short, against the running space (OP-98)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mssmtp.demo.authority import Authority
from tests.motco2.__main__ import of_space
from tests.motco2.bench import cases, table
from tests.motco2.cases import judged
from tests.motco2.target import Box
from tests.space import RunningSpace

pytestmark = [pytest.mark.end_to_end, pytest.mark.xdist_group("space")]


@pytest.mark.requirement("OP-98", "CL-06", "CL-09", "OP-04", "OP-05")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", ["TLS", "login", "send and fetch", "limits and refusals"])
def test_every_case_of_the_bench_holds(space: RunningSpace, group: str) -> None:
    target = of_space(space, space.b)
    lines = [judged(case, target) for case in cases(target, long=False) if group in case.group]
    assert len(lines) >= 7
    assert [line for line in lines if line.mark == "fails"] == []
    assert table(lines).count("\n| ✓ |") == sum(line.mark == "holds" for line in lines)


@pytest.mark.requirement("OP-98")
def test_the_bench_sees_a_wrong_root_and_a_wrong_password(
    space: RunningSpace, authority: Authority, tmp_path: Path
) -> None:
    other = tmp_path / "autre.pem"
    other.write_bytes(authority.anchors_pem)
    good = of_space(space, space.b)
    stranger = dataclasses.replace(good, ca_file=other)
    refused = dataclasses.replace(good, box=Box(good.box.address, "x" * 20))
    by_name = {case.asked: case for case in cases(good, long=False)}
    chain = next(case for name, case in by_name.items() if name.startswith("host name and chain"))
    assert judged(chain, stranger).mark == "fails"
    assert judged(by_name["SMTP AUTH PLAIN and AUTH LOGIN"], refused).mark == "fails"
    assert judged(by_name["QUOTA and CONDSTORE are offered"], good).mark in ("open", "holds")
