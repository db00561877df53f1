//! Generated pages equal what the code says. `UPDATE=1 cargo test -p gatehouse-tests --test it documents` rewrites them.

use std::fs;
use std::process::Command;

use anyhow::ensure;
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
        "docs/{name} is not what the code says (from line {}): run `UPDATE=1 cargo test -p gatehouse-tests --test it documents`",
        first.unwrap_or(committed.lines().count().min(generated.lines().count())) + 1
    );
    Ok(())
}

#[test]
fn the_configuration_reference_is_what_the_code_says() -> Passed {
    let (edge, business) = (reference("traffic-gateway", "config")?, reference("business-gateway", "config")?);
    compare("CONFIGURATION.md", &format!("{edge}\n\n{business}"))?;
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
    compare("METRICS.md", &format!("{edge}\n\n{business}"))?;
    Ok(())
}
