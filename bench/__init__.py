"""Measurements: `python -m bench [--json]`. Speed is shown here, as ratios and with the machine's noise, and never asserted in a test."""
