"""Readers of the names that other programs gave: each yields `TaggedPhoto`, and a `Problem` for what it cannot read."""

from photocluster.foreign.tags import NameTag, Problem, Space, TaggedPhoto

__all__ = ["NameTag", "Problem", "Space", "TaggedPhoto"]
