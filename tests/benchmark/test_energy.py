import os
import sys
import types

import pytest

from spanetv2.benchmark import Settings, run_networks
from spanetv2.benchmark.energy import PowercapMeter, energy_of, open_meter
from spanetv2.benchmark.timing import Step
from spanetv2.errors import UserError

LIMIT = 262_143_328_850


@pytest.fixture
def powercap(tmp_path):
    """A folder as Linux has it on a processor with memory counters; microjoules by zone."""
    zones = {
        "intel-rapl:0": ("package-0", 5_000_000),
        "intel-rapl:0:0": ("core", 4_000_000),
        "intel-rapl:0:1": ("dram", LIMIT - 500_000),
        "intel-rapl:1": ("psys", 9_000_000),
        "intel-rapl-mmio:0": ("package-0", 5_000_000),
    }
    (tmp_path / "intel-rapl").mkdir()
    for folder, (name, energy) in zones.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "name").write_text(f"{name}\n")
        (tmp_path / folder / "energy_uj").write_text(f"{energy}\n")
        (tmp_path / folder / "max_energy_range_uj").write_text(f"{LIMIT}\n")
    return tmp_path


def use(folder, zone, microjoules):
    counter = folder / zone / "energy_uj"
    counter.write_text(f"{(int(counter.read_text()) + microjoules) % LIMIT}\n")


def test_powercap_adds_packages_and_memory_over_a_restart_of_the_counter(powercap):
    meter = PowercapMeter(powercap)
    assert meter.source == "powercap: package-0, dram"
    before = meter.read()
    use(powercap, "intel-rapl:0", 3_000_000)
    use(powercap, "intel-rapl:0:0", 2_000_000)  # a part of the package
    use(powercap, "intel-rapl:0:1", 1_500_000)  # starts again from 0
    use(powercap, "intel-rapl:1", 8_000_000)
    assert meter.joules(before, meter.read()) == pytest.approx(4.5)
    assert meter.joules(before, before) == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "intel-rapl:0" / "energy_uj").unlink(), "does not tell it"),
        (lambda folder: (folder / "intel-rapl:0" / "energy_uj").write_text("?"), "does not tell"),
        (
            lambda folder: [
                path.rename(folder / f"x{i}") for i, path in enumerate(folder.iterdir())
            ],
            "this machine does not tell: no counter of a processor",
        ),
    ],
)
def test_powercap_says_in_a_line_that_it_does_not_tell(powercap, damage, message):
    damage(powercap)
    with pytest.raises(UserError, match=message) as error:
        PowercapMeter(powercap)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="this machine does not tell"):
        PowercapMeter(powercap / "nothing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_powercap_says_what_root_has_to_allow(powercap):
    (powercap / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(UserError, match=r"may not be read; let root allow it \(chmod a\+r"):
        PowercapMeter(powercap)


def test_energy_of_is_that_of_one_run_in_every_round(powercap):
    ran = []

    def step(name, microjoules, repeats):
        def run():
            ran.append(name)
            use(powercap, "intel-rapl:0", microjoules)

        return Step(run=run, tidy=lambda: None, parameters=0, repeats=repeats)

    steps = {"small": step("small", 1_000_000, 3), "large": step("large", 7_000_000, 1)}
    found = energy_of(steps, PowercapMeter(powercap), rounds=2, device="cpu", seconds=0)
    assert found == {"small": [1.0, 1.0], "large": [7.0, 7.0]}
    assert ran == ["small"] * 3 + ["large"] * 2 + ["small"] * 3


def test_gpu_counters_are_those_of_the_card(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UserError, match="needs NVML; pip install nvidia-ml-py"):
        open_meter("cuda:1")

    # stands in for NVIDIA's library, which needs a card
    class NVMLError(Exception):
        pass

    counters = iter([1_000, 4_000, 6_500])
    nvml = types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counters),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda device: types.SimpleNamespace(uuid="12ab")
    )
    meter = open_meter("cuda:1")
    before = meter.read()
    assert meter.joules(before, meter.read()) == 2.5

    def refuse(uuid):
        raise NVMLError("Not Supported")

    nvml.nvmlDeviceGetHandleByUUID = refuse
    with pytest.raises(UserError, match=r"cuda:1 does not tell \(Not Supported\)"):
        open_meter("cuda:1")


def test_run_networks_adds_energy_per_image(powercap, monkeypatch):
    monkeypatch.setattr("spanetv2.benchmark.energy._LEAST_SECONDS", 0.0)
    meter = PowercapMeter(powercap)
    read = meter.read

    def reading():
        use(powercap, "intel-rapl:0", 6_000_000)
        return read()

    monkeypatch.setattr(meter, "read", reading)
    settings = Settings(
        models=("pico_pure",),
        passes=("inference",),
        batches=(3,),
        sizes=(32,),
        rounds=2,
        warmup=0,
        energy=True,
    )
    record = run_networks(settings, meter=meter)
    (row,) = record["cells"]
    assert record["energy_source"] == "powercap: package-0, dram"
    assert len(row["joules"]) == 2
    assert row["joules"] == [6.0, 6.0]  # one run between two readings
    assert row["joules_per_image"] == 2.0


def test_nothing_is_measured_where_the_machine_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr("spanetv2.benchmark.energy.POWERCAP", tmp_path)
    saved = []
    settings = Settings(models=("pico_pure",), energy=True)
    with pytest.raises(UserError, match="leave --energy out"):
        run_networks(settings, save=saved.append)
    assert not saved
