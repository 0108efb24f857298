"""Training: trainers, checks, fits of panels, and training by steps."""
