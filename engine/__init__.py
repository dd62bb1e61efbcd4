"""How any study runs: its command line, its search and finals, on Ray or in one process."""
