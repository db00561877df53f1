//! Applications: who they are, what they prove themselves with, and what they may.
//!
//! - [`app`]: one application, as compiled

pub mod app;

pub use app::{ApiKeyHash, App, AppPublicKey, AppSecret, Scheme, Session, Status};
