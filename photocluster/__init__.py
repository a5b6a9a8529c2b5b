"""Find and name the people in a photo library.

The command line is `photocluster.cli`; as a library, `FaceClusterer` clusters embeddings and `Library` reads a library
folder. Both are imported when they are first used, so that ``import photocluster`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from photocluster.clustering import FaceClusterer
    from photocluster.store import Library

__version__ = "0.1.0"

__all__ = ["FaceClusterer", "Library"]


def __getattr__(name: str) -> Any:
    if name == "FaceClusterer":
        from photocluster.clustering import FaceClusterer

        return FaceClusterer
    if name == "Library":
        from photocluster.store import Library

        return Library
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
