//! The real binary: a node with its admin API, and the commands that call it.

use std::process::{Child, Command, Output, Stdio};

use gatehouse_shared::process::Ports;
use serde_json::Value;

use super::*;

/// A running node.
struct Node {
    dir: tempfile::TempDir,
    child: Child,
}

impl Node {
    async fn start(catalog: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state").display().to_string();
        std::fs::write(dir.path().join("hop.key"), "0123456789abcdef0123456789abcdef").unwrap();
        std::fs::write(dir.path().join("catalog.toml"), catalog).unwrap();
        let text = format!(
            "[process]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nstate_dir = \"{state}\"\n\
             [hop]\nkeys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n[access_log]\nsink = \"off\"\n{settings}"
        );
        std::fs::write(dir.path().join("business.toml"), text).unwrap();
        let child = spawn(dir.path());
        let node = Self { dir, child };
        node.ready().await;
        node
    }

    async fn ready(&self) {
        let ready = async || Ports::read(&self.state()).ok().filter(|ports| ports.pid == self.child.id());
        wait("ports", ready).await;
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.dir.path());
        self.ready().await;
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.arg("app").args(arguments).arg("--config").arg(self.dir.path()).output().unwrap()
    }

    fn app(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "app {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "app {arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn show(&self, key: &str) -> Value {
        serde_json::from_str(&self.app(&["show", key])).unwrap()
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.state().join("audit.jsonl")).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(dir: &Path) -> Child {
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

const CATALOG: &str = "[[app]]\nkey = \"written\"\n";

/// The value of a line `name<TAB>value`.
fn value(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

#[tokio::test]
async fn an_application_is_made_changed_and_removed_by_commands() {
    let mut node = Node::start(CATALOG, "").await;
    let made = node.app(&["create", "--name", "Shop", "--packages", "orders,stock", "--networks", "192.0.2.0/24"]);
    let (key, secret) = (value(&made, "key"), value(&made, "secret"));
    assert!(key.starts_with("ak_") && secret.len() == 32, "{made}");
    let shown = node.show(&key);
    assert_eq!((&shown["packages"], &shown["version"]), (&serde_json::json!(["orders", "stock"]), &1.into()));
    assert!(!shown.to_string().contains(&secret), "{shown}");

    assert!(node.app(&["disable", &key]).contains("\tdisabled\t2\t"));
    assert!(node.refused(&["enable", &key, "--if-version", "1"]).contains("admin_revision_changed"));
    assert!(node.app(&["enable", &key, "--if-version", "2"]).contains("\tenabled\t3\t"));
    node.app(&["update", &key, "--plan", "gold", "--packages", "", "--expires", "2099-01-01T00:00:00Z"]);
    node.app(&["update", &key, "--subject", "CN=shop", "--schemes", "mtls,signature"]);
    let shown = node.show(&key);
    assert_eq!((&shown["plan"], &shown["packages"]), (&"gold".into(), &serde_json::json!([])));
    assert_eq!((&shown["expires"], &shown["subjects"][0]), (&"2099-01-01T00:00:00.000Z".into(), &"CN=shop".into()));

    let second = value(&node.app(&["rotate-secret", &key, "--keep-old-for", "24h"]), "secret");
    assert_ne!(second, secret);
    assert_eq!(node.show(&key)["secrets"].as_array().unwrap().len(), 2);
    let api_key = node.app(&["api-key", "add", &key]);
    assert!(value(&api_key, "api-key").starts_with(&format!("{key}.")));
    node.app(&["api-key", "revoke", &key, &value(&api_key, "id")]);
    assert!(node.refused(&["api-key", "revoke", &key, "none"]).contains("admin_object_missing"));
    let bytes = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    node.app(&["public-key", "add", &key, "k1", bytes]);
    assert!(node.refused(&["public-key", "add", &key, "k2", "AAAA"]).contains("32 bytes"));
    node.app(&["public-key", "remove", &key, "k1"]);
    let session = node.app(&["session", "add", &key, "--user", "ann", "--scopes", "read", "--for", "30d"]);
    node.app(&["session", "revoke", &key, &value(&session, "id")]);

    node.restart().await;
    assert_eq!(node.show(&key)["plan"], "gold", "kept over a restart");
    let list = node.app(&["list"]);
    assert!(list.contains("written\tenabled\t0\t-\tfile") && list.contains("\tstore\tShop"), "{list}");
    assert!(node.app(&["delete", &key]).contains("removed"));
    assert!(node.refused(&["show", &key]).contains("admin_object_missing"));

    let audit = node.audit();
    for action in ["create", "disable", "enable", "update", "rotate_secret", "api_key.add", "session.revoke", "delete"]
    {
        assert!(audit.contains(&format!("\"action\":\"app.{action}\"")), "{action}\n{audit}");
    }
    for clear in [&secret, &second, &value(&api_key, "api-key"), &value(&session, "token")] {
        assert!(!audit.contains(clear.as_str()), "a secret in the audit log");
        let files = std::fs::read_dir(node.state().join("apps/app")).unwrap();
        for file in files {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains(clear.as_str()), "a secret in a file");
        }
    }
}

#[tokio::test]
async fn what_stands_in_a_file_is_read_only_and_roles_are_kept_apart() {
    let node = Node::start(CATALOG, "").await;
    assert!(node.refused(&["disable", "written"]).contains("admin_object_read_only"));
    assert!(node.refused(&["create", "--key", "written"]).contains("admin_object_read_only"));
    assert!(node.refused(&["create", "--key", "a.b"]).contains("not an app key"));
    assert!(node.refused(&["create", "--key", "ak_guess"]).contains("are made here"));
    node.app(&["create", "--key", "shop"]);
    assert!(node.refused(&["create", "--key", "shop"]).contains("admin_object_exists"));
    let operate = node.state().join("admin-token-operate").display().to_string();
    let with = |arguments: &[&str]| node.refused(&[arguments, &["--token-file", &operate]].concat());
    assert!(with(&["rotate-secret", "shop"]).contains("admin_role_insufficient"));
    assert!(with(&["create"]).contains("admin_role_insufficient"));
    assert!(with(&["update", "shop", "--subject", "CN=shop"]).contains("admin_role_insufficient"));
    node.app(&["update", "shop", "--plan", "gold", "--token-file", &operate]);
    let read = node.state().join("admin-token-read").display().to_string();
    assert!(node.refused(&["disable", "shop", "--token-file", &read]).contains("admin_role_insufficient"));
    assert_eq!(node.show("shop")["version"], 2);
}

#[tokio::test]
async fn a_fleet_without_sealing_keys_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(dir.path()).await;
    let node = Node::start(CATALOG, &redis.toml()).await;
    assert!(node.refused(&["create"]).contains("sealing_keys"));
    assert!(node.app(&["list"]).starts_with("written\t"));
}

#[tokio::test]
async fn two_nodes_of_a_fleet_serve_the_same_applications() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(&dir.path().join("redis")).await;
    let settings = redis.toml() + "connect_timeout = \"10s\"\ncommand_timeout = \"10s\"\n" + &*keys(dir.path(), "");
    let (one, other) = (Node::start(CATALOG, &settings).await, Node::start(CATALOG, &settings).await);
    one.app(&["create", "--key", "shop", "--name", "Shop"]);
    assert_eq!(other.show("shop")["name"], "Shop");
    other.app(&["disable", "shop"]);
    assert_eq!(one.show("shop")["status"], "disabled");
}
