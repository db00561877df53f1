//! Configuration: nothing wrong is ever loaded, and no request sees two generations.

use std::fs;
use std::path::Path;
use std::process::Command;

use gatehouse_tests::binaries;
use gatehouse_tests::load::Load;
use gatehouse_tests::site::Site;
use gatehouse_tests::site::admin::Admin;
use gatehouse_tests::site::node::Node;
use gatehouse_tests::until::{SOON, until};

use crate::Passed;

/// How many reloads have failed.
pub(crate) async fn failures(admin: &Admin) -> anyhow::Result<u64> {
    let policy = admin.policy().await?;
    Ok(policy["reload"]["failed_total"].as_u64().unwrap_or(0))
}

/// Waits until a reload has failed, and returns what `/policy` says about it.
pub(crate) async fn wait_for_failure(node: &Node) -> anyhow::Result<String> {
    let admin = node.admin()?;
    until(format!("a refused reload of {}", node.name), SOON, async || {
        let failure = admin.policy().await.ok()?["last_failure"].clone();
        (!failure.is_null()).then(|| failure.to_string())
    })
    .await
}

#[tokio::test]
async fn a_typo_in_any_file_is_reported_with_its_line_and_never_loaded() -> Passed {
    let site = Site::plan().start().await?;
    let cases = [
        (&site.edges[0], "edge.toml", "[accept]\nhaed_timeout = \"3s\"\n", "haed_timeout"),
        (&site.edges[0], "edge.toml", "[accept]\nhead_timeout = \"3 parsecs\"\n", "3 parsecs"),
        (&site.business[0], "business.toml", "[accept]\nkeepalvie = \"75s\"\n", "keepalvie"),
        (
            &site.business[0],
            "catalog.toml",
            "[[api]]\nname = \"x\"\naccess = \"open\"\nservcie = \"sample\"\npath = \"/x\"\n",
            "servcie",
        ),
        (
            &site.business[0],
            "catalog.toml",
            "[[api]]\nname = \"x\"\naccess = \"open\"\nservice = \"nowhere\"\nmethods = [\"GET\"]\npath = \"/x\"\n",
            "nowhere",
        ),
    ];
    for (node, file, typo, word) in cases {
        let admin = node.admin()?;
        let (generation, failed) = (admin.generation().await?, failures(&admin).await?);
        let good = fs::read_to_string(node.config().join(file))?;
        let text = format!("{}\n{typo}", good.trim_end());
        let at = text.lines().position(|line| line.contains(word)).unwrap() + 1;
        node.write(file, &text)?;
        let refused = until(format!("{file} to be refused"), SOON, async || {
            (failures(&admin).await.ok()? > failed).then_some(())
        });
        refused.await?;
        let failure = admin.policy().await?["last_failure"].to_string();
        assert!(failure.contains(&format!("{file}:{at}:")) && failure.contains(word), "line {at}: {failure}");
        assert_eq!(admin.generation().await?, generation);
        let check = node.command(&["check"])?;
        let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
        assert_eq!(check.status.code(), Some(64), "{said}");
        assert!(said.contains(&format!("{file}:{at}:")), "line {at}: {said}");
        assert_eq!(site.target().get("/products").await?.status, 200, "the running generation stays");
        node.write(file, &good)?;
        let check = node.command(&["check"])?;
        assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
    }
    Ok(())
}

#[tokio::test]
async fn every_error_is_reported_not_only_the_first() -> Passed {
    let site = Site::plan().start().await?;
    let edge = &site.edges[0];
    let good = fs::read_to_string(edge.config().join("edge.toml"))?;
    let typos = "[accept]\nhaed_timeout = \"1s\"\nfields_max = \"many\"\nhead_max = \"32 apples\"\n";
    edge.write("edge.toml", &format!("{good}\n{typos}"))?;
    let check = edge.command(&["check"])?;
    let said = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(64), "{said}");
    for word in ["haed_timeout", "fields_max", "32 apples"] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_gate_does_not_start_with_an_invalid_configuration() -> Passed {
    let directory = tempfile::tempdir()?;
    for (program, file) in [("traffic-gateway", "edge.toml"), ("business-gateway", "business.toml")] {
        fs::write(directory.path().join(file), "[process]\nnoed = \"x\"\n")?;
        let output = Command::new(binaries::find(program)?).args(["run", "--config"]).arg(directory.path()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{program} started: {said}");
        assert!(said.contains(&format!("{file}:2:")), "{program}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_sees_two_generations() -> Passed {
    let site = Site::plan().business(2).services(2).start().await?;
    let edge = &site.edges[0];
    let nodes = [site.business[0].address()?.to_string(), site.business[1].address()?.to_string()];
    // One generation knows only the red cluster with the first node, the next only the blue one with the second.
    let text = |number: usize| -> anyhow::Result<String> {
        let mut settings = edge.settings.clone();
        let (color, node) = if number.is_multiple_of(2) { ("red", &nodes[0]) } else { ("blue", &nodes[1]) };
        settings.overlay(&format!(
            "[[route]]\npath_prefix = \"/\"\ncluster = \"{color}\"\n[[cluster]]\nname = \"{color}\"\nnodes = [\"{node}\"]\n"
        ))?;
        Ok(settings.to_string())
    };
    edge.rewrite("edge.toml", &text(0)?).await?;
    let load = Load::new(site.target(), 16, 400, "/products").start();
    for number in 1..=20 {
        let before = edge.admin()?.generation().await?;
        edge.write("edge.toml", &text(number)?)?;
        edge.poke()?;
        edge.wait_for_generation(before + 1).await?;
    }
    let report = load.stop().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    let lines =
        until("all lines", SOON, async || edge.access_log().ok().filter(|lines| lines.len() >= report.sent.len()))
            .await?;
    let mut seen = [0, 0];
    for line in &lines {
        let pair = (line["cluster"].as_str().unwrap_or_default(), line["upstream"].as_str().unwrap_or_default());
        match pair {
            ("red", node) if node == nodes[0] => seen[0] += 1,
            ("blue", node) if node == nodes[1] => seen[1] += 1,
            _ => panic!("two generations in one request: {line}"),
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_sees_two_catalogs() -> Passed {
    let site = Site::plan().services(2).start().await?;
    let node = &site.business[0];
    let catalog = |number: usize| {
        let color = if number.is_multiple_of(2) { "red" } else { "blue" };
        let address = site.services[number % 2].address;
        format!(
            "[[service]]\nname = \"{color}\"\nendpoints = [\"{address}\"]\n\
             [[api]]\nname = \"{color}.all\"\naccess = \"open\"\nservice = \"{color}\"\nmethods = [\"GET\"]\npath = \"/{{*rest}}\"\n"
        )
    };
    node.rewrite("catalog.toml", &catalog(0)).await?;
    let load = Load::new(site.target(), 16, 400, "/products").start();
    for number in 1..=20 {
        let before = node.admin()?.generation().await?;
        node.write("catalog.toml", &catalog(number))?;
        node.poke()?;
        node.wait_for_generation(before + 1).await?;
    }
    let report = load.stop().await;
    assert_eq!(report.failed().count(), 0, "{}", report.failures());
    assert_eq!(report.by_service().len(), 2, "{:?}", report.by_service());
    let lines =
        until("all lines", SOON, async || node.access_log().ok().filter(|lines| lines.len() >= report.sent.len()))
            .await?;
    for line in &lines {
        let service = line["service"].as_str().unwrap_or_default();
        assert_eq!(line["api"], format!("{service}.all"), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_change_that_needs_a_restart_is_not_taken_and_said() -> Passed {
    let mut site = Site::plan().start().await?;
    let before = site.edges[0].admin()?.policy().await?["listeners"].clone();
    site.edge_mut()?.reconfigure("[process]\nthreads = 1\n[accept]\nhead_timeout = \"9s\"\n").await?;
    assert_eq!(site.edges[0].admin()?.policy().await?["listeners"], before);
    until("a warning in the log", SOON, async || {
        site.edges[0].process.log().contains("takes effect with the next start").then_some(())
    })
    .await?;
    Ok(())
}

#[test]
fn the_shipped_configuration_is_valid() -> Passed {
    for (program, directory) in [
        ("traffic-gateway", "deploy/config/edge"),
        ("business-gateway", "deploy/config/business"),
        ("traffic-gateway", "deploy/local/edge"),
        ("business-gateway", "deploy/local/business"),
    ] {
        let shipped = binaries::repository().join(directory);
        let copy = tempfile::tempdir()?;
        copy_files(&shipped, copy.path())?;
        if program == "traffic-gateway" {
            // `make run` copies the rules as well.
            let rules = copy.path().join("waf");
            fs::create_dir(&rules)?;
            copy_files(&binaries::repository().join("deploy/config/edge/waf"), &rules)?;
        }
        // Keys and certificates are never shipped: an operator makes them, and so does `make run`.
        assert!(Command::new(binaries::find("local-certificate")?).arg(copy.path()).status()?.success());
        fs::write(copy.path().join("hop.key"), "0123456789abcdef0123456789abcdef0123456789abcdef\n")?;
        let output = Command::new(binaries::find(program)?).args(["check", "--config"]).arg(copy.path()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{directory}: {said}");
    }
    Ok(())
}

fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).map_err(|error| anyhow::anyhow!("{}: {error}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
