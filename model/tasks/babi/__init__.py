"""bAbI's first ten tasks (Weston et al. 1502.05698): their sentences, their rules, and stories made up after them."""
