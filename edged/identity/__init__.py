"""Who is known: the encrypted gallery, matching, enrolment, forgetting, and what the gallery says of its own threshold."""
