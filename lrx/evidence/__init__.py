"""What the logs of training runs say of schedules: loss laws, and schedules refined from gradient norms."""
