"""Evaluation by the field's measures: verification, identification, clustering, detection and clicks.

Pure functions on arrays. Within the package imports go strictly downwards::

    plots
    thresholds
    verification  pair_stream  identification  clustering  detection  clicks
    rates
    bootstrap
    labels
"""

from photocluster.evaluation.bootstrap import Interval, bootstrap_intervals
from photocluster.evaluation.clicks import ClicksMeasures, Decision, Goal, clicks_intervals, count_clicks, name_clusters
from photocluster.evaluation.clustering import (
    ClusteringMeasures,
    PrecisionRecall,
    churn,
    clustering_by_group,
    clustering_intervals,
    clustering_measures,
    same_photo_violations,
)
from photocluster.evaluation.detection import (
    DetectedPhoto,
    DetectionCounts,
    DetectionMeasures,
    LabelledFace,
    detection_by_group,
    detection_intervals,
    detection_measures,
    match_faces,
    parse_labelled_faces,
)
from photocluster.evaluation.identification import (
    IdentificationMeasures,
    OpenSetCurve,
    OpenSetSplit,
    identification_by_group,
    identification_intervals,
    identification_measures,
    open_set_curve,
    open_set_split,
)
from photocluster.evaluation.labels import UNLABELLED, by_group, identity_numbers
from photocluster.evaluation.pair_stream import (
    AllPairs,
    AllPairsMeasures,
    GroupRates,
    all_pairs,
    all_pairs_by_group,
    all_pairs_intervals,
)
from photocluster.evaluation.plots import (
    Panel,
    check_plot,
    clicks_panel,
    distances_panel,
    histogram_panel,
    recall_panel,
    roc_panel,
    threshold_panel,
    write_plot,
)
from photocluster.evaluation.rates import Roc, far_key, roc
from photocluster.evaluation.thresholds import ThresholdPoint, component_clusterings, threshold_curve
from photocluster.evaluation.verification import (
    Pair,
    VerificationMeasures,
    best_threshold,
    lfw_verification,
    parse_pairs,
    verification_by_group,
    verification_intervals,
)

__all__ = [
    "UNLABELLED",
    "AllPairs",
    "AllPairsMeasures",
    "ClicksMeasures",
    "ClusteringMeasures",
    "Decision",
    "DetectedPhoto",
    "DetectionCounts",
    "DetectionMeasures",
    "Goal",
    "GroupRates",
    "IdentificationMeasures",
    "Interval",
    "LabelledFace",
    "OpenSetCurve",
    "OpenSetSplit",
    "Pair",
    "Panel",
    "PrecisionRecall",
    "Roc",
    "ThresholdPoint",
    "VerificationMeasures",
    "all_pairs",
    "all_pairs_by_group",
    "all_pairs_intervals",
    "best_threshold",
    "bootstrap_intervals",
    "by_group",
    "check_plot",
    "churn",
    "clicks_intervals",
    "clicks_panel",
    "clustering_by_group",
    "clustering_intervals",
    "clustering_measures",
    "component_clusterings",
    "count_clicks",
    "detection_by_group",
    "detection_intervals",
    "detection_measures",
    "distances_panel",
    "far_key",
    "histogram_panel",
    "identification_by_group",
    "identification_intervals",
    "identification_measures",
    "identity_numbers",
    "lfw_verification",
    "match_faces",
    "name_clusters",
    "open_set_curve",
    "open_set_split",
    "parse_labelled_faces",
    "parse_pairs",
    "recall_panel",
    "roc",
    "roc_panel",
    "same_photo_violations",
    "threshold_curve",
    "threshold_panel",
    "verification_by_group",
    "verification_intervals",
    "write_plot",
]
