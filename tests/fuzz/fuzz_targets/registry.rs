//! Registrations of endpoints: whatever a service writes into the store, it is read in linear time or left out, and what was
//! read is written down as a registration that reads the same.

#![no_main]

use gatehouse_fuzz::{Input, linear};
use gatehouse_store::registry::{member, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let written = Input::new(bytes).stretched();
    let Ok(written) = std::str::from_utf8(&written) else { return };
    linear(written.len(), || {
        if let Some(endpoint) = parse(written) {
            assert!(endpoint.address.port() > 0 && endpoint.weight > 0, "{endpoint:?}");
            assert_eq!(parse(&member(&endpoint)).as_ref(), Some(&endpoint));
        }
    });
});
