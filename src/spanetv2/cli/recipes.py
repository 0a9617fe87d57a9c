"""``spanetv2 recipes``: the recipes that ship with the package."""

import typer

from spanetv2.training.recipes import describe_recipe, find_recipe, list_recipes, recipe_task

__all__ = ["describe_recipe", "find_recipe", "list_recipes", "recipe_task", "recipes"]


def recipes() -> None:
    """List the recipes that `spanetv2 train TASK --config NAME` knows."""
    shipped = list_recipes()
    width = max(map(len, shipped), default=0)
    for name, path in shipped.items():
        typer.echo(f"{name:<{width}}  {describe_recipe(path)}")
