//! Reading configuration: TOML files in, typed values or *all* findings with `file:line:column` out.
//!
//! [`Sources`] reads files and secrets and hashes what it read; [`parse`] turns one file into a typed [`Document`] whose
//! [`Positions`] let later checks point at the line they complain about; [`ConfigErrors`] collects everything.

mod document;
mod error;
mod message;
mod reference;
mod secret;
mod source;
mod suggest;
mod unit;

pub use document::{Document, Positions, parse, parse_all, parse_json};
pub use error::{ConfigError, ConfigErrors};
pub use reference::reference_markdown;
pub use secret::{Secret, SecretSource};
pub use source::{Fingerprint, Pieces, SourceFile, Sources};
pub use suggest::nearest;
pub use unit::{ByteSize, HumanDuration, Rate, UnitError};
