"""Homes: the notebook that shows what a claim, a figure or a table is about."""

from prunelib.findings.ledger import Entry

# The notebook that shows each figure and table of the paper, or, where there is none, each section.
HOMES = {
    **dict.fromkeys(("1", "2"), "01_introduction"),
    "3": "04_at_initialization",
    **dict.fromkeys(("4", "5"), "05_ablations"),
    "6": "06_after_initialization",
    "7": "D_synflow",
    "8": "E_baselines",
    **dict.fromkeys(("9", "10"), "F_ablations_after"),
    **dict.fromkeys(("11", "12"), "G_iterative_snip"),
    "13": "H_grasp_variants",
    "14": "I_improved",
    "15": "J_layerwise",
    "16": "M_effective_sparsity",
    **dict.fromkeys(("Table 1", "Table 2", "Table 3"), "B_snip"),
    **dict.fromkeys(("Table 4", "Table 5"), "C_grasp"),
    **dict.fromkeys(("Table 6", "Table 7"), "D_synflow"),
}
SECTIONS = {
    "1": "01_introduction",
    "3": "03_methods",
    "4": "04_at_initialization",
    "5": "05_ablations",
    **dict.fromkeys(("6", "7"), "06_after_initialization"),
    "A": "A_settings", "B": "B_snip", "C": "C_grasp", "D": "D_synflow", "E": "E_baselines",
    "F": "F_ablations_after", "G": "G_iterative_snip", "H": "H_grasp_variants", "I": "I_improved",
    "J": "J_layerwise", "K": "K_lenet", "L": "L_modified_resnet18", "M": "M_effective_sparsity",
    "S": "S_weight_distributions",
}  # fmt: skip


def home(entry: Entry) -> str:
    """The name of the notebook that shows what an entry is about."""
    return HOMES.get(entry.figure, SECTIONS[entry.section])
