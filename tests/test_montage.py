"""Spatial matrices against MNE, and what is refused."""

import mne
import numpy as np
import pytest
from mne.channels.interpolation import _make_interpolation_matrix

from bci.errors import ConfigError, ModelError
from bci.signal import montage
from bci.signal.positions import POSITIONS_M
from bci.types import Channel

LABELS = ["Fp1", "Fp2", "F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "O2", "T7", "T8"]
CHANNELS = [Channel(label, unit="uV") for label in LABELS]


def raw_of(x, labels=LABELS):
    raw = mne.io.RawArray(x * 1e-6, mne.create_info(labels, 250.0, "eeg"), verbose="error")
    raw.set_montage("colin27_1005")
    return raw


def noise(n=50, seed=0):
    return np.random.default_rng(seed).standard_normal((len(LABELS), n)) * 20


def test_labels_compare_without_case_dots_and_spaces():
    np.testing.assert_array_equal(montage.pick(["Fc5.", "C3..", "Cz.. ", "STATUS"], ["CZ", "fc5"]), [2, 0])


def test_missing_and_ambiguous_labels_are_named():
    with pytest.raises(ModelError, match=r"C5, Oz are missing.*Fp1"):
        montage.pick(LABELS, ["C3", "C5", "Oz"])
    with pytest.raises(ModelError, match="C3 stand more than once"):
        montage.pick(["C3", "c3."], ["C3"])


def test_average_and_bipolar_references_are_those_of_mne():
    x = noise()
    matrix, labels = montage.spatial_matrix(CHANNELS, "average")
    expected = raw_of(x).set_eeg_reference("average", verbose="error").get_data() * 1e6
    np.testing.assert_allclose(matrix @ x, expected, atol=1e-9)
    assert labels == tuple(LABELS)

    matrix, labels = montage.spatial_matrix(CHANNELS, "bipolar", pairs=[("C3", "Cz"), ("C4", "cz")])
    expected = mne.set_bipolar_reference(raw_of(x), ["C3", "C4"], ["Cz", "Cz"], verbose="error")
    assert labels == ("C3-Cz", "C4-cz")
    np.testing.assert_allclose(matrix @ x, expected.get_data(["C3-Cz", "C4-Cz"]) * 1e6, atol=1e-9)


def test_laplacian_subtracts_the_four_nearest():
    labels = ["Cz", "FCz", "CPz", "C1", "C2", "O1", "Fp1"]
    places = np.array([POSITIONS_M[label] for label in labels])
    matrix = montage.laplacian(labels, places)
    np.testing.assert_allclose(matrix[0], [1, -0.25, -0.25, -0.25, -0.25, 0, 0])
    np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-12)
    given = montage.laplacian(labels, places, {"cz": ["O1", "Fp1"]})
    np.testing.assert_allclose(given[0], [1, 0, 0, 0, 0, -0.5, -0.5])
    with pytest.raises(ModelError, match="at least 3"):
        montage.laplacian(["Cz", "Pz"], places[:2])


def test_spherical_splines_are_those_of_mne():
    directions = montage.on_sphere(montage.positions_m(CHANNELS))
    bad = np.isin(LABELS, ["C3", "O2"])
    mine = montage.interpolation(directions[~bad], directions[bad])
    np.testing.assert_allclose(mine, _make_interpolation_matrix(directions[~bad], directions[bad]), atol=1e-10)


def test_interpolated_channels_are_close_to_those_of_mne_on_its_own_sphere():
    t = np.arange(200) / 250
    places = np.array([POSITIONS_M[label] for label in LABELS])
    x = np.sin(20 * places @ np.array([1.0, 2.0, 0.5]))[:, None] * np.sin(2 * np.pi * 10 * t)  # smooth over the head
    raw = raw_of(x)
    raw.info["bads"] = ["C3", "Pz"]
    expected = raw.interpolate_bads(verbose="error").get_data(["C3", "Pz"]) * 1e6
    matrix, _ = montage.spatial_matrix(CHANNELS, bad=["C3", "Pz"])
    good = [label not in ("C3", "Pz") for label in LABELS]
    mine = (matrix @ x[good])[[LABELS.index("C3"), LABELS.index("Pz")]]
    assert np.abs(mine - expected).max() < 0.05 * np.abs(expected).max()
    np.testing.assert_allclose((matrix @ x[good])[good], x[good])


def test_interpolation_comes_before_the_reference():
    x = noise()
    good = [label != "C3" for label in LABELS]
    both, _ = montage.spatial_matrix(CHANNELS, "average", bad=["C3"])
    filled, _ = montage.spatial_matrix(CHANNELS, bad=["C3"])
    np.testing.assert_allclose(both @ x[good], montage.average_reference(len(LABELS)) @ (filled @ x[good]), atol=1e-9)


def test_nothing_to_do_is_no_matrix():
    assert montage.spatial_matrix(CHANNELS)[0] is None


def test_positions_are_those_of_mne_and_a_streams_own_come_first():
    raw = raw_of(noise())
    theirs = np.array([ch["loc"][:3] for ch in raw.info["chs"]])
    np.testing.assert_allclose(montage.positions_m(CHANNELS), theirs, atol=1e-4)
    own = [Channel(f"E{i}", position_m=(0.0, 0.01 * i, 0.1)) for i in range(4)]
    np.testing.assert_allclose(montage.positions_m(own)[3], [0, 0.03, 0.1])
    with pytest.raises(ModelError, match=r"E1.*no position"):
        montage.positions_m([Channel("Cz"), Channel("E1")])


def test_the_sphere_fits_or_falls_back():
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(montage.on_sphere(directions * 0.09 + [0.01, 0.0, 0.03]), directions, atol=1e-9)
    flat = np.column_stack([rng.uniform(-0.05, 0.05, (10, 2)), np.full(10, 0.1)])
    assert np.isfinite(montage.on_sphere(flat)).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reference": "mastoids"}, "none, average, laplacian, bipolar"),
        ({"reference": "bipolar"}, "pairs"),
        ({"reference": "average", "pairs": [("C3", "C4")]}, "pairs"),
        ({"reference": "bipolar", "pairs": [("C3", "c3")]}, "itself"),
        ({"bad": LABELS[:12]}, "4 are needed"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        montage.spatial_matrix(CHANNELS, **arguments)
