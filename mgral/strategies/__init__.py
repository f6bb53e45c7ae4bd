"""Query strategies behind one interface."""
