//! Grammars of attacks: each judges one decoded value in its place.
