"""A simulated person who imagines moving the left or right hand on cue: EEG with known truth, from a seed.

Sources in the head (both hand areas, visual cortex, eyes, background) reach the electrodes through a spherical head
model (`bci.sources.leadfield`). During a cue the mu and beta rhythms of both hand areas get weaker, more so on the side
opposite to the hand; how much more is the person's ``skill``. Nothing else in the signal knows the hand.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.sources.leadfield import CHANNELS, GAIN_UV_PER_NAM, POSITIONS_M, SOURCES
from bci.types import Channel, RecordedStream, Recording, StreamSpec, marker_spec

LABELS = ("left", "right")
REST_S, CUE_S, LAST_REST_S = (1.5, 2.5), 4.0, 2.0
ONSET_S, RISE_S = 0.5, 0.4  # of the desynchronisation after the cue; its end, after the cue's, takes as long
COMMON_DEPTH, SIDE_DEPTH, DEPTH_SD = (
    0.25,
    0.35,
    0.12,
)  # of both sides; of the side opposite at skill 1; from trial to trial
MU_NAM, BETA_NAM, ALPHA_NAM, BACKGROUND_NAM, BLINK_NAM = 32.0, 14.0, 45.0, 25.0, 600.0
WIDTH_HZ = {"mu": 2.0, "beta": 4.0, "alpha": 1.5}
BLOCK = 100  # samples are made in blocks of this length, so that no way of asking for them changes them
BALANCE = 8  # cues of an endless session are balanced over so many
# 1/f noise from white noise: J. O. Smith, Spectral Audio Signal Processing, "Example: synthesis of 1/f noise"
PINK_B = (0.049922035, -0.095993537, 0.050612699, -0.004408786)
PINK_A = (1.0, -2.494956002, 2.017265875, -0.522189400)


@dataclass(frozen=True, slots=True)
class Trial:
    """Sample indices of rest, cue and its end; the hand that is meant, and the one that the marker says."""

    rest: int
    cue: int
    end: int
    intention: int
    shown: int
    depth: tuple[float, float]  # of the left and right hand area


class SimulatedPerson:
    """Makes one session, sample by sample.

    Parameters
    ----------
    seed
        The person: rhythms, line noise, electrode offsets.
    skill
        0 (the cued hand leaves no trace) to 1.
    session
        Another number is another session of the same person: other noise, other order of cues.
    sfreq_hz
        At least 100.
    n_trials
        The session ends after so many cues, half of them left; None: it never ends.
    line_hz
        Mains, 50 or 60.
    shuffle_labels
        Markers are permuted against what the person does: a control for honest chance.

    Raises
    ------
    ConfigError
        ``skill`` or ``sfreq_hz`` out of range.
    """

    def __init__(
        self,
        seed: int,
        skill: float,
        *,
        session: int = 0,
        sfreq_hz: float = 250.0,
        n_trials: int | None = None,
        line_hz: float = 50.0,
        shuffle_labels: bool = False,
    ):
        if not 0 <= skill <= 1:
            raise ConfigError(f"skill = {skill:g}: from 0 to 1 is allowed")
        if sfreq_hz < 100:
            raise ConfigError(f"sfreq_hz = {sfreq_hz:g}: at least 100 is allowed, for rhythms to 30 Hz")
        self.skill, self.sfreq_hz, self.n_trials, self.line_hz = skill, sfreq_hz, n_trials, line_hz
        self._shuffle = shuffle_labels
        person = np.random.default_rng([seed, 0])
        noise, trials, shown, blinks = (np.random.default_rng([seed, 1 + session, i]) for i in range(4))
        self._noise, self._trial_rng, self._shown_rng, self._blink_rng = noise, trials, shown, blinks
        gain = np.array(GAIN_UV_PER_NAM)
        self._gain = {name: gain[:, [i for i, s in enumerate(SOURCES) if s.startswith(name)]] for name in
                      ("hand", "visual", "eye", "background")}  # fmt: skip
        mu_hz, beta_hz, alpha_hz = person.uniform(9.5, 12), person.uniform(18, 22), person.uniform(9, 11)
        self._filters = {
            "mu": _rhythm(mu_hz, WIDTH_HZ["mu"], sfreq_hz, 2),
            "beta": _rhythm(beta_hz, WIDTH_HZ["beta"], sfreq_hz, 2),
            "alpha": _rhythm(alpha_hz, WIDTH_HZ["alpha"], sfreq_hz, 2),
            "background": _Filter(PINK_B, PINK_A, self._gain["background"].shape[1]),
            "sensor": _Filter(PINK_B, PINK_A, len(CHANNELS)),
            "drift": _Filter((1.0,), (1.0, -float(np.exp(-1 / (20 * sfreq_hz)))), len(CHANNELS)),
        }
        self._offset_uv = person.normal(0, 150, len(CHANNELS))
        self._line_uv = person.uniform(0.5, 3, len(CHANNELS))
        self._line_phase = person.uniform(-0.5, 0.5, len(CHANNELS))
        for _ in range(round(4 * sfreq_hz / BLOCK)):  # past the filters' start
            self._rhythms()
        self._trials: list[Trial] = []
        self._cues: list[tuple[int, int]] = []
        self._n_planned = 0
        self._next_blink, self._blinks = 0, []
        self._n_made = self._n_given = 0
        self._ready = np.empty((0, len(CHANNELS)), np.float32)
        self._marks: list[tuple[int, str]] = []
        self._is_following = False
        self._plan_trial()

    @property
    def spec(self) -> StreamSpec:
        """The EEG stream: float32 microvolts, electrodes of the 10-20 system and between."""
        channels = tuple(Channel(c, "EEG", "uV", p) for c, p in zip(CHANNELS, POSITIONS_M, strict=True))
        return StreamSpec(name="simulated", type="EEG", sfreq_hz=self.sfreq_hz, channels=channels)

    @property
    def marker_spec(self) -> StreamSpec:
        """The marker stream: ``rest``, ``left``, ``right``."""
        return marker_spec("simulated-markers")

    @property
    def n_given(self) -> int:
        """Samples that `samples` has given."""
        return self._n_given

    @property
    def is_over(self) -> bool:
        """All trials of a session with an end have been given."""
        return self._n_total is not None and self._n_given >= self._n_total

    @property
    def _n_total(self) -> int | None:
        if self.n_trials is None or self._n_planned < self.n_trials:
            return None
        return self._trials[-1].end + round(LAST_REST_S * self.sfreq_hz)

    def samples(self, n: int) -> NDArray[np.float32]:
        """The next ``n`` samples, shape (n, n_channels), µV; fewer at the end of a session that has one."""
        while len(self._ready) < n:
            self._ready = np.concatenate([self._ready, self._block()])
        if self._n_total is not None:
            n = max(0, min(n, self._n_total - self._n_given))
        out, self._ready = self._ready[:n], self._ready[n:]
        self._n_given += n
        return out

    def markers(self) -> list[tuple[int, str]]:
        """Sample index and label of the markers that fall into the samples given since the last call."""
        due = [mark for mark in self._marks if mark[0] < self._n_given]
        self._marks = self._marks[len(due) :]
        return due

    def recording(self) -> Recording:
        """The whole session at once; it must have an end (``n_trials``)."""
        if self.n_trials is None:
            raise ConfigError("a session without an end cannot be recorded at once; give n_trials")
        parts = []
        while not self.is_over:
            parts.append(self.samples(100 * BLOCK))
        data, marks = np.concatenate(parts), self.markers()
        stamps_s = np.array([index / self.sfreq_hz for index, _ in marks])
        signal = RecordedStream(self.spec, data, np.arange(len(data)) / self.sfreq_hz)
        return Recording("", (signal, RecordedStream(self.marker_spec, [label for _, label in marks], stamps_s)))

    def follow(self, is_following: bool) -> None:
        """Leave the own cues for those that `cue` gives, or go back to them, with a rest first."""
        if is_following and not self._is_following:
            begun = [t for t in self._trials if t.cue < self._n_made]
            self._marks = [mark for mark in self._marks if mark[0] < self._n_made]
            self._trials, self._is_following = begun, True
        elif self._is_following and not is_following:
            self._is_following = False
            self._plan_trial(rest=self._n_made)

    def cue(self, label: str) -> None:
        """Imagine this hand from the next sample that is made on, until another label or for `CUE_S`; if it follows."""
        if not self._is_following:
            return
        at = self._n_made
        self._trials = [replace(t, end=min(t.end, at)) for t in self._trials]
        if label in LABELS:
            hand, end = LABELS.index(label), at + round(CUE_S * self.sfreq_hz)
            self._trials = [*self._trials[-1:], Trial(at, at, end, hand, hand, self._depths(hand))]

    def _depths(self, hand: int) -> tuple[float, float]:
        depth = COMMON_DEPTH + DEPTH_SD * self._trial_rng.normal(size=2)
        depth[1 - hand] += self.skill * SIDE_DEPTH  # the left hand lies in the right hemisphere
        left, right = np.clip(depth, 0, 0.9).tolist()
        return left, right

    def _plan_trial(self, rest: int | None = None) -> None:
        """The next trial, so that one is always planned beyond the samples that are made."""
        rng, fs = self._trial_rng, self.sfreq_hz
        if self.n_trials is not None and self._n_planned == self.n_trials:
            return
        if not self._cues:
            n = self.n_trials or BALANCE
            hands = rng.permutation(np.arange(n) % 2)
            shown = self._shown_rng.permutation(hands) if self._shuffle else hands
            self._cues = list(zip(hands.tolist(), shown.tolist(), strict=True))
        hand, shown = self._cues.pop(0)
        if rest is None:
            rest = self._trials[-1].end if self._trials else 0
        cue = rest + round(rng.uniform(*REST_S) * fs)
        trial = Trial(rest, cue, cue + round(CUE_S * fs), hand, shown, self._depths(hand))
        self._trials = [*self._trials[-1:], trial]
        self._marks += [(rest, "rest"), (cue, LABELS[shown])]
        self._n_planned += 1
        if self._n_planned == self.n_trials:
            self._marks.append((self._trials[-1].end, "rest"))

    def _rhythms(self) -> dict[str, NDArray[np.float64]]:
        return {name: f.step(self._noise.standard_normal((f.n, BLOCK))) for name, f in self._filters.items()}

    def _block(self) -> NDArray[np.float32]:
        """The next block, shape (BLOCK, n_channels)."""
        first = self._n_made
        self._n_made += BLOCK
        while not self._is_following and self._trials[-1].end < self._n_made and self._n_planned != self.n_trials:
            self._plan_trial()
        at = np.arange(first, self._n_made)
        source = self._rhythms()
        strength = 1 - self._depth(at)
        x = self._gain["hand"] @ (strength * (MU_NAM * source["mu"] + BETA_NAM * source["beta"]))
        x += self._gain["visual"] @ (ALPHA_NAM * source["alpha"])
        x += self._gain["background"] @ (BACKGROUND_NAM * source["background"])
        x += self._gain["eye"].sum(1, keepdims=True) * self._blink_nam(at)
        x += 1.5 * source["sensor"] + 15 * source["drift"] + 0.5 * self._noise.standard_normal(x.shape)
        turn = 2 * np.pi * ((at * self.line_hz / self.sfreq_hz) % 1)
        x += self._line_uv[:, None] * np.sin(turn + self._line_phase[:, None])
        return (x + self._offset_uv[:, None]).T.astype(np.float32)

    def _depth(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much weaker the two hand areas are at these samples, shape (2, n)."""
        depth = np.zeros((2, len(at)))
        for trial in self._trials:
            rise = ((at - trial.cue) / self.sfreq_hz - ONSET_S) / RISE_S
            fall = (at - trial.end) / self.sfreq_hz / RISE_S
            depth += np.array(trial.depth)[:, None] * (_ramp(rise) - _ramp(fall))
        return depth

    def _blink_nam(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        rng, fs = self._blink_rng, self.sfreq_hz
        while self._next_blink <= at[-1]:
            self._next_blink += round((0.6 + rng.exponential(3.5)) * fs)
            self._blinks.append((self._next_blink, round(rng.uniform(0.25, 0.4) * fs), rng.uniform(0.6, 1.1)))
        self._blinks = [b for b in self._blinks if b[0] + b[1] >= at[0]]
        out = np.zeros(len(at))
        for start, n, size in self._blinks:
            inside = (at >= start) & (at <= start + n)
            out += inside * size * BLINK_NAM * np.sin(np.pi * (at - start) / n) ** 2
        return out


def _ramp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 before 0, 1 after 1, half a cosine between."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0, 1))


@functools.cache
def _noise_gain(b: tuple[float, ...], a: tuple[float, ...]) -> float:
    """Standard deviation of filtered white noise of variance 1."""
    from scipy.signal import lfilter

    impulse = np.zeros(200_000)  # 40 time constants of the drift at 250 Hz
    impulse[0] = 1
    return float(np.linalg.norm(np.asarray(lfilter(b, a, impulse))))


class _Filter:
    """White noise of ``n`` rows to coloured noise of unit variance, with carried state."""

    def __init__(self, b: tuple[float, ...], a: tuple[float, ...], n: int):
        from scipy.signal import lfilter

        self._lfilter, self._a, self.n = lfilter, np.array(a), n
        self._b = np.array(b) / _noise_gain(b, a)
        self._state = np.zeros((n, max(len(a), len(b)) - 1))

    def step(self, white: NDArray[np.float64]) -> NDArray[np.float64]:
        out, self._state = self._lfilter(self._b, self._a, white, zi=self._state)
        return out


def _rhythm(centre_hz: float, width_hz: float, sfreq_hz: float, n: int) -> _Filter:
    """A resonance: noise that swings at ``centre_hz`` with a bandwidth of ``width_hz``."""
    r = float(np.exp(-np.pi * width_hz / sfreq_hz))
    return _Filter((1.0,), (1.0, -2 * r * float(np.cos(2 * np.pi * centre_hz / sfreq_hz)), r * r), n)
