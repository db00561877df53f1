//! The server in process, on free ports, in front of a small hyper service.

// For clippy, which lets tests unwrap only where it sees that they are tests.
#[cfg(test)]
mod support;

#[cfg(test)]
mod aggregates;
#[cfg(test)]
mod apps;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod care;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod flow_rules;
#[cfg(test)]
mod hop;
#[cfg(test)]
mod mirror;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod quota_command;
#[cfg(test)]
mod quota_fleet;
#[cfg(test)]
mod quota_store;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod shaping;
#[cfg(test)]
mod splits;
#[cfg(test)]
mod together;
#[cfg(test)]
mod traffic_groups;
#[cfg(test)]
mod traffic_groups_shed;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod validation;
#[cfg(test)]
mod validation_import;
#[cfg(test)]
mod sizes;
