"""The recipes that ship with the package: finding and listing them."""

import difflib
import re
from pathlib import Path

import typer

from spanetv2.errors import UserError

__all__ = ["describe_recipe", "find_recipe", "list_recipes", "recipe_task", "recipes"]


def _folders() -> list[Path]:
    """Where recipes may be: inside an installed package, or at the root of a source checkout."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent.parent
    candidates = [package / "recipes"]
    if (checkout / "pyproject.toml").is_file():
        candidates.append(checkout / "recipes")
    return [folder for folder in candidates if folder.is_dir()]


def list_recipes() -> dict[str, Path]:
    """Every shipped recipe by name, such as ``imagenet/s18_pure``."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.rglob("*.yaml")):
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return found


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path to one, or the name of a shipped one.

    Raises:
        UserError: neither; the message suggests close names.

    Example:
        >>> find_recipe("digits").name
        'digits.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = list_recipes()
    key = path.as_posix().removeprefix("recipes/")
    key = key.removesuffix(".yaml").removesuffix(".yml")
    if key in shipped:
        return shipped[key]
    close = difflib.get_close_matches(key, shipped, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(close)}?" if close else f"shipped: {', '.join(shipped)}"
    raise UserError(f"got recipe {name!r}, neither a file nor a shipped recipe; {hint}")


def describe_recipe(path: Path) -> str:
    """What a recipe says about itself: its first comment line."""
    with path.open(encoding="utf-8") as stream:
        first = stream.readline().strip()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def recipe_task(path: Path) -> str | None:
    """The task a recipe is for: what the command in its first comment lines trains.

    Example:
        >>> recipe_task(find_recipe("digits"))
        'classification'
    """
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if not line.startswith("#"):
                return None
            if found := re.search(r"spanetv2 train (\w+)", line):
                return found[1]
    return None


def recipes() -> None:
    """List the recipes that `spanetv2 train TASK --config NAME` knows."""
    found = list_recipes()
    width = max(map(len, found), default=0)
    for name, path in found.items():
        typer.echo(f"{name:<{width}}  {describe_recipe(path)}")
