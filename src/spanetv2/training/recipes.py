"""Configuration files: finding the shipped ones, reading any.

A file is YAML (JSON is YAML too): groups of values, beside ``task``, the task it is for.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spanetv2.errors import ConfigError, UserError
from spanetv2.files import read_text
from spanetv2.plain_yaml import EndlessYamlError, load_yaml

__all__ = [
    "ConfigFile",
    "describe_recipe",
    "find_recipe",
    "list_recipes",
    "read_config_file",
    "recipe_task",
]


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a configuration file says.

    Args:
        path: the file.
        task: name of the task it is for; None where it does not say.
        values: everything else.
    """

    path: Path
    task: str | None
    values: dict[str, Any]


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
    recipes: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.rglob("*.yaml")):
            recipes.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return recipes


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
    first = read_text(path, expected="a YAML file").partition("\n")[0].strip()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def read_config_file(path: Path) -> ConfigFile:
    """Read a configuration file, without judging its values.

    Raises:
        ConfigError: not text, not YAML, not plain, or not groups of values.
    """
    try:
        content = load_yaml(read_text(path, expected="a YAML file"))
    except EndlessYamlError as error:
        raise EndlessYamlError(f"{path}: {error}") from None
    except UserError as error:
        said = str(error)
        raise ConfigError(said if str(path) in said else f"{path}: no YAML: {said}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(
            f"got {path}, expected a YAML file of groups such as optimizer: {{lr: 1}}"
        )
    task = content.pop("task", None)
    if not (task is None or isinstance(task, str)):
        raise ConfigError(f"{path}: task is {task!r}, expected a name")
    return ConfigFile(path=path, task=task, values=content)


def recipe_task(path: Path) -> str | None:
    """The task that a configuration file is for, None where it does not say.

    Example:
        >>> recipe_task(find_recipe("digits")) is None
        False
    """
    return read_config_file(path).task
