"""Spots fitted to the raw pixels, alone or together with their neighbours, with the standard error of each."""
