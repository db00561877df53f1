//! What must not be blocked by mistake.

use gatehouse_shared::cidr::Network;

use crate::policy::Policy;

/// Shortest prefixes of networks that are blocked without being forced (IPv4, IPv6): 16 million addresses, or more than
/// anybody is given.
const BROADEST: (u8, u8) = (8, 19);

/// Why a network has to be forced at `now`, in Unix seconds, if it has to: it is very broad, or shares addresses with what is
/// trusted or allowed.
#[must_use]
pub fn overlapped(policy: &Policy, network: Network, now: u64) -> Option<String> {
    let broadest = if network.as_ipnet().addr().is_ipv4() { BROADEST.0 } else { BROADEST.1 };
    if network.as_ipnet().prefix_len() < broadest {
        return Some(format!("{network} is very broad: shorter than /{broadest}"));
    }
    if let Some(trusted) = policy.accept.trusted_proxies.overlap(network) {
        return Some(format!("{network} overlaps {trusted}, a trusted proxy"));
    }
    let finding = policy.admission.access()?.allowed_overlap(network, now)?;
    Some(format!("{network} overlaps {}, allowed by {} line {}", finding.entry, finding.file, finding.line))
}
