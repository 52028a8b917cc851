"""The benchmark: micwire and its peers under the same load, in one run on one machine."""
