"""Projects: pictures that people label round by round."""
