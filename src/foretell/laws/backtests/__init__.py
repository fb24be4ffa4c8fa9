"""How far off forecasts of losses are on public families, and what these teach."""
