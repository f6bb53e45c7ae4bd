"""How a project gets on: its curve, forecast, hours, and advice."""
