"""Loss laws, transfers and refined schedules against logs of real training: one command a module."""
