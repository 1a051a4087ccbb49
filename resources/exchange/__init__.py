"""Where candles come from: one small interface and the sources behind it."""
