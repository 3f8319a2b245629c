"""Measurements that a user can repeat: ``bci bench NAME``. Figures are ratios within one run where they can be."""
