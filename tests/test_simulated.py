"""The simulated person: the same for the same seed however it is asked, balanced, and as able as its skill says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bci.errors import ConfigError
from bci.sources import leadfield
from bci.sources.simulated import CUE_S, SimulatedPerson

REFERENCE = SimulatedPerson(1, 0.8).samples(3000)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=6))
def test_any_way_of_asking_gives_the_same_samples_and_markers(sizes):
    person, parts, marks = SimulatedPerson(1, 0.8), [], []
    for n in sizes:
        parts.append(person.samples(n)[:3000])
        assert parts[-1].shape == (min(n, 3000), 21)
        marks += person.markers()
    whole = np.concatenate(parts)[:3000]
    assert np.array_equal(whole, REFERENCE[: len(whole)])
    other = SimulatedPerson(1, 0.8)
    other.samples(sum(sizes))
    assert marks == other.markers()


def test_seed_and_session_make_the_signal():
    assert np.array_equal(SimulatedPerson(1, 0.8).samples(500), REFERENCE[:500])
    for other in (SimulatedPerson(2, 0.8), SimulatedPerson(1, 0.8, session=1)):
        assert not np.allclose(other.samples(500), REFERENCE[:500], atol=1)


def test_a_session_with_an_end_is_balanced_and_marked_to_the_sample():
    person = SimulatedPerson(4, 0.5, n_trials=20)
    eeg, markers = person.recording().streams
    assert person.is_over
    assert eeg.samples.dtype == np.float32
    assert eeg.samples.shape == (len(eeg.stamps_s), 21)
    assert markers.samples[::2] == ["rest"] * 21
    cues = markers.samples[1::2]
    assert sorted(cues) == ["left"] * 10 + ["right"] * 10
    index = markers.stamps_s * 250
    np.testing.assert_allclose(index, np.round(index), atol=1e-6)
    np.testing.assert_allclose(np.diff(markers.stamps_s)[1::2], CUE_S)
    rests = np.diff(markers.stamps_s)[::2]
    assert 1.5 <= rests.min() <= rests.max() <= 2.5
    assert eeg.stamps_s[-1] > markers.stamps_s[-1] + 1.5
    assert len(person.samples(100)) == 0


def test_cues_come_in_no_pairs():
    """Opposite cues in pairs would let the history decode (see the data's README)."""
    orders = [SimulatedPerson(s, 0.5, n_trials=40).recording().markers[0].samples[1::2] for s in range(4)]
    opposite = [a != b for cues in orders for a, b in zip(cues[::2], cues[1::2], strict=True)]
    assert 0.35 < np.mean(opposite) < 0.7


def test_shuffled_labels_change_the_markers_alone():
    honest = SimulatedPerson(1, 0.8, n_trials=20).recording()
    control = SimulatedPerson(1, 0.8, n_trials=20, shuffle_labels=True).recording()
    assert np.array_equal(honest.signals[0].samples, control.signals[0].samples)
    assert honest.markers[0].samples != control.markers[0].samples
    assert sorted(honest.markers[0].samples) == sorted(control.markers[0].samples)


def test_without_skill_the_hand_leaves_no_trace():
    """The same noise with the hands exchanged is the same signal."""
    person, mirrored = (SimulatedPerson(1, 0.0, n_trials=10) for _ in range(2))
    first = mirrored._trials[0]
    hands = [(1 - intention, shown) for intention, shown in mirrored._cues]
    mirrored._cues = hands
    assert first.depth == person._trials[0].depth
    assert np.array_equal(person.recording().signals[0].samples, mirrored.recording().signals[0].samples)


def test_with_skill_the_hand_does():
    person, mirrored = (SimulatedPerson(1, 0.8, n_trials=10) for _ in range(2))
    mirrored._cues = [(1 - intention, shown) for intention, shown in mirrored._cues]
    assert not np.array_equal(person.recording().signals[0].samples, mirrored.recording().signals[0].samples)


def bands(recording):
    """Log power at 8-30 Hz of each trial, shape (n_trials, n_channels), and whether the cue was right."""
    from scipy.signal import butter, sosfilt

    eeg, markers = recording.streams
    sos = butter(4, [8, 30], "bandpass", fs=250, output="sos")
    x = sosfilt(sos, eeg.samples - eeg.samples[:1], axis=0)
    cues = [
        (round(t * 250), m == "right") for m, t in zip(markers.samples, markers.stamps_s, strict=True) if m != "rest"
    ]
    power = [np.log(np.var(x[i + 150 : i + 1000], axis=0)) for i, _ in cues]
    return np.array(power), np.array([right for _, right in cues])


def test_the_side_opposite_to_the_hand_gets_weaker_with_skill():
    c3, c4 = leadfield.CHANNELS.index("C3"), leadfield.CHANNELS.index("C4")
    shift = {}
    for skill in (0.0, 0.4, 0.8):
        power, right = bands(SimulatedPerson(7, skill, n_trials=120).recording())
        side = power[:, c3] - power[:, c4]
        shift[skill] = (side[~right].mean() - side[right].mean()) / side.std()
    assert abs(shift[0.0]) < 0.35
    assert shift[0.0] + 0.3 < shift[0.4]
    assert shift[0.4] + 0.3 < shift[0.8]


@pytest.mark.slow
def test_a_decoder_reaches_what_the_skill_says():
    """Tangent space and logistic regression, 40 trials to learn from; 0.8 -> about .88, 0 -> chance."""
    from pyriemann.estimation import Covariances
    from pyriemann.tangentspace import TangentSpace
    from scipy.signal import butter, sosfilt
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    sos = butter(4, [8, 30], "bandpass", fs=250, output="sos")

    def trials(recording):
        eeg, markers = recording.streams
        x = sosfilt(sos, (eeg.samples - eeg.samples[:1]).T, axis=1)
        at = [(round(t * 250), m) for m, t in zip(markers.samples, markers.stamps_s, strict=True) if m != "rest"]
        return np.array([x[:, i + 125 : i + 875] for i, _ in at]), [m for _, m in at]

    def accuracy(skill):
        scores = []
        for seed in (1, 2):
            model = make_pipeline(Covariances("lwf"), TangentSpace(), LogisticRegression(max_iter=2000))
            model.fit(*trials(SimulatedPerson(seed, skill, n_trials=40).recording()))
            scores.append(model.score(*trials(SimulatedPerson(seed, skill, session=1, n_trials=60).recording())))
        return np.mean(scores)

    assert 0.8 <= accuracy(0.8) <= 0.97
    assert abs(accuracy(0.0) - 0.5) <= 3.3 * np.sqrt(0.25 / 120)  # 99.9 % of guessing; the exact test is above


def test_the_signal_looks_like_eeg():
    x = SimulatedPerson(1, 0.8).samples(15000)
    x = x - x.mean(0)
    names = leadfield.CHANNELS
    freqs = np.fft.rfftfreq(2500, 1 / 250)
    spectrum = np.mean([np.abs(np.fft.rfft(x[i : i + 2500] * np.hanning(2500)[:, None], axis=0)) ** 2
                        for i in range(0, 15000, 2500)], axis=0)  # fmt: skip

    def power(lo, hi, channel):
        return spectrum[(freqs >= lo) & (freqs < hi), names.index(channel)].mean()

    assert np.all((x.std(0) > 5) & (x.std(0) < 60))
    assert power(8, 13, "O1") > 3 * power(14, 20, "O1")  # alpha
    assert power(9, 12.5, "C3") > 3 * power(13.5, 17, "C3")  # mu
    assert power(2, 4, "Pz") > 4 * power(30, 45, "Pz")  # 1/f
    line = [power(49.5, 50.5, c) / power(45, 48, c) for c in names]
    assert np.median(line) > 5
    assert np.abs(x[:, names.index("Fp1")]).max() > 2 * np.abs(x[:, names.index("Pz")]).max()  # blinks


@pytest.mark.parametrize("options", [{"skill": 1.1}, {"skill": -0.1}, {"skill": 0.5, "sfreq_hz": 50}])
def test_impossible_people_are_refused(options):
    with pytest.raises(ConfigError, match="allowed"):
        SimulatedPerson(1, **options)


def test_an_endless_session_is_not_recorded_at_once():
    with pytest.raises(ConfigError, match="n_trials"):
        SimulatedPerson(1, 0.5).recording()


def test_the_rate_changes_neither_rhythm_nor_timing():
    eeg, markers = SimulatedPerson(1, 0.8, sfreq_hz=500, n_trials=2).recording().streams
    assert eeg.spec.sfreq_hz == 500
    np.testing.assert_allclose(np.diff(markers.stamps_s)[1::2], CUE_S)


def test_the_lead_field_is_what_its_script_computes():
    path = Path(__file__).parents[1] / "scripts" / "make_leadfield.py"
    found = importlib.util.spec_from_file_location("make_leadfield", path)
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    names, gain, positions = script.compute()
    assert tuple(names) == leadfield.SOURCES
    assert script.CHANNELS == leadfield.CHANNELS
    np.testing.assert_allclose(gain, leadfield.GAIN_UV_PER_NAM, atol=2e-5)  # the optimiser in it differs by machine
    np.testing.assert_allclose(positions, leadfield.POSITIONS_M, atol=1e-5)
    hand = gain[:, names.index("hand_left")]
    assert leadfield.CHANNELS[int(np.argmax(hand))] == "C3"


def hand_power(person, seconds):
    """Power around 10 Hz over both hand areas, of the next seconds: C3, C4."""
    x = person.samples(round(seconds * 250))[:, [leadfield.CHANNELS.index(c) for c in ("C3", "C4")]]
    spectrum = np.abs(np.fft.rfft(x - x.mean(0), axis=0)) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / 250)
    return spectrum[(hz > 8) & (hz < 13)].mean(0)


def test_who_follows_does_what_others_cue_and_says_nothing_of_it():
    person = SimulatedPerson(1, 1.0)
    person.samples(250)
    person.follow(True)
    person.markers()
    sides = []
    for k in range(30):
        label = ("left", "right")[k % 2]
        person.cue(label)
        person.samples(250)
        power = hand_power(person, 2.0)
        sides.append((label, power[0] < power[1]))  # a right hand lowers what C3 sees
        person.cue("rest")
        person.samples(500)
    assert person.markers() == []
    lower_at_c3 = {label: np.mean([is_c3 for each, is_c3 in sides if each == label]) for label in ("left", "right")}
    assert lower_at_c3["right"] > lower_at_c3["left"] + 0.5
    person.follow(False)
    person.samples(2500)
    assert next(label for _, label in person.markers()) == "rest"
    again = SimulatedPerson(1, 1.0)
    again.follow(True)
    assert not np.isnan(again.samples(3000)).any()
