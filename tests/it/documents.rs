//! Generated pages equal what the code says. `make docs` rewrites them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use gatehouse_tests::binaries;

use crate::Passed;

fn reference(program: &str, page: &str) -> anyhow::Result<String> {
    let output = Command::new(binaries::find(program)?).args(["reference", page]).output()?;
    ensure!(output.status.success(), "{program} reference {page}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn compare(name: &str, generated: &str) -> anyhow::Result<()> {
    let path = binaries::repository().join("docs").join(name);
    let generated = format!("{}\n", generated.trim_end());
    if std::env::var_os("UPDATE").is_some() {
        return Ok(fs::write(path, generated)?);
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let first = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
    ensure!(
        committed == generated,
        "docs/{name} is not what the code says (from line {}): run `make docs`",
        first.unwrap_or(committed.lines().count().min(generated.lines().count())) + 1
    );
    Ok(())
}

/// The same text with every heading a level further down.
fn below(text: &str) -> String {
    let lines = text.lines().map(|line| if line.starts_with('#') { format!("#{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_configuration_reference_is_what_the_code_says() -> Passed {
    let (edge, business) = (reference("traffic-gateway", "config")?, reference("business-gateway", "config")?);
    let page = format!(
        "# Configuration\n\nGenerated from the code; do not edit. `traffic-gateway check` and `business-gateway check` tell what is wrong \
         with a file and where; `schema` prints a JSON schema for editors.\n\n\
         ## Outer gate: `edge.toml`\n\n{}\n\n## Inner gate: `business.toml` and `catalog.toml`\n\n{}",
        below(&edge),
        below(&business)
    );
    compare("CONFIGURATION.md", &page)?;
    Ok(())
}

#[test]
fn the_error_reference_is_what_the_code_says() -> Passed {
    let (edge, business) = (reference("traffic-gateway", "errors")?, reference("business-gateway", "errors")?);
    assert_eq!(edge, business, "both gates know the same catalogue of errors");
    compare("ERRORS.md", &edge)?;
    Ok(())
}

#[test]
fn the_metrics_reference_is_what_the_code_says() -> Passed {
    let (edge, business) = (reference("traffic-gateway", "metrics")?, reference("business-gateway", "metrics")?);
    let page = format!(
        "# Metrics\n\nGenerated from the code; do not edit. Both gates answer `/metrics` on their admin listener in the text format of \
         Prometheus, to a token of the role `read`.\n\n{edge}\n\n{business}"
    );
    compare("METRICS.md", &page)?;
    Ok(())
}

#[test]
fn the_reference_of_rules_is_what_the_code_says() -> Passed {
    Ok(compare("RULES_REFERENCE.md", &reference("traffic-gateway", "rules")?)?)
}

#[test]
fn every_fuzz_target_is_documented_and_built() -> Passed {
    let root = binaries::repository();
    let fuzz = root.join("tests/fuzz");
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(fuzz.join("fuzz_targets"))? {
        files.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    let page = fs::read_to_string(root.join("docs/TESTING.md"))?;
    let (_, table) = page.split_once("## Fuzz targets").context("no section on fuzz targets")?;
    let named = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    assert_eq!(table.lines().filter_map(named).collect::<BTreeSet<_>>(), files, "docs/TESTING.md");

    let manifest: toml::Table = fs::read_to_string(fuzz.join("Cargo.toml"))?.parse()?;
    let targets = manifest["bin"].as_array().context("no targets")?;
    let built = targets.iter().filter_map(|target| target["name"].as_str().map(str::to_owned));
    assert_eq!(built.collect::<BTreeSet<_>>(), files, "tests/fuzz/Cargo.toml");
    Ok(())
}
