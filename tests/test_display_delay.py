"""Marker to light, on signals whose delay is known."""

from __future__ import annotations

import numpy as np
import pytest

from bci.errors import ConfigError, SourceError
from bci.signal.display_delay import display_delay

SFREQ_HZ = 1000.0


def flashes(delays_s, sfreq_hz=SFREQ_HZ, sign=1.0, noise=0.01, drift=0.0, seed=0):
    """Markers about a second apart, and a photodiode that follows them with a rise of 2 ms."""
    rng = np.random.default_rng(seed)
    markers_s = 5.0 + np.cumsum(1.1 + 0.1 * rng.random(len(delays_s)))
    t_s = np.arange(4.0, markers_s[-1] + 1.5, 1 / sfreq_hz)
    light = np.zeros(len(t_s))
    for marker_s, delay_s in zip(markers_s, delays_s, strict=True):
        if np.isfinite(delay_s):
            at_s = marker_s + delay_s
            light += np.clip((t_s - at_s) / 0.002 + 0.5, 0, 1) * (t_s < at_s + 0.45)
    return markers_s, sign * light + drift * t_s + rng.normal(0, noise, len(t_s)), t_s


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("sfreq_hz", [250.0, 1000.0])
def test_a_known_delay_is_found(sign, sfreq_hz):
    true_s = 0.040 + 0.008 * np.random.default_rng(1).random(60)
    found = display_delay(*flashes(true_s, sfreq_hz, sign, drift=0.3))
    assert found.n_missed == 0
    assert np.array(found.delays_ms) == pytest.approx(1000 * true_s, abs=600 / sfreq_hz)
    assert found.median_ms == pytest.approx(1000 * np.median(true_s), abs=0.7)
    assert found.p5_ms < found.median_ms < found.p95_ms
    assert found.jitter_ms == pytest.approx(1000 * np.std(true_s), abs=0.7)


def test_a_light_before_its_marker_counts_below_zero():
    assert display_delay(*flashes([-0.03] * 10)).median_ms == pytest.approx(-30, abs=0.5)


def test_flashes_that_did_not_come_are_missed_not_measured():
    true_s = [0.02] * 20
    true_s[3] = true_s[11] = np.nan
    found = display_delay(*flashes(true_s))
    assert (found.n_flashes, found.n_missed) == (20, 2)
    assert found.p95_ms == pytest.approx(20, abs=0.5)


def test_a_channel_that_sees_nothing_is_an_error_that_helps():
    markers_s, signal, t_s = flashes([np.nan] * 10)
    with pytest.raises(SourceError, match="put the photodiode on the patch"):
        display_delay(markers_s, signal, t_s)
    with pytest.raises(SourceError, match="does not follow"):
        display_delay(markers_s, np.zeros(len(t_s)), t_s)
    with pytest.raises(ConfigError, match="at least 5"):
        display_delay(markers_s[:3], signal, t_s)
    with pytest.raises(ConfigError, match="0 flashes"):
        display_delay(markers_s, np.zeros(0), np.zeros(0))
