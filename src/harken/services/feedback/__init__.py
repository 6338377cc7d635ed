"""Use cases around single feedback: submitting, voting, replying, moderating and erasing."""
