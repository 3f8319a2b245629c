"""`bci bench window`: one short round, with a real session and a real window without a screen."""

from bci.bench.window import measure, table


def test_a_short_round_measures_the_engine_and_the_window():
    result = measure(5.0, 8, 250.0, 5, rounds=1)
    assert [row["name"] for row in result["rows"]] == [
        "sample to prediction, without",
        "sample to prediction, with the window",
        "our share, without",
        "our share, with the window",
    ]
    assert all(row["n"] > 50 and 0 < row["p50"] <= row["p95"] for row in result["rows"])
    shown, _minimised, blocked, after = result["frames"]
    assert [f["stretch"] for f in result["frames"]] == ["shown", "minimised", "blocked", "shown"]
    assert blocked["worst_ms"] > 3000 > after["worst_ms"]
    assert shown["frames_per_s"] > 1 < after["frames_per_s"]
    assert "our share with / without" in table(result)
