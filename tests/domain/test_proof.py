"""The decision table of domain/proof.py."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.domain.mac import Mac
from provisioning.domain.proof import PROOFS, Decision, Proof, Shown, Terms, decide

ITS, OTHER = Mac("001565000001"), Mac("001565000002")


@pytest.mark.parametrize("proof", PROOFS)
def test_each_proof_of_the_phone_itself_is_enough(proof: Proof):
    assert decide(ITS, Shown(**{proof: ITS}), Terms()) == Decision(proof, "proved")


@pytest.mark.parametrize("proof", PROOFS)
def test_a_proof_of_another_phone_is_none(proof: Proof):
    assert decide(ITS, Shown(**{proof: OTHER}), Terms()) == Decision(None, "foreign")


@pytest.mark.parametrize(("stronger", "weaker"), list(itertools.combinations(PROOFS, 2)))
def test_the_strongest_proof_counts_and_a_foreign_one_takes_none_away(stronger: Proof, weaker: Proof):
    assert decide(ITS, Shown(**{stronger: ITS, weaker: ITS}), Terms()).proof == stronger
    assert decide(ITS, Shown(**{stronger: OTHER, weaker: ITS}), Terms()).proof == weaker
    assert decide(ITS, Shown(**{stronger: ITS, weaker: OTHER}), Terms()).proof == stronger


def test_nothing_shown():
    assert decide(ITS, Shown(), Terms()) == Decision(None, "no-proof")


@pytest.mark.parametrize("proof", PROOFS)
def test_each_proof_can_be_switched_off(proof: Proof):
    others = tuple(other for other in PROOFS if other != proof)
    assert decide(ITS, Shown(**{proof: ITS}), Terms(accepted=others)) == Decision(None, "switched-off")
    for other in others:
        assert decide(ITS, Shown(**{proof: ITS, other: ITS}), Terms(accepted=others)).proof == other


@pytest.mark.parametrize(
    ("terms", "decision"),
    [
        (Terms(channel="tls"), Decision("secret", "proved")),
        (Terms(channel="clear"), Decision(None, "unencrypted")),
        (Terms(channel="clear", clear=True), Decision("secret", "proved")),
        (Terms(channel="clear", legacy=True), Decision(None, "unencrypted")),
        (Terms(channel="legacy"), Decision(None, "legacy")),
        (Terms(channel="legacy", legacy=True), Decision("secret", "proved")),
        (Terms(channel="legacy", clear=True), Decision(None, "legacy")),
        # A switched-off proof is told before the channel: nobody may conclude that TLS would help.
        (Terms(channel="clear", accepted=("door",)), Decision(None, "switched-off")),
    ],
)
def test_lines_leave_only_over_a_channel_that_suits_them(terms: Terms, decision: Decision):
    assert decide(ITS, Shown(secret=ITS), terms) == decision


whose = st.sampled_from([None, ITS, OTHER])


@given(
    st.builds(Shown, *[whose] * len(PROOFS)),
    st.builds(
        Terms,
        st.frozensets(st.sampled_from(PROOFS)),
        st.sampled_from(["tls", "legacy", "clear"]),
        st.booleans(),
        st.booleans(),
    ),
)
def test_lines_never_leave_without_an_accepted_proof_of_this_very_phone(shown: Shown, terms: Terms):
    decision = decide(ITS, shown, terms)
    if decision.proof is None:
        assert decision.reason != "proved"
    else:
        assert getattr(shown, decision.proof) == ITS
        assert decision.proof in terms.accepted
        assert {"tls": True, "legacy": terms.legacy, "clear": terms.clear}[terms.channel]
