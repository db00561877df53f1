//! Endpoints as written in configuration files, and as compiled.

use std::fmt;
use std::net::SocketAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::{ConfigErrors, Positions};

/// The largest weight.
const MAX_WEIGHT: u32 = 1_000;
/// The longest name of a zone.
const MAX_ZONE_LENGTH: usize = 64;

/// One endpoint as written: `"10.0.0.7:8081"`, or a table that says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig(EndpointTable);

/// The table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EndpointTable {
    /// IP address and port.
    address: String,
    /// Its part of the requests, compared with the others, where the strategy weighs. 1 to 1000.
    #[serde(default = "default_weight")]
    weight: u32,
    /// Where it is.
    zone: Option<String>,
}

fn default_weight() -> u32 {
    1
}

impl EndpointConfig {
    /// An endpoint of weight 1 in no zone.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self(EndpointTable { address: address.into(), weight: default_weight(), zone: None })
    }
}

/// By hand, so that an error is about the form that was meant and not about both.
impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointVisitor)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = EndpointConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address with its port, such as \"10.0.0.7:8081\", or a table such as \
             { address = \"10.0.0.7:8081\", weight = 3, zone = \"a\" }",
        )
    }

    fn visit_str<E: Error>(self, address: &str) -> Result<EndpointConfig, E> {
        Ok(EndpointConfig::at(address))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<EndpointConfig, M::Error> {
        EndpointTable::deserialize(MapAccessDeserializer::new(map)).map(EndpointConfig)
    }
}

impl JsonSchema for EndpointConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<EndpointTable>();
        json_schema!({ "anyOf": [{ "type": "string", "format": "socket-address" }, table] })
    }
}

/// An endpoint as compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its weight, from 1.
    pub weight: u32,
    /// Where it is.
    pub zone: Option<Box<str>>,
}

impl From<SocketAddr> for EndpointSpec {
    /// An endpoint of weight 1 in no zone.
    fn from(address: SocketAddr) -> Self {
        Self { address, weight: default_weight(), zone: None }
    }
}

/// Compiles the list written at `path`.
///
/// # Errors
/// An empty list, and every entry that is no address, has no port, is there twice, or has a weight or zone that cannot be.
pub fn compile_endpoints(
    written: &[EndpointConfig],
    path: &str,
    positions: &Positions,
) -> Result<Vec<EndpointSpec>, ConfigErrors> {
    let mut errors = ConfigErrors::new();
    if written.is_empty() {
        let remedy = "write at least one, as in [\"10.0.0.1:9001\"]";
        errors.push(positions.error(path, "no endpoint, so nobody answers", Some(remedy.to_owned())));
    }
    let mut compiled: Vec<EndpointSpec> = Vec::with_capacity(written.len());
    for (index, EndpointConfig(table)) in written.iter().enumerate() {
        let place = |key: &str| format!("{path}[{index}].{key}");
        let mut refuse = |key: &str, message: String, remedy: &str| {
            errors.push(positions.error(&place(key), message, Some(remedy.to_owned())));
        };
        if !(1..=MAX_WEIGHT).contains(&table.weight) {
            let message = format!("the weight {} is not 1 to {MAX_WEIGHT}", table.weight);
            refuse("weight", message, "to send an endpoint nothing, take it out of the list");
        }
        if table.zone.as_deref().is_some_and(|zone| !is_zone(zone)) {
            let message = format!("{:?} is not a zone", table.zone.as_deref().unwrap_or_default());
            refuse("zone", message, ZONE_FORM);
        }
        let text = &table.address;
        match text.parse::<SocketAddr>() {
            Ok(address) if compiled.iter().any(|other| other.address == address) => {
                refuse("address", format!("the endpoint {text:?} twice"), "remove one");
            }
            Ok(address) if address.port() == 0 => {
                refuse("address", format!("{text:?} has no port"), "write the port it listens on");
            }
            Ok(address) => {
                let zone = table.zone.as_deref().map(Into::into);
                compiled.push(EndpointSpec { address, weight: table.weight, zone });
            }
            Err(_) => {
                let remedy = "write an IP address and a port, as in \"10.0.0.1:9001\" or \"[::1]:9001\"";
                refuse("address", format!("{text:?} is not an address"), remedy);
            }
        }
    }
    errors.into_result(compiled)
}

/// What a zone's name looks like.
pub const ZONE_FORM: &str = "use 1 to 64 letters, digits, \".\", \"_\" and \"-\"";

/// Whether a name is fit for a zone.
#[must_use]
pub fn is_zone(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_ZONE_LENGTH).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, parse};

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Config {
        nodes: Vec<EndpointConfig>,
    }

    fn read(text: &str) -> Result<Vec<EndpointSpec>, String> {
        let file = SourceFile { path: "edge.toml".into(), text: text.to_owned() };
        let document = parse::<Config>(&file).map_err(|errors| errors.to_string())?;
        compile_endpoints(&document.value.nodes, "nodes", &document.positions).map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_entry_is_an_address_or_a_table() {
        let text = "nodes = [\"10.0.0.1:1\", { address = \"[::1]:2\", weight = 3, zone = \"a-1\" }, { address = \"10.0.0.1:3\" }]";
        let expected = [
            EndpointSpec { address: "10.0.0.1:1".parse().unwrap(), weight: 1, zone: None },
            EndpointSpec { address: "[::1]:2".parse().unwrap(), weight: 3, zone: Some("a-1".into()) },
            EndpointSpec { address: "10.0.0.1:3".parse().unwrap(), weight: 1, zone: None },
        ];
        assert_eq!(read(text).unwrap(), expected);
        let tables = "[[nodes]]\naddress = \"10.0.0.1:1\"\nweight = 2\n[[nodes]]\naddress = \"10.0.0.2:1\"\n";
        assert_eq!(read(tables).unwrap().len(), 2);
    }

    #[test]
    fn says_everything_that_is_wrong_in_the_words_of_the_form_that_was_meant() {
        let text = "nodes = [\n\
            5,\n\
            { adress = \"10.0.0.1:1\" },\n\
            { address = \"10.0.0.1:1\", wieght = 3 },\n\
            { address = \"10.0.0.1:1\", weight = \"3\" },\n\
            ]";
        assert_eq!(
            read(text).unwrap_err(),
            "edge.toml:2:1: \"nodes[0]\" must be an address with its port, such as \"10.0.0.7:8081\", or a table such as \
             { address = \"10.0.0.7:8081\", weight = 3, zone = \"a\" }, not 5\n\
             edge.toml:3:1: missing key \"address\" in [nodes]\n\
             edge.toml:3:3: unknown key \"adress\" in [nodes] (did you mean \"address\"?)\n\
             edge.toml:4:27: unknown key \"wieght\" in [nodes] (did you mean \"weight\"?)\n\
             edge.toml:5:36: \"nodes[3].weight\" must be a whole number from 0 to 4294967295, not \"3\""
        );
        let text = "nodes = [\n\
            \"localhost:1\",\n\
            { address = \"10.0.0.1\", weight = 0 },\n\
            { address = \"10.0.0.1:1\", zone = \"a b\" },\n\
            \"10.0.0.1:1\",\n\
            \"10.0.0.1:0\",\n\
            ]";
        assert_eq!(
            read(text).unwrap_err(),
            "edge.toml:2:1: \"localhost:1\" is not an address (write an IP address and a port, as in \"10.0.0.1:9001\" or \"[::1]:9001\")\n\
             edge.toml:3:13: \"10.0.0.1\" is not an address (write an IP address and a port, as in \"10.0.0.1:9001\" or \"[::1]:9001\")\n\
             edge.toml:3:34: the weight 0 is not 1 to 1000 (to send an endpoint nothing, take it out of the list)\n\
             edge.toml:4:34: \"a b\" is not a zone (use 1 to 64 letters, digits, \".\", \"_\" and \"-\")\n\
             edge.toml:5:1: the endpoint \"10.0.0.1:1\" twice (remove one)\n\
             edge.toml:6:1: \"10.0.0.1:0\" has no port (write the port it listens on)"
        );
        assert!(read("nodes = []").unwrap_err().contains("no endpoint, so nobody answers"));
    }

    #[test]
    fn the_schema_takes_both_forms() {
        let schema = schemars::schema_for!(Config).to_value();
        let forms = &schema["properties"]["nodes"]["items"]["anyOf"];
        assert_eq!(forms[0]["type"], "string");
        let table = forms[1]["$ref"].as_str().and_then(|reference| schema.pointer(reference.trim_start_matches('#')));
        assert_eq!(table.unwrap()["required"], serde_json::json!(["address"]));
    }
}
