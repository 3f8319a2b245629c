"""Every spelling of a unit, and what turns one into another."""

import itertools

import pytest

from bci.units import UNITS, canonical_unit, factor, flat_threshold, quantity


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [
        ("microvolts", "uV"), (" µV ", "uV"), ("μV", "uV"), ("UV", "uV"), ("mV", "mV"), ("Volts", "V"), ("nV", "nV"),
        ("tesla", "T"), ("fT", "fT"), ("picotesla", "pT"), ("T/m", "T/m"), ("none", ""), ("", ""), ("a.u.", "a.u."),
    ],
)  # fmt: skip
def test_spellings(spelling, unit):
    assert canonical_unit(spelling) == unit


@pytest.mark.parametrize("unit", UNITS)
def test_a_canonical_name_stays(unit):
    assert canonical_unit(unit) == unit
    assert factor(unit, unit) == 1.0


def test_factors():
    assert (factor("V", "uV"), factor("mV", "uV"), factor("nV", "V")) == (1e6, 1e3, 1e-9)
    assert (factor("fT", "T"), factor("T", "pT")) == (1e-15, 1e12)


def test_what_measures_something_else_has_no_factor():
    assert [quantity(unit) for unit in ("uV", "fT", "T/m", "", "counts")] == ["V", "T", "T/m", "", ""]
    for a, b in [("T", "T/m"), ("uV", "fT"), ("counts", "uV"), ("uV", ""), ("", "")]:
        with pytest.raises(ValueError, match="into"):
            factor(a, b)


def test_flat_is_the_same_in_every_unit_of_a_quantity():
    assert (flat_threshold("uV"), flat_threshold("T"), flat_threshold("T/m")) == (0.1, 1e-15, 1e-14)
    for a, b in itertools.product(UNITS, UNITS):
        if quantity(a) == quantity(b):
            assert flat_threshold(a) * factor(a, b) == pytest.approx(flat_threshold(b))
