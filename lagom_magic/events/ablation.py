"""How trials of an ablation stand in a journal: the words that planning, sampling, statistics and views agree on."""

from __future__ import annotations

#: The hyperparameters of every trial; the training function never sees them.
COMPONENT, REPEAT = "component", "repeat"
#: The component of trials that nothing is left out of.
BASELINE = "baseline"
#: Joins the labels of two components that are left out together.
AND = " + "
