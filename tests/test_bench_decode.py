"""What `bci bench decode` compares is the same computation, and its table says where it is not."""

import numpy as np
import pytest
import torch

from bci.bench.decode import N_CHANNELS, NETWORKS, WINDOW_S, check_equal, in_turn, measure, table, untrained
from bci.bench.whole_window import WholeWindow

ENDLESS = ("rnn", "lstm", "gru", "cnn_lstm", "convlstm", "transformer")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_window_in_both_orders_gives_what_the_stream_gives(name):
    net, params = untrained(name)
    logits = []
    for order in ("published", "fastest"):
        whole = WholeWindow(net, order, WINDOW_S).eval()
        assert whole.is_equal == (name not in ENDLESS)
        assert abs(whole.n_samples - 500) < 70
        x = np.random.default_rng(0).normal(size=(1, N_CHANNELS, whole.n_samples)).astype(np.float32)
        if whole.is_equal:
            check_equal(net, params, whole, x)
        logits.append(whole(torch.from_numpy(x), torch.from_numpy(params["align"])).numpy())
    np.testing.assert_allclose(*logits, atol=2e-5 * np.abs(logits[0]).max())


def test_another_window_is_found_to_be_unequal():
    net, params = untrained("eegnet")
    other, _ = untrained("eegnet", seed=5)
    whole = WholeWindow(other, "fastest", WINDOW_S)
    x = np.random.default_rng(0).normal(size=(1, N_CHANNELS, whole.n_samples)).astype(np.float32)
    with pytest.raises(AssertionError):
        check_equal(net, params, whole, x)


def test_rows_take_turns():
    order = []
    in_turn({key: lambda key=key: order.append(key) for key in "ab"}, 3, 5)
    runs = [key for i, key in enumerate(order) if i == 0 or order[i - 1] != key]
    assert runs == ["a", "b"] * 3


@pytest.mark.slow
def test_the_table_names_what_is_not_equal_and_what_was_wanted():
    result = measure(("lstm",), n_rounds=1, n_calls=3)
    (row,) = [r for r in result["rows"] if r["decoder"] == "lstm"]
    assert set(row["us"]) == {"step_onnx", "step_torch", "published_torch", "published_onnx", "fastest_torch",
                              "fastest_onnx"}  # fmt: skip
    assert (row["is_equal"], row["wanted"]) == (False, {"published_torch": 20})
    text = table(result)
    assert "lstm *" in text
    assert "equal work, not equal output" in text
    assert "wanted 20x published torch" in text
