"""The one training loop, its optimizer, schedule, guard, checkpoints and display."""
