"""What goes wrong on shared clusters, done on purpose: see campaign."""
