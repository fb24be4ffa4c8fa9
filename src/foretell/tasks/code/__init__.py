"""Tasks whose answers are programs: a sandbox that runs them, pass@k, HumanEval's and MBPP's forms, and micro-code."""
