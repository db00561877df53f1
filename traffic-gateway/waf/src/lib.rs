//! Rules in, requests in, verdicts out.
