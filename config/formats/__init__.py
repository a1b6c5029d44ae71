"""How dates are written wherever Django writes them by itself: as the pages of staff do."""
