"""Use cases of feedback: submitting, voting, changing, replying, moderating and erasing."""
