"""Whether answers are still the evidence they were: `with Audit.at(url) as audit: list(audit.breaks())`."""

from loradex.service.audit.audit import Audit, Checked
from loradex.service.audit.finding import Finding
from loradex.service.audit.head import Head

__all__ = ["Audit", "Checked", "Finding", "Head"]
