import pytest

from spanetv2.benchmark.timing import Step, interleave, speed_ratio, summary


def test_interleave_rotates_the_order_and_tidies_after_each_run():
    events = []
    steps = {
        name: Step(
            run=lambda name=name: events.append(name),
            tidy=lambda name=name: events.append(name.upper()),
            parameters=0,
        )
        for name in "abc"
    }
    ticks = []
    seconds = interleave(
        steps, rounds=4, warmup=1, device="cpu", progress=lambda: ticks.append(len(events))
    )
    runs = "".join(event for event in events if event.islower())
    assert runs == "abc" + "abc" + "bca" + "cab" + "abc"
    assert "".join(events) == "".join(name + name.upper() for name in runs)
    assert [len(times) for times in seconds.values()] == [4, 4, 4]
    assert len(ticks) == len(runs)


def test_interleave_divides_bundles_by_their_runs(monkeypatch):
    clock = iter([0.0, 6.0])
    monkeypatch.setattr("spanetv2.benchmark.timing.time.perf_counter", lambda: next(clock))
    runs = []
    step = Step(run=lambda: runs.append(1), tidy=lambda: None, parameters=0, repeats=3)
    assert interleave({"a": step}, rounds=1, warmup=0, device="cpu") == {"a": [2.0]}
    assert len(runs) == 3


def test_summary_of_one_time():
    assert summary([2.0]) == {"median_s": 2.0, "quartiles_s": [2.0, 2.0], "seconds": [2.0]}


def test_speed_ratio_pairs_the_rounds():
    # A slow second round hits both: the ratio does not see it.
    assert speed_ratio([1.0, 10.0, 1.0], [3.0, 30.0, 3.0]) == 3.0
    with pytest.raises(ValueError, match="longer"):
        speed_ratio([1.0], [1.0, 2.0])
