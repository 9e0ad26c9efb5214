"""How good models are: metrics, comparison, and which strips a run has seen already."""
