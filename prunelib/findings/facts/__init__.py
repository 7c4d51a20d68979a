"""Exact numbers that need no training: the measure "fact NAME" of the ledger.

`FACTS` maps a name to a function of a setting's name, one of those that claims.csv has it for.
"""

from prunelib.findings.facts import agreement, architectures, flow, identities, procedure
from prunelib.findings.facts.table import FACTS

__all__ = ["FACTS", "agreement", "architectures", "flow", "identities", "procedure"]
