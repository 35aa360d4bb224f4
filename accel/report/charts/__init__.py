"""One file a chart. A chart is a function of a finished study's data and gives a Vega-Lite specification, or None."""
