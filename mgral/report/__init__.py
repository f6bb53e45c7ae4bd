"""The report of a finished experiment: figures, the tables behind them, and one page that shows both."""
