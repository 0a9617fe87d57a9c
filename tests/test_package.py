"""The package as users get it: what a wheel holds, and what an import costs."""

import ast
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import spanetv2

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("lightning", "lightning.pytorch", "sklearn", "matplotlib", "torchmetrics", "datasets")
HEAVY += ("webdataset", "tensorboard", "pandas")


def modules_after(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after ``statement``."""
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel with the backend that pyproject.toml names, in a process of its own."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build as b; b.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_every_module_recipe_and_weight(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src").rglob("*.py")}
    recipes = {p.relative_to(ROOT).as_posix() for p in (ROOT / "recipes").rglob("*.yaml")}
    assert len(sources) > 20
    assert len(recipes) > 0
    assert sources <= names
    assert {f"spanetv2/{name}" for name in recipes} <= names
    weights = {
        p.relative_to(ROOT / "src").as_posix()
        for p in (ROOT / "src" / "spanetv2" / "weights").iterdir()
        if p.suffix in (".safetensors", ".md")
    }
    assert len(weights) == 8
    assert weights <= names
    assert "spanetv2/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_studies_are_in_the_source_distribution_and_not_in_the_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    code = f"import hatchling.build as b; b.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    studies = {p.relative_to(ROOT).as_posix() for p in (ROOT / "studies").rglob("*.py")}
    assert {"studies/mixers/__main__.py", "studies/performance/__main__.py"} <= studies <= names
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "studies" in name]


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    for name in zipfile.ZipFile(wheel).namelist():
        top, _, rest = name.partition("/")
        assert top == "spanetv2" or top.endswith(".dist-info"), name
        assert "__pycache__" not in rest, name


def test_wheel_works_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import timm, spanetv2\n"
        "from spanetv2.cli.recipes import find_recipe, list_recipes\n"
        "print(spanetv2.__file__, find_recipe('imagenet/s18_pure'), sep='\\n')\n"
        "print(*list_recipes(), sep='\\n')\n"
        "timm.create_model('spanetv2_pico_pure')\n"
        "timm.create_model('spanetv2_pico_pure.fashion_mnist', pretrained=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    module, recipe, *names = done.stdout.splitlines()
    assert Path(module).is_relative_to(tmp_path)
    assert Path(recipe).is_relative_to(tmp_path)
    shipped = (p.relative_to(ROOT / "recipes") for p in (ROOT / "recipes").rglob("*.yaml"))
    assert set(names) == {path.with_suffix("").as_posix() for path in shipped}


def test_wheel_offers_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
    assert "spanetv2 = spanetv2.cli.main:main" in archive.read(name).decode()


@pytest.mark.parametrize("module", ["spanetv2", "spanetv2.models", "spanetv2.cli.main"])
def test_import_loads_nothing_heavy(module: str) -> None:
    extra = modules_after(f"import {module}") - modules_after("import timm")
    assert not {name for name in extra if name in HEAVY}


def test_models_losses_data_and_metrics_do_without_lightning() -> None:
    package = ROOT / "src" / "spanetv2"
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] in ("training", "cli"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            bad = [n for n in names if n.split(".")[0] in ("lightning", "pytorch_lightning")]
            assert not bad, path


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert spanetv2.__version__ == project["version"]
    assert f"version: {project['version']}\n" in citation
    assert f"## [{project['version']}]" in changes


def test_the_readme_names_both_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for command in ("sh scripts/quickstart", "sh scripts/test"):
        assert sum(line.strip().startswith(command) for line in lines) >= 1, command


def test_the_installed_metadata_belongs_to_this_project() -> None:
    assert importlib.metadata.metadata("spanetv2")["License-Expression"] == "Apache-2.0"
