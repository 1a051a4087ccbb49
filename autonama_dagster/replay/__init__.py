"""The replay exchange: Binance's spot REST protocol over recorded or synthetic candles."""
