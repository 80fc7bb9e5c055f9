"""Places beyond the database's reach where heads of the chain are kept."""

from loradex.service.audit.anchors.anchor import Anchor, Kept
from loradex.service.audit.anchors.named import anchors

__all__ = ["Anchor", "Kept", "anchors"]
