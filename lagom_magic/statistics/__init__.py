"""What repeated trials say: paired comparisons, the table of an ablation, and that table for a paper."""
