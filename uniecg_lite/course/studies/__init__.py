"""Studies: named, resumable grids of short trainings, one JSON per cell."""

from .bridge_verdicts import augmentation_claims, augmentation_metrics, mapping_claims, mapping_metrics
from .cells import STUDIES_FOLDER, read_cells
from .grid import STUDIES, Study, run_study, study_list
from .summary import paired, provenance, summary, summary_table
from .verdicts import making_claims, making_metrics, study_metrics, system_table, table_claims

__all__ = [
    "STUDIES",
    "STUDIES_FOLDER",
    "Study",
    "augmentation_claims",
    "augmentation_metrics",
    "making_claims",
    "making_metrics",
    "mapping_claims",
    "mapping_metrics",
    "paired",
    "provenance",
    "read_cells",
    "run_study",
    "study_list",
    "study_metrics",
    "summary",
    "summary_table",
    "system_table",
    "table_claims",
]
