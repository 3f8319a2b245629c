"""`kalman`: a continuous output that moves smoothly, filtered from what each hop says about it.

The Kalman filter of Wu et al. 2006 (Neural Comput. 18:80) with the gain that it settles to (Malik et al. 2011, IEEE
TNSRE 19:25): from the first seconds on the two are the same, and this one cannot drift.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decoders.classical.ridge import design_regression, hop_means
from decoders.spec import Arrays, DecoderSpec, FitError, Fitted, Params, Request, SpecError, State

RIDGE = 1e-2  # of the mean variance of what the outputs leave unexplained: many channels, few hops


class Kalman:
    """Hop -> its channels' means -> the filtered state, which is the output.

    Parameters
    ----------
    spec : DecoderSpec
    weights : dict
        ``transition`` (outputs, outputs) and ``gain`` (outputs, channels): the next state is
        ``transition @ state + gain @ (mean of the hop − centre)``; ``centre`` (channels,), ``offset`` (outputs,).
    """

    def __init__(self, spec: DecoderSpec, weights: Arrays):
        self.spec = spec
        names = ("transition", "gain", "centre", "offset")
        self._transition, self._gain, self._centre, self._offset = (np.asarray(weights[n], np.float64) for n in names)

    @classmethod
    def design(cls, request: Request) -> DecoderSpec:
        """Its memory has no end; the window says after which time the start is forgotten."""
        warmup = max(1, round(request.window_s * request.sfreq_hz / request.hop))
        return design_regression("kalman", request, warmup_hops=warmup)

    @classmethod
    def fit(cls, spec: DecoderSpec, x: NDArray[np.float32], y: NDArray[np.floating], *, seed: int) -> Fitted:
        """Least squares for how the outputs move and how the channels follow them; nothing is random.

        y is (n_trials, n_hops, n_outputs): the outputs at the last ``n_hops`` hops of each trial, two or more.

        Raises
        ------
        FitError
            One target a trial only: how the outputs move cannot be seen.
        """
        from scipy.linalg import solve_discrete_are

        y = np.asarray(y, np.float64)
        if y.ndim != 3 or y.shape[1] < 2:
            raise FitError("decoder 'kalman': it learns how the outputs move; give targets of two hops or more a trial")
        offset = y.reshape(-1, spec.n_outputs).mean(axis=0)
        moved = y - offset
        before, after = (part.reshape(-1, spec.n_outputs) for part in (moved[:, :-1], moved[:, 1:]))
        transition = np.linalg.lstsq(before, after, rcond=None)[0].T
        pushes = after - before @ transition.T
        means = hop_means(x[:, :, x.shape[2] % spec.hop :], spec.hop)[:, -y.shape[1] :].reshape(-1, len(spec.channels))
        centre = means.mean(axis=0)
        flat = moved.reshape(-1, spec.n_outputs)
        follows = np.linalg.lstsq(flat, means - centre, rcond=None)[0].T  # (channels, outputs)
        left = means - centre - flat @ follows.T
        noise = left.T @ left / len(left)
        noise += max(RIDGE * np.trace(noise) / len(noise), 1e-12) * np.eye(len(noise))
        # the information of all channels about the state, as one observation of the state itself: small matrices only
        information = follows.T @ np.linalg.solve(noise, follows)
        information += 1e-9 * max(float(np.trace(information)), 1e-12) * np.eye(spec.n_outputs)
        predicted = solve_discrete_are(
            transition.T, np.eye(spec.n_outputs), pushes.T @ pushes / len(pushes), np.linalg.inv(information)
        )
        filtered = np.linalg.inv(np.linalg.inv(predicted) + information)
        gain = filtered @ np.linalg.solve(noise, follows).T
        keep = (np.eye(spec.n_outputs) - gain @ follows) @ transition
        weights = {"transition": keep, "gain": gain, "centre": centre, "offset": offset}
        return Fitted(weights, {"temperature": np.ones(1)})

    @classmethod
    def restore(cls, spec: DecoderSpec, weights: Arrays) -> Kalman:
        """The decoder around stored weights; SpecError if their shapes do not fit."""
        k, n = spec.n_outputs, len(spec.channels)
        wanted = {"transition": (k, k), "gain": (k, n), "centre": (n,), "offset": (k,)}
        shapes = {name: np.shape(weights.get(name, ())) for name in wanted}
        if shapes != wanted:
            raise SpecError(f"decoder 'kalman': weights have shapes {shapes}, the spec needs {wanted}; train it again")
        return cls(spec, weights)

    def initial_state(self, batch: int) -> State:
        """The outputs' mean."""
        return (np.zeros((batch, self.spec.n_outputs)),)

    def step(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """One hop (batch, channels, hop) -> outputs (batch, n_outputs)."""
        seen = x.mean(axis=2, dtype=np.float64) - self._centre
        moved = state[0] @ self._transition.T + seen @ self._gain.T
        return moved + self._offset, (moved,)

    def forward(self, x: NDArray[np.float32], state: State, params: Params) -> tuple[NDArray[np.float64], State]:
        """Fold ``step`` over the hops: (batch, channels, n·hop) -> outputs (batch, n, n_outputs)."""
        hop, outputs = self.spec.hop, []
        for at in range(0, x.shape[2], hop):
            one, state = self.step(x[:, :, at : at + hop], state, params)
            outputs.append(one)
        return np.stack(outputs, axis=1), state
