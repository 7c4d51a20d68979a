"""From results to verdicts: the numbers of each figure, effects, claims and the rule they meet."""
