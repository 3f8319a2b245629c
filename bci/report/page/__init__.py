"""How a report looks: HTML and inline SVG, made from the numbers of `bci.report.facts`."""
