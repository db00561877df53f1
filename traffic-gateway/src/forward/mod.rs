//! What is sent on and what comes back.
//!
//! [`collect`] waits for short bodies; [`exchange`] carries a request to a node and its answer back; [`request`] makes of the client's head the one that tier two receives, hop and all; [`retry`] decides what a failed
//! attempt means; [`response`] takes the result of the hop off the answer; [`failure`] renders what could not be had.

pub mod collect;
pub mod request;
pub mod retry;
pub mod response;
pub mod failure;
pub mod exchange;
mod upload;

/// What the hooks call an exchange that the rules refuse after its head was handed on.
const REFUSED: pingora::ErrorType = pingora::ErrorType::new("refused by the rules");
