//! Plain lists: one regular expression a line, a file per target.
