"""Recipes: the settings of a whole run, those that ship with the package, and the stages that carry one out."""
