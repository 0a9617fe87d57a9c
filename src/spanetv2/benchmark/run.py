"""Running a benchmark: all cells of a kind of pass side by side, into one JSON record."""

import os
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from tqdm import tqdm

from spanetv2.benchmark.energy import EnergyMeter, energy_of, open_meter
from spanetv2.benchmark.memory import cpu_peak, cuda_peak
from spanetv2.benchmark.networks import find_classifier, network_step
from spanetv2.benchmark.operators import OPERATORS, cost_of, operator_step, stage_shapes
from spanetv2.benchmark.rates import Rates, measure_rates
from spanetv2.benchmark.settings import DTYPES, Cell, Settings
from spanetv2.benchmark.subject import FindSubject, NotMeasuredError
from spanetv2.benchmark.timing import Step, interleave, speed_ratio, summary, threads, timed
from spanetv2.environment import describe_environment
from spanetv2.errors import UserError

__all__ = ["run_networks", "run_operators"]

Record = dict[str, Any]

_ENERGY_ROUNDS = 5
"""At most: a measurement of energy takes a second or more."""


def run_networks(
    settings: Settings,
    *,
    command: str = "",
    save: Callable[[Record], None] = lambda record: None,
    progress: bool = False,
    find: FindSubject = find_classifier,
    meter: EnergyMeter | None = None,
) -> Record:
    """Measure whole networks.

    Args:
        settings: what and how.
        command: the command line, for the record.
        save: called with the record whenever something was added to it.
        progress: show a bar.
        find: gives the network of a name; a function of a module, if memory is measured.
        meter: of energy; by default the device's, if the settings ask for it.

    Returns:
        The record: environment, settings, and ``cells``, one row each with all its times. The times
        of one kind of pass were taken in the same rounds, so that any two of them can be compared.
        ``left_out`` names what a network cannot do, and why.

    Raises:
        UserError: nothing to measure, an unknown model, one that cannot be run like this, or a
            machine that does not tell its energy.
    """
    meter = meter or (open_meter(settings.device) if settings.energy else None)
    parts = {work: settings.cells(work) for work in settings.passes}
    if not any(parts.values()):
        raise UserError(
            "got nothing to measure: optimised, frozen and exported networks cannot be trained, "
            "ONNX Runtime computes in float32 and int8, OpenVINO in these and bfloat16"
        )
    record = _start("networks", settings, command, meter)
    with threads(settings.threads), _bar(settings, parts, progress) as bar:
        for work, cells in parts.items():
            record["cells"] += _measure(
                cells, settings, bar, left_out=record["left_out"], find=find, meter=meter
            )
            if record["cells"]:
                save(record)
            if settings.memory and settings.device == "cpu":
                for row in record["cells"]:
                    if row["work"] != work:
                        continue
                    cell = _cell(row)
                    bar.set_description(f"memory of {cell.title}")
                    if cell.mode != "openvino":  # which takes its memory before the first pass
                        row["memory_mib"] = cpu_peak(
                            cell,
                            channels_last=settings.channels_last,
                            threads=torch.get_num_threads(),
                            find=find,
                        )
                    bar.update()
                save(record)
    if not record["cells"]:
        told = "; ".join(f"{row['model']}: {row['reason']}" for row in record["left_out"])
        raise UserError(f"got nothing that can be measured: {told}")
    return record


def run_operators(
    settings: Settings,
    variant: str = "spanetv2_s18_pure",
    *,
    command: str = "",
    save: Callable[[Record], None] = lambda record: None,
    progress: bool = False,
    rates: Callable[[torch.dtype, str], Rates] | None = None,
    meter: EnergyMeter | None = None,
) -> Record:
    """Measure token mixers alone, at the shape of every stage.

    Args:
        settings: what and how; ``models`` are names of operators.
        variant: whose channels and grids.
        command: the command line, for the record.
        save: called with the record whenever something was added to it.
        progress: show a bar.
        rates: gives the machine's rates for a dtype and a device; by default they are measured.
        meter: of energy; by default the device's, if the settings ask for it.

    Returns:
        The record, as that of ``run_networks``; every row also has the operator's cost, the floor
        that follows from the machine's rates, and the share of it that was reached.
        ``left_out`` names what does not run at a shape, and why.

    Raises:
        UserError: an unknown operator or variant, or a machine that does not tell its energy.
    """
    if unknown := [name for name in settings.models if name not in OPERATORS]:
        raise UserError(f"got operators {unknown}, expected some of {', '.join(OPERATORS)}")
    for size in settings.sizes:
        stage_shapes(variant, size)
    meter = meter or (open_meter(settings.device) if settings.energy else None)
    record = _start("operators", settings, command, meter)
    record |= {"variant": variant, "rates": {}}
    with threads(settings.threads):
        found = {d: (rates or measure_rates)(DTYPES[d], settings.device) for d in settings.dtypes}
        record["rates"] = {dtype: rate._asdict() for dtype, rate in found.items()}
        parts = {work: _operator_cells(settings, variant, work) for work in settings.passes}
        with _bar(settings, parts, progress) as bar:
            for work, cells in parts.items():
                rows = _measure(
                    cells,
                    settings,
                    bar,
                    variant=variant,
                    left_out=record["left_out"],
                    meter=meter,
                )
                for row in rows:
                    _add_floor(row, found[row["dtype"]], work)
                record["cells"] += rows
                save(record)
    return record


def _operator_cells(settings: Settings, variant: str, work: str) -> list[Cell]:
    return [
        Cell(model=m, mode=mode, work=work, dtype=dtype, batch=batch, size=size, stage=stage + 1)
        for stage in range(len(stage_shapes(variant, settings.sizes[0])))
        for batch, size in settings.shapes
        for dtype in settings.dtypes
        for mode in settings.modes
        for m in settings.models
    ]


def _start(kind: str, settings: Settings, command: str, meter: EnergyMeter | None) -> Record:
    record: Record = {"kind": kind, **describe_environment(), "command": command}
    if settings.threads is not None:
        record["hardware"]["threads"] = settings.threads
    if hasattr(os, "getloadavg"):
        record["load_before"] = list(os.getloadavg())
    record["settings"] = asdict(settings) | {
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
    }
    if meter is not None:
        record["energy_source"] = meter.source
    return record | {"cells": [], "left_out": []}


def _bar(settings: Settings, parts: dict[str, list[Cell]], progress: bool) -> "tqdm[Any]":
    cells = sum(len(part) for part in parts.values())
    total = cells * _steps_of(settings)
    return tqdm(total=total, unit="run", dynamic_ncols=True, disable=not progress)


def _steps_of(settings: Settings) -> int:
    """Of the bar, for a cell."""
    memory = settings.memory and settings.device == "cpu"
    return 1 + settings.warmup + settings.rounds + memory + _energy_rounds(settings)


def _energy_rounds(settings: Settings) -> int:
    return min(settings.rounds, _ENERGY_ROUNDS) if settings.energy else 0


def _cell(row: Record) -> Cell:
    return Cell(**{field: row[field] for field in Cell.__dataclass_fields__})


def _first_call(cell: Cell, step: Step, device: str) -> float:
    """Seconds of the first run, which shows whether there is one.

    Raises:
        UserError: the network cannot run on images of that size and number.
    """
    try:
        return timed(step, device)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(
            f"{cell.title}: cannot be run on {cell.batch} images of {cell.size} x {cell.size} "
            f"pixels ({reason}); give a larger --size or --batch"
        ) from error


def _measure(
    cells: list[Cell],
    settings: Settings,
    bar: "tqdm[Any]",
    *,
    left_out: list[Record],
    variant: str | None = None,
    find: FindSubject = find_classifier,
    meter: EnergyMeter | None = None,
) -> list[Record]:
    """Build all cells, time them in turns, and compare them with the reference."""
    steps: dict[Cell, Step] = {}
    rows: dict[Cell, Record] = {}
    layout: dict[str, Any] = {"device": settings.device, "channels_last": settings.channels_last}
    # An operator may lack a shape; of a network, only what it cannot do at all is left out.
    passed = NotMeasuredError if variant is None else UserError
    for cell in cells:
        bar.set_description(f"first run of {cell.title}")
        shape: dict[str, int] = {}
        try:
            if variant is None:
                steps[cell] = network_step(cell, **layout, find=find)
            else:
                assert cell.stage is not None
                channels, side = stage_shapes(variant, cell.size)[cell.stage - 1]
                steps[cell] = operator_step(cell, channels, side, **layout)
                shape = {"channels": channels, "side": side}
        except passed as error:
            left_out.append(asdict(cell) | {"reason": str(error)})
            bar.total -= _steps_of(settings)
            continue
        rows[cell] = asdict(cell) | shape
        rows[cell] |= {
            "parameters": steps[cell].parameters,
            "first_call_s": _first_call(cell, steps[cell], settings.device),
        }
        if settings.device.startswith("cuda") and variant is None:
            rows[cell]["memory_mib"] = cuda_peak(steps[cell], settings.device)
        bar.update()
    if not steps:
        return []
    bar.set_description(f"{cells[0].work} in turns")
    seconds = interleave(
        steps,
        rounds=settings.rounds,
        warmup=settings.warmup,
        device=settings.device,
        progress=bar.update,
    )
    if meter is not None:
        bar.set_description(f"energy of {cells[0].work}")
        found = energy_of(
            steps,
            meter,
            rounds=_energy_rounds(settings),
            device=settings.device,
            progress=bar.update,
        )
        for cell, joules in found.items():
            rows[cell] |= {
                "joules": joules,
                "joules_per_image": statistics.median(joules) / cell.batch,
            }
    for cell, times in seconds.items():
        rows[cell] |= summary(times)
        rows[cell] |= {
            "images_per_second": cell.batch / rows[cell]["median_s"],
            "megapixels_per_second": cell.batch * cell.size**2 / 1e6 / rows[cell]["median_s"],
        }
        reference = _reference_of(cell, list(seconds), settings.reference)
        if reference is not None:
            rows[cell]["speed_ratio"] = speed_ratio(times, seconds[reference])
    return list(rows.values())


def _reference_of(cell: Cell, cells: list[Cell], name: str | None) -> Cell | None:
    """The reference in the same mode, dtype and shape."""
    if name is None:
        return None
    reference = replace(cell, model=name)
    return reference if reference in cells else None


def _add_floor(row: Record, rates: Rates, work: str) -> None:
    cost = cost_of(
        row["model"],
        row["channels"],
        row["side"],
        batch=row["batch"],
        dtype=row["dtype"],
        work=work,
    )
    computing, moving = rates.floor(*cost)
    row |= {
        "multiply_adds": cost.multiply_adds,
        "bytes": cost.bytes,
        "compute_floor_s": computing,
        "memory_floor_s": moving,
        "floor_share": max(computing, moving) / row["median_s"],
    }
