"""Units of signals: how they are spelled, what turns one into another, and what counts as flat in each."""

from __future__ import annotations

_UNITS = {  # name -> quantity, power of ten, other spellings in lower case
    "V": ("V", 0, ("volt", "volts")),
    "mV": ("V", -3, ("millivolt", "millivolts")),
    "uV": ("V", -6, ("µv", "μv", "microvolt", "microvolts")),  # the micro sign, and the Greek letter
    "nV": ("V", -9, ("nanovolt", "nanovolts")),
    "T": ("T", 0, ("tesla",)),
    "pT": ("T", -12, ("picotesla",)),
    "fT": ("T", -15, ("femtotesla",)),
    "T/m": ("T/m", 0, ()),
}
UNITS = tuple(_UNITS)
_UNIT_OF = {"none": ""} | {
    spelling: unit for unit, (_, _, others) in _UNITS.items() for spelling in (unit.lower(), *others)
}
_FLAT_POWERS = {"V": -7, "T": -15, "T/m": -14}  # peak to peak over a second; far below any amplifier's noise


def canonical_unit(unit: str) -> str:
    """``uV`` for every spelling of microvolts, and so on; an unknown unit stays as it is."""
    return _UNIT_OF.get(unit.strip().lower(), unit.strip())


def quantity(unit: str) -> str:
    """What a unit measures, as the name of its base unit (V, T or T/m); empty when the unit is unknown."""
    return _UNITS[unit][0] if unit in _UNITS else ""


def factor(unit: str, wanted: str) -> float:
    """What a value in ``unit`` is multiplied by to be in ``wanted``.

    Raises
    ------
    ValueError
        They do not measure the same, or one is unknown.
    """
    if not quantity(unit) or quantity(unit) != quantity(wanted):
        raise ValueError(f"{unit!r} cannot be turned into {wanted!r}")
    return 10.0 ** (_UNITS[unit][1] - _UNITS[wanted][1])


def flat_threshold(unit: str) -> float:
    """A signal whose range over a second is below this, in ``unit``, is none: 0.1 µV, 1 fT, 10 fT/m."""
    name, power, _ = _UNITS[unit]
    return 10.0 ** (_FLAT_POWERS[name] - power)
