//! Rules of the architecture, checked over `cargo metadata` and the manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use gatehouse_tests::binaries;
use serde_json::Value;

use crate::Passed;

/// The dependency graph of the workspace, without dependencies that only tests have.
struct Graph {
    members: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn read() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &host()?])
            .current_dir(binaries::repository())
            .output()?;
        anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
        let mut graph = Self { members: BTreeMap::new(), names: BTreeMap::new(), edges: BTreeMap::new() };
        for package in metadata["packages"].as_array().context("packages")? {
            graph.names.insert(text(&package["id"])?, text(&package["name"])?);
        }
        for id in metadata["workspace_members"].as_array().context("members")? {
            graph.members.insert(graph.names[&text(id)?].clone(), text(id)?);
        }
        for node in metadata["resolve"]["nodes"].as_array().context("nodes")? {
            let mut dependencies = Vec::new();
            for dependency in node["deps"].as_array().context("deps")? {
                let kinds = dependency["dep_kinds"].as_array().context("kinds")?;
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    dependencies.push(text(&dependency["pkg"])?);
                }
            }
            graph.edges.insert(text(&node["id"])?, dependencies);
        }
        Ok(graph)
    }

    /// Everything the member `name` is built from.
    fn closure(&self, name: &str) -> BTreeSet<&str> {
        let mut open = vec![self.members[name].as_str()];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.edges[id].iter().map(String::as_str));
            }
        }
        seen.remove(self.members[name].as_str());
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

/// The platform built for; what other platforms need was never downloaded.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let said = String::from_utf8(output.stdout)?;
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc names no host")
}

/// Whether a package is of a certain family.
type Rule = fn(&str) -> bool;

fn is_pingora(name: &str) -> bool {
    name == "pingora" || name.starts_with("pingora-")
}

fn is_axum(name: &str) -> bool {
    name == "axum" || name.starts_with("axum-")
}

fn is_redis(name: &str) -> bool {
    name == "redis" || name.starts_with("redis-") || name == "fred"
}

fn is_tokio(name: &str) -> bool {
    name == "tokio" || name.starts_with("tokio-")
}

#[test]
fn nobody_knows_what_it_must_not_know() -> Passed {
    let graph = Graph::read()?;
    let rules: [(&str, &[Rule]); 5] = [
        ("gatehouse-shared", &[is_pingora, is_axum, is_redis]),
        ("gatehouse-waf", &[is_pingora, is_axum, is_redis, is_tokio]),
        ("gatehouse-store", &[is_pingora, is_axum]),
        ("traffic-gateway", &[is_axum]),
        ("business-gateway", &[is_pingora]),
    ];
    for (member, forbidden) in rules {
        for dependency in graph.closure(member) {
            assert!(!forbidden.iter().any(|is| is(dependency)), "{member} must not know {dependency}");
        }
    }
    for (member, id) in &graph.members {
        for dependency in &graph.edges[id] {
            let dependency = &graph.names[dependency];
            assert!(
                member == "gatehouse-store" || !is_redis(dependency),
                "only gatehouse-store may know {dependency}, not {member}"
            );
        }
    }
    Ok(())
}

#[test]
fn versions_stand_in_one_table() -> Passed {
    for manifest in manifests()? {
        let text = fs::read_to_string(&manifest)?;
        let manifest_table: toml::Table = text.parse()?;
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest_table.get(section).and_then(toml::Value::as_table) else { continue };
            for (name, dependency) in dependencies {
                let is_inherited = dependency.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(is_inherited, "{}: {name} does not say `workspace = true`", manifest.display());
            }
        }
        let lints = manifest_table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "{}: the lints of the workspace are not inherited", manifest.display());
    }
    Ok(())
}

#[test]
fn no_source_file_is_longer_than_600_lines() -> Passed {
    let root = binaries::repository();
    for directory in ["traffic-gateway", "business-gateway", "shared", "tests"] {
        for file in rust_files(&root.join(directory))? {
            let lines = fs::read_to_string(&file)?.lines().count();
            assert!(lines <= 600, "{} has {lines} lines", file.display());
        }
    }
    Ok(())
}

#[test]
fn no_source_file_is_empty() -> Passed {
    let root = binaries::repository();
    for directory in ["traffic-gateway", "business-gateway", "shared", "tests"] {
        for file in rust_files(&root.join(directory))? {
            assert!(!fs::read_to_string(&file)?.trim().is_empty(), "{} holds nothing", file.display());
        }
    }
    Ok(())
}

fn manifests() -> anyhow::Result<Vec<PathBuf>> {
    let root = binaries::repository();
    let workspace: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let members = workspace["workspace"]["members"].as_array().context("members")?;
    Ok(members.iter().filter_map(toml::Value::as_str).map(|member| root.join(member).join("Cargo.toml")).collect())
}

fn rust_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}
