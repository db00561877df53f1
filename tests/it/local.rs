//! `make run`: what a newcomer types first.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context as _;
use gatehouse_tests::process::{Process, Signal};
use gatehouse_tests::until::{SOON, until};
use gatehouse_tests::{binaries, turn};

use crate::Passed;

/// The variables that choose ports.
const PORTS: [&str; 7] = [
    "GATEHOUSE_HTTP_PORT",
    "GATEHOUSE_HTTPS_PORT",
    "GATEHOUSE_EDGE_ADMIN_PORT",
    "GATEHOUSE_BUSINESS_PORT",
    "GATEHOUSE_BUSINESS_ADMIN_PORT",
    "GATEHOUSE_SHOP_PORT",
    "GATEHOUSE_FAULTY_PORT",
];

/// One of the commands printed.
struct Printed {
    description: String,
    command: String,
}

/// The script under way: ended in good order whatever happens, or its children would stay.
struct Script(Process);

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.0.signal(Signal::TERM));
        for _ in 0..200 {
            if self.0.exit_status().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// The environment under which the script runs on free ports, with the binaries under test, in `directory`.
fn environment(directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let bin = binaries::find("traffic-gateway")?.parent().context("a directory")?.to_string_lossy().into_owned();
    let mut variables: Vec<_> = PORTS.iter().map(|port| ((*port).to_owned(), "0".to_owned())).collect();
    variables.push(("GATEHOUSE_LOCAL_DIR".into(), directory.to_string_lossy().into_owned()));
    variables.push((binaries::DIRECTORY_VARIABLE.into(), bin));
    Ok(variables)
}

fn run_script() -> PathBuf {
    binaries::repository().join("deploy/local/run")
}

fn printed(output: &str) -> Vec<Printed> {
    let lines: Vec<&str> = output.lines().collect();
    let is_number = |text: &str| text.trim().parse::<u32>().is_ok();
    lines
        .windows(2)
        .filter_map(|pair| {
            let (number, description) = pair[0].split_once(". ")?;
            let command = pair[1].strip_prefix("     ")?;
            is_number(number).then(|| Printed { description: description.into(), command: command.into() })
        })
        .collect()
}

/// The words in backquotes.
fn promised(description: &str) -> Vec<&str> {
    description.split('`').skip(1).step_by(2).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn every_printed_command_does_what_it_says_and_ctrl_c_stops_everything() -> Passed {
    let _turn = turn::shared().await;
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("script.log");
    // The second start finds what the first one made.
    for _start in 0..2 {
        drop(fs::remove_file(&log));
        let local = directory.path().join("local");
        // Where these tests run in the background, Ctrl-C is ignored, and no script can change that.
        let (env, script) = (Path::new("env"), run_script());
        let arguments = [OsStr::new("--default-signal=INT"), script.as_os_str()];
        let mut script = Script(Process::start_with("make run", env, &arguments, &environment(&local)?, &log)?);
        // The script itself waits for each of its four processes as long as that.
        until("the script to be ready", SOON * 4, async || {
            if let Err(error) = script.0.must_run() {
                return Some(Err(error));
            }
            script.0.log().contains("Ctrl-C stops everything.").then_some(Ok(()))
        })
        .await??;
        let commands = printed(&script.0.log());
        assert!((6..=8).contains(&commands.len()), "{}", script.0.log());
        for Printed { description, command } in commands {
            let output = Command::new("bash").args(["-c", &command]).current_dir(binaries::repository()).output()?;
            let said = said(&output);
            let words = promised(&description);
            assert!(!words.is_empty(), "{description} promises nothing");
            for word in words {
                assert!(said.contains(word), "{description}\n{command}\nsaid:\n{said}");
            }
        }
        let children = children_of(script.0.id())?;
        assert_eq!(children.len(), 4, "two services and two gates");
        script.0.signal(Signal::INT)?;
        script.0.wait_for_exit(SOON).await?;
        for child in children {
            assert!(!Path::new(&format!("/proc/{child}")).exists(), "process {child} is still there");
        }
    }
    Ok(())
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() -> Passed {
    let directory = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let output =
        Command::new(run_script()).envs(environment(directory.path())?).env("GATEHOUSE_HTTPS_PORT", &port).output()?;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("port {port} ")) && said.contains("GATEHOUSE_HTTPS_PORT="), "{said}");
    Ok(())
}

/// A machine that has only the tools named, and an `apt-get` that notes how it was called.
fn bare_machine(directory: &Path, tools: &[&str]) -> anyhow::Result<()> {
    for tool in ["bash", "env", "dirname"].iter().chain(tools) {
        let found = ["/usr/bin", "/bin"].iter().map(|place| Path::new(place).join(tool)).find(|path| path.exists());
        symlink(found.with_context(|| format!("no {tool}"))?, directory.join(tool))?;
    }
    script(directory, "id", "echo 1000")?;
    script(directory, "sudo", "echo sudo \"$@\" >> \"$CALLS\"; exec \"$@\"")?;
    script(directory, "apt-get", "echo apt-get \"$@\" >> \"$CALLS\"")?;
    Ok(())
}

fn script(directory: &Path, name: &str, body: &str) -> anyhow::Result<()> {
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/bash\n{body}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn install(machine: &Path) -> anyhow::Result<(Output, String)> {
    let calls = machine.join("calls");
    let output = Command::new("/bin/bash")
        .arg(binaries::repository().join("deploy/local/install"))
        .env_clear()
        .envs([("PATH", machine), ("HOME", machine), ("CALLS", &calls)])
        .output()?;
    Ok((output, fs::read_to_string(&calls).unwrap_or_default()))
}

#[test]
fn what_is_missing_is_installed_by_sudo_and_named() -> Passed {
    let machine = tempfile::tempdir()?;
    bare_machine(machine.path(), &[])?;
    for present in ["cc", "c++", "make", "curl", "git", "cargo"] {
        script(machine.path(), present, "true")?;
    }
    let (output, calls) = install(machine.path())?;
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("installing cmake pkg-config"), "{said}");
    assert!(calls.contains("sudo") && calls.contains("apt-get update"), "{calls}");
    assert!(calls.contains("--no-install-recommends cmake pkg-config"), "{calls}");
    Ok(())
}

#[test]
fn without_cargo_the_way_to_get_it_is_said_and_with_everything_nothing_happens() -> Passed {
    let machine = tempfile::tempdir()?;
    bare_machine(machine.path(), &[])?;
    for present in ["cmake", "cc", "c++", "make", "pkg-config", "curl", "git", "redis-server", "python3"] {
        script(machine.path(), present, "true")?;
    }
    let (output, calls) = install(machine.path())?;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("https://sh.rustup.rs"), "{text}");
    assert_eq!(calls, "", "nothing was missing but cargo");
    script(machine.path(), "cargo", "true")?;
    let (output, calls) = install(machine.path())?;
    assert!(output.status.success());
    assert_eq!((said(&output).as_str(), calls.as_str()), ("", ""));
    Ok(())
}

fn children_of(pid: u32) -> anyhow::Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect())
}
