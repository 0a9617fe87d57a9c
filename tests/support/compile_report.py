"""Compile an operator's Triton kernels for GPUs that are not here, as the operator launches them.

    python tests/support/compile_report.py local_mixing           one line of JSON per program

The launches are taken from the graphs that ``torch.compile`` makes of the operator, forward and
backward, on tensors without memory: their grids, constants and settings are those of a real run.
Reported per GPU: registers, spilled bytes, shared memory, and matrix products: those in the
kernel's text, those of the program (unrolled, or three for one), and those on tensor cores.

What is run of an operator ``spanetv2.ops.NAME`` is said by ``NAME_cases.py`` beside this file: a
function ``cases()`` that yields (title, function, inputs); inputs with ``requires_grad`` have the
backward pass traced as well. Needs Triton without its interpreter, and no GPU.
"""

import importlib
import io
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, type_canonicalisation_dict

ARCHITECTURES = (80, 89, 90)
"""Compute capabilities: A100, L4 and RTX 40, H100 and H200."""
_SETTINGS = ("num_warps", "num_stages", "num_ctas", "maxnreg")


@dataclass(frozen=True)
class Launch:
    """What a kernel is compiled from.

    Args:
        kernel: the kernel.
        types: type of every argument that is no constant, as Triton writes them.
        divisible: of these, the integers that are multiples of 16 (all pointers are).
        constants: values of the constants.
        settings: ``num_warps`` and the like.
    """

    kernel: JITFunction
    types: dict[str, str]
    divisible: tuple[str, ...]
    constants: dict[str, Any]
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.kernel.__module__}.{self.kernel.__name__}"


@dataclass(frozen=True)
class Report:
    """What became of a launch on one GPU; sizes in bytes."""

    case: str
    kernel: str
    architecture: int
    warps: int
    registers: int
    spilled: int
    shared: int
    products_written: int
    products: int
    products_on_tensor_cores: int


def kernels_of(operator: str) -> dict[str, JITFunction]:
    """Every kernel of ``spanetv2.ops.<operator>`` by full name; helpers begin with ``_``."""
    package = importlib.import_module(f"spanetv2.ops.{operator}")
    found = {}
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for name, value in vars(importlib.import_module(info.name)).items():
            own = isinstance(value, JITFunction) and value.__module__ == info.name
            if own and not name.startswith("_"):
                found[f"{info.name}.{name}"] = value
    return found


class _AbsentGPU:
    """A driver that only says what to compile for, as tracing asks for it."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", ARCHITECTURES[-1], 32)


def launches(function: Callable[..., Any], inputs: list[Tensor]) -> list[Launch]:
    """The kernels that a compiled function launches, backward too if an input wants a gradient.

    Args:
        function: of tensors, to one tensor; traced in one graph.
        inputs: example inputs; only their shapes and types matter.
    """
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.aot_autograd import make_boxed_func
    from torch._subclasses.fake_tensor import FakeTensorMode

    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return make_boxed_func(graph.forward)

    triton.runtime.driver.set_active(_AbsentGPU())  # pyright: ignore[reportArgumentType]
    backend = aot_autograd(fw_compiler=keep, bw_compiler=keep)
    torch.compiler.reset()
    fake = FakeTensorMode(allow_non_fake_inputs=True)  # constants are real
    leaves = [fake.from_tensor(value) for value in inputs]
    with fake:
        out = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)(*leaves)
        if out.requires_grad:
            out.sum().backward()
    return [_launch(node) for graph in graphs for node in graph.graph.nodes if _is_launch(node)]


def _is_launch(node: torch.fx.Node) -> bool:
    return "triton_kernel_wrapper" in str(node.target)


def _launch(node: torch.fx.Node) -> Launch:
    from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table

    kernel: Any = kernel_side_table.get_kernel(node.kwargs["kernel_idx"])
    given = dict(node.kwargs["kwargs"])
    given |= kernel_side_table.get_constant_args(node.kwargs["constant_args_idx"])
    settings = {}
    if not isinstance(kernel, JITFunction):  # a kernel with settings
        (config,) = kernel.configs
        settings = {name: getattr(config, name, None) for name in _SETTINGS}
        given |= config.kwargs
        kernel = kernel.fn
    settings |= {name: given.pop(name) for name in _SETTINGS if name in given}
    types, constants, divisible = {}, {}, []
    for parameter in kernel.params:
        value = given[parameter.name]
        if isinstance(value, torch.fx.Node):
            dtype = str(value.meta["val"].dtype).removeprefix("torch.")
            types[parameter.name] = f"*{type_canonicalisation_dict[dtype]}"
        elif parameter.is_constexpr or value is None or value is True or value == 1:
            constants[parameter.name] = value
        elif isinstance(value, float):
            types[parameter.name] = "fp32"
        else:
            types[parameter.name] = "i32" if abs(value) < 2**31 else "i64"
            if value % 16 == 0:
                divisible.append(parameter.name)
    chosen = {name: value for name, value in settings.items() if value is not None}
    return Launch(kernel, types, tuple(divisible), constants, chosen)


def report(launch: Launch, architecture: int, case: str = "") -> Report:
    """Compile a launch for a GPU.

    Args:
        launch: of ``launches``, or made by hand.
        architecture: compute capability, such as 90.
        case: a title for the reader.

    Raises:
        RuntimeError: NVIDIA's assembler gave no report.
    """
    names = launch.kernel.arg_names
    source = ASTSource(
        fn=launch.kernel,
        signature={name: launch.types.get(name, "constexpr") for name in names},
        constexprs=launch.constants,
        attrs={
            (index,): [["tt.divisibility", 16]]
            for index, name in enumerate(names)
            if launch.types.get(name, "").startswith("*") or name in launch.divisible
        },
    )
    triton.knobs.nvidia.dump_ptxas_log = True
    triton.knobs.compilation.always_compile = True
    said = io.StringIO()
    with redirect_stdout(said):
        target = GPUTarget("cuda", architecture, 32)
        made = triton.compile(source, target=target, options=launch.settings)
    if "Used" not in said.getvalue():
        raise RuntimeError(f"no report of {launch.name} for sm_{architecture}: {said.getvalue()}")

    def number(pattern: str) -> int:
        found = re.search(pattern, said.getvalue())
        return int(found[1]) if found else 0

    # A product in ``#blocked`` is a loop of multiply-adds in the ordinary cores.
    products = re.findall(r"(?:tt\.dot|warp_group_dot) .*-> tensor<.*, (#\w+)>", made.asm["ttgir"])
    return Report(
        case=case,
        kernel=launch.name,
        architecture=architecture,
        warps=made.metadata.num_warps,
        registers=number(r"Used (\d+) registers"),
        spilled=max(number(r"(\d+) bytes spill stores"), number(r"(\d+) bytes spill loads")),
        shared=made.metadata.shared,
        products_written=made.asm["ttir"].count("tt.dot "),
        products=len(products),
        products_on_tensor_cores=sum(layout.startswith("#mma") for layout in products),
    )


def reports(operator: str) -> Iterator[Report]:
    """A report of every different program of an operator's cases, for every architecture."""
    cases = importlib.import_module(f"{operator}_cases")
    seen = set()
    for title, function, inputs in cases.cases():
        for launch in launches(function, inputs):
            key = repr(launch)
            if key in seen:
                continue
            seen.add(key)
            for architecture in ARCHITECTURES:
                yield report(launch, architecture, title)


def main() -> None:
    (operator,) = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps({"kernels": sorted(kernels_of(operator))}))
    for made in reports(operator):
        print(json.dumps(asdict(made)), flush=True)


if __name__ == "__main__":
    main()
