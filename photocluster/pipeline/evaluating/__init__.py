"""Evaluation on photos that the user knows: the measures of `photocluster.evaluation` on what the real pipeline does.

::

    clustered    cluster, clicks        recognised   verify, identify        detected   detect
    known        from a folder per person to faces with identities
    labels       the table of labels
"""

from photocluster.pipeline.evaluating.clustered import (
    Churn,
    ClicksEvaluation,
    ClusterEvaluation,
    evaluate_clicks,
    evaluate_clusters,
)
from photocluster.pipeline.evaluating.detected import DetectionEvaluation, Miss, evaluate_detection
from photocluster.pipeline.evaluating.known import Census, KnownFaces, Material, read_files, read_tree
from photocluster.pipeline.evaluating.labels import Labels, read_labels
from photocluster.pipeline.evaluating.recognised import (
    AllPairsEvaluation,
    IdentificationEvaluation,
    PairsEvaluation,
    evaluate_all_pairs,
    evaluate_identification,
    evaluate_pairs,
)

__all__ = [
    "AllPairsEvaluation",
    "Census",
    "Churn",
    "ClicksEvaluation",
    "ClusterEvaluation",
    "DetectionEvaluation",
    "IdentificationEvaluation",
    "KnownFaces",
    "Labels",
    "Material",
    "Miss",
    "PairsEvaluation",
    "evaluate_all_pairs",
    "evaluate_clicks",
    "evaluate_clusters",
    "evaluate_detection",
    "evaluate_identification",
    "evaluate_pairs",
    "read_files",
    "read_labels",
    "read_tree",
]
