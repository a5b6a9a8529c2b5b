"""The verbs: scan, cluster, label, propagate, export. The only place where store, models and algorithms meet."""
