//! `@ipMatch` and `@ipMatchFromFile`: addresses and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::OperatorError;
use super::phrases::data_lines;

/// Ranges of addresses, each list sorted and without overlaps, so that a look-up is a binary search.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Addresses {
    /// `192.0.2.7,198.51.100.0/24,2001:db8::/32`; bits behind the prefix are ignored.
    pub(super) fn from_argument(argument: &str) -> Result<Self, OperatorError> {
        let mut addresses = Self::default();
        addresses.add_list(argument)?;
        addresses.finish("ipMatch")
    }

    /// The names of files with one or several addresses a line; `#` begins a comment.
    pub(super) fn from_files(
        names: &str,
        files: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, OperatorError> {
        let mut addresses = Self::default();
        for content in super::phrases::data_files("ipMatchFromFile", names, files)? {
            for line in data_lines(&content) {
                let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
                addresses.add_list(&String::from_utf8_lossy(line))?;
            }
        }
        addresses.finish("ipMatchFromFile")
    }

    /// Whether `value` is an address in one of the networks. An IPv4 address mapped into IPv6 is an IPv4 address.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        let address: Option<IpAddr> = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(v4)) => contains(&self.v4, v4.to_bits()),
            Some(IpAddr::V6(v6)) => contains(&self.v6, v6.to_bits()),
            None => false,
        }
    }

    fn add_list(&mut self, list: &str) -> Result<(), OperatorError> {
        for item in list.split([',', ' ', '\t']).filter(|item| !item.is_empty()) {
            self.add(item).ok_or_else(|| OperatorError::Address(item.to_owned()))?;
        }
        Ok(())
    }

    fn add(&mut self, item: &str) -> Option<()> {
        let (address, prefix) = match item.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().ok()?)),
            None => (item, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(v4) => self.add_v4(v4, prefix.unwrap_or(32)),
            IpAddr::V6(v6) => self.add_v6(v6, prefix.unwrap_or(128)),
        }
    }

    fn add_v4(&mut self, address: Ipv4Addr, prefix: u32) -> Option<()> {
        let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
        let first = address.to_bits() & !host;
        (prefix <= 32).then(|| self.v4.push((first, first | host)))
    }

    fn add_v6(&mut self, address: Ipv6Addr, prefix: u32) -> Option<()> {
        if let Some(v4) = address.to_ipv4_mapped()
            && let Some(prefix) = prefix.checked_sub(96)
        {
            return self.add_v4(v4, prefix);
        }
        let host = u128::MAX.checked_shr(prefix).unwrap_or(0);
        let first = address.to_bits() & !host;
        (prefix <= 128).then(|| self.v6.push((first, first | host)))
    }

    fn finish(mut self, operator: &'static str) -> Result<Self, OperatorError> {
        if self.v4.is_empty() && self.v6.is_empty() {
            return Err(OperatorError::NoAddresses(operator));
        }
        merge(&mut self.v4);
        merge(&mut self.v6);
        Ok(self)
    }
}

/// Sorts ranges and joins those that overlap.
fn merge<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
}

fn contains<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).and_then(|index| ranges.get(index)).is_some_and(|(_, last)| address <= *last)
}
