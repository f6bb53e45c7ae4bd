"""The commands `mgral project ...`, for people who label round by round."""
