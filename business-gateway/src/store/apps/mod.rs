//! Applications.

pub mod bloom;
pub mod filter;
pub mod keyring;
pub mod origin;
pub mod files;
pub mod funnel;
pub mod follow;
pub mod rule;
