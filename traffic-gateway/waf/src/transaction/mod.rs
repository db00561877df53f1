//! One request and its answer, seen by the rules in five phases.
