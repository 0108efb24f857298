"""Training: what trainers are, checks, fits of panels, and steps that learn."""
