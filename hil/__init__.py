"""Bench side: vehicles, boards, links, faults, verdicts, reports."""
