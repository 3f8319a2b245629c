"""Left and right exchanged by name: electrodes over the midline, classes, and what has no other side."""

import pytest

from decoders.mirror import check_mirror, mirror_classes, mirror_order
from decoders.spec import DecoderSpec, SpecError


@pytest.mark.parametrize(
    ("channels", "order"),
    [
        (("C3", "Cz", "C4"), [2, 1, 0]),
        (("c3", "CZ", "C4"), [2, 1, 0]),
        (("C3 8-12", "C4 8-12", "C3 12-16", "C4 12-16"), [1, 0, 3, 2]),
        (("FFC1h", "FFC2h", "TP9", "TP10", "FCz"), [1, 0, 3, 2, 4]),
        (("Fp1", "Fp2", "AF7", "AF8", "POz", "Iz", "O1", "O2", "FTT9h", "FTT10h"), [1, 0, 3, 2, 4, 5, 7, 6, 9, 8]),
    ],
)
def test_counterparts_over_the_midline(channels, order):
    assert mirror_order(channels).tolist() == order


@pytest.mark.parametrize("label", ["EEG", "ch1", "EEG 001", "STI 014", "X1", "3"])
def test_numbers_alone_are_no_sides(label):
    with pytest.raises(SpecError, match="is not named as in the 10-20 system, so it has no side"):
        mirror_order((label, "ch2", "X2"))


def test_a_partner_must_be_there():
    with pytest.raises(SpecError, match="C3 has no partner C4 across the midline; add it or leave C3 out"):
        mirror_order(("C3", "Cz"))


def test_classes_are_exchanged_by_their_names():
    assert mirror_classes(("Left_hand", "feet", "right_hand")).tolist() == [2, 1, 0]
    with pytest.raises(SpecError, match="classes a, b are no mirror images by name; call them left and right"):
        mirror_classes(("a", "b"))


def test_a_decoder_is_not_mirrored_whose_classes_are_no_sides():
    plain = {"name": "x", "channels": ("C3", "C4"), "sfreq_hz": 80.0, "hop": 8, "receptive_field": 80}
    check_mirror(DecoderSpec(**plain, classes=("left", "right"), options={"mirror": 1.0}))
    with pytest.raises(SpecError, match="classes left, rest are no mirror images"):
        check_mirror(DecoderSpec(**plain, classes=("left", "rest"), options={"mirror": 1.0}))
