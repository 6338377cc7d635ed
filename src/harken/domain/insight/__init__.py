"""What comments say together: terms, learned sentiment, themes, comparisons and change."""
