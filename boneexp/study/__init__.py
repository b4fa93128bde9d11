"""What a study asks for: settings, grid file, overrides."""
