//! The prefilter: one pass over a text says which rules may match it.
//!
//! Every positive comparison with a pattern says what a text must hold for a match: one of some literals, and bytes of
//! some sets ([`needs`]). All literals of all rules go into one Aho-Corasick automaton, the sets into one table, so a
//! scan costs a table lookup and an automaton step for each byte, whatever the text holds. A rule whose needs are met
//! is then compared in earnest; the prefilter never decides that something matches. Chosen input can make rules run
//! that need not, and no more: each costs what it would without a prefilter.

pub(crate) mod needs;
mod scanner;

pub(crate) use needs::{Needs, matches_everything};
pub(crate) use scanner::{Ask, Scanner, ScannerBuilder, set_bit};
