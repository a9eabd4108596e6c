"""What Home Assistant needs to show a site by itself."""
