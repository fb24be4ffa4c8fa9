"""Exams made for people: sections, scoring rules, scaled scores, and the percentile among those who sat them."""
