//! Requests in files with what is expected of them: the format of `rules test`.
//!
//! A file holds cases separated by lines `====`; a case is a comment, a request as it is on the wire, a line `----` and the
//! verdict. `tests/golden/waf/README.md` describes the format and its few words for generated text.
//!
//! [`read`] gives the cases of a file, [`run`] sends one through rules. Time and memory are linear in the file and in what it asks to be repeated, of which
//! a case may have [`LONGEST`] bytes.

mod case;
mod error;
mod generated;
mod ids;
mod read;
mod run;
#[cfg(test)]
mod tests;

pub use case::{Case, Expected, Request};
pub use error::{Error, Mistake};
pub use generated::LONGEST;
pub use ids::Ids;
pub use read::read;
pub use run::{Failure, Outcome, run};
