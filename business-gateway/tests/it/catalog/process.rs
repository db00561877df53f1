//! The real binary: the admin API and the commands that call it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use gatehouse_shared::process::Ports;
use serde_json::{Value, json};

use super::{api, fleet_settings};
use crate::support::redis::RedisServer;
use crate::support::{catalog, until};

/// A running gateway with a configuration of its own.
struct Gateway {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

/// What the admin listener answered.
struct Answer {
    status: u16,
    etag: Option<String>,
    body: Value,
}

impl Gateway {
    async fn start(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        fs::create_dir(&config).unwrap();
        fs::write(config.join("hop.key"), "0123456789abcdef0123456789abcdef").unwrap();
        fs::write(config.join("catalog.toml"), catalog(&["127.0.0.1:9".parse().unwrap()], "")).unwrap();
        let text = format!(
            "[process]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nnode = \"n1\"\nstate_dir = \"{}\"\n\
             [hop]\nkeys = [{{ id = \"a\", secret = {{ file = \"hop.key\" }} }}]\n[access_log]\nsink = \"off\"\n\
             [drain]\ndelay = \"0s\"\n{settings}",
            dir.path().join("state").display()
        );
        fs::write(config.join("business.toml"), text).unwrap();
        let mut gateway = Self { dir, child: None };
        gateway.run().await;
        gateway
    }

    async fn run(&mut self) {
        fs::remove_file(Ports::path(&self.state())).ok();
        let log = fs::File::create(self.dir.path().join("process.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        command.arg("run").arg("--config").arg(self.config()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        until("ports.json", || Ports::read(&self.state()).ok()).await;
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Calls the admin listener as somebody with this role would.
    fn ask(&self, role: &str, method: &str, path: &str, if_match: Option<&str>, body: &str) -> Answer {
        let ports = Ports::read(&self.state()).unwrap();
        let token = fs::read_to_string(self.state().join(format!("admin-token-{role}"))).unwrap();
        let mut stream = TcpStream::connect(ports.admin).unwrap();
        let if_match = if_match.map(|tag| format!("If-Match: {tag}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{if_match}Content-Length: {}\r\n\r\n",
            ports.admin,
            token.trim(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).map(str::to_owned);
        Answer { status, etag, body: serde_json::from_str(body).unwrap_or_default() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("read", "GET", path, None, "")
    }

    fn put(&self, path: &str, if_match: Option<&str>, body: &Value) -> Answer {
        self.ask("operate", "PUT", path, if_match, &body.to_string())
    }

    /// Runs a command of the same binary.
    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_business-gateway"));
        command.args(arguments).arg("--config").arg(self.config()).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let (out, error) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {out}{error}");
        out
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let (out, error) = texts(&output);
        assert!(!output.status.success(), "{arguments:?}: {out}{error}");
        error
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn audit_lines(state: &Path) -> Vec<Value> {
    let text = fs::read_to_string(state.join("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The part of the tests that is the same for files and Redis.
fn an_object_lives(gateway: &Gateway) {
    let path = "/catalog/api/orders.list";
    assert_eq!(gateway.get(path).status, 404);
    let added = gateway.put(path, None, &api("orders.list", "sample", "/orders"));
    assert_eq!((added.status, &added.body["before"]), (201, &Value::Null), "{}", added.body);
    let shown = gateway.get(path);
    assert_eq!((shown.status, &shown.body), (200, &api("orders.list", "sample", "/orders")));
    let etag = shown.etag.unwrap();
    assert_eq!(added.etag.as_ref(), Some(&etag));
    let policy = gateway.get("/policy").body;
    assert!(policy["apis"].as_array().unwrap().iter().any(|api| api["name"] == "orders.list"), "in force at once");
    assert_eq!(policy["catalog"]["objects"]["api"], 2);

    let other = api("orders.list", "sample", "/orders/all");
    let unsaid = gateway.put(path, None, &other);
    assert_eq!((unsaid.status, unsaid.body["code"].as_str()), (428, Some("admin_revision_required")));
    let old = gateway.put(path, Some("\"1\""), &other);
    assert_eq!((old.status, old.body["code"].as_str()), (412, Some("admin_revision_changed")));
    assert_eq!(gateway.put(path, Some("x"), &other).status, 400);
    let changed = gateway.put(path, Some(&etag), &other);
    assert_eq!((changed.status, &changed.body["after"]["path"]), (200, &json!("/orders/all")), "{}", changed.body);
    assert_eq!(gateway.put(path, Some(&etag), &other).status, 412, "it has another tag now");
    assert_eq!(gateway.put(path, Some("*"), &api("orders.list", "sample", "/o")).status, 200);

    let wrong = json!({ "service": "smaple", "path": "no slash", "methods": ["get"], "colour": 1 });
    let refused = gateway.put("/catalog/api/wrong", None, &wrong);
    assert_eq!((refused.status, refused.body["code"].as_str()), (422, Some("admin_object_invalid")));
    let errors = refused.body["errors"].as_array().unwrap();
    assert_eq!((errors[0]["kind"].as_str(), errors[0]["name"].as_str()), (Some("api"), Some("wrong")), "{errors:?}");
    assert!(errors.iter().any(|error| error["field"] == "colour"), "{errors:?}");
    let wrong = json!({ "service": "smaple", "path": "no slash", "methods": ["get"] });
    let refused = gateway.put("/catalog/api/wrong", None, &wrong).body;
    let fields: Vec<&str> =
        refused["errors"].as_array().unwrap().iter().map(|it| it["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["methods[0]", "path", "service"], "all at once: {refused}");
    assert_eq!(refused["errors"][2]["remedy"], "did you mean \"sample\"?");
    assert_eq!(gateway.put("/catalog/apis/a", None, &json!({})).status, 404);
    assert_eq!(gateway.put("/catalog/api/a", None, &json!([])).status, 400);
    assert_eq!(gateway.ask("operate", "PUT", "/catalog/api/a", None, "{").status, 400);
    assert_eq!(gateway.put("/catalog/api/a", None, &json!({ "name": "b" })).status, 422);
    assert_eq!(gateway.put("/catalog/api/a?colour=1", None, &json!({})).status, 400);
    let huge = "x".repeat((1 << 20) + 1);
    assert_eq!(gateway.ask("operate", "PUT", "/catalog/api/a", None, &huge).status, 413);
    let reader = gateway.ask("read", "PUT", path, Some("*"), &other.to_string());
    assert_eq!((reader.status, reader.body["code"].as_str()), (403, Some("admin_role_insufficient")));
    assert_eq!(gateway.ask("operate", "POST", path, None, "").status, 405);

    assert_eq!(gateway.ask("operate", "DELETE", path, None, "").status, 428);
    let gone = gateway.ask("operate", "DELETE", path, Some("*"), "");
    assert_eq!((gone.status, &gone.body["after"]), (200, &Value::Null), "{}", gone.body);
    assert_eq!(gateway.ask("operate", "DELETE", path, Some("*"), "").status, 404);

    let audit = audit_lines(&gateway.state());
    let of_catalog: Vec<_> = audit.iter().filter(|line| line["target"] == "api orders.list").collect();
    let actions: Vec<&str> = of_catalog.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["catalog.put", "catalog.put", "catalog.put", "catalog.delete"]);
    assert_eq!(
        (&of_catalog[1]["before"]["path"], &of_catalog[1]["after"]["path"]),
        (&json!("/orders"), &json!("/orders/all"))
    );
    assert_eq!((&of_catalog[1]["who"], &of_catalog[3]["after"]), (&json!("operate"), &Value::Null));
}

#[tokio::test]
async fn objects_in_files_are_shown_changed_and_removed() {
    let mut gateway = Gateway::start("").await;
    an_object_lives(&gateway);

    // What people edit stays theirs.
    let fixed = gateway.put("/catalog/api/all", Some("*"), &api("all", "sample", "/elsewhere"));
    assert_eq!((fixed.status, fixed.body["code"].as_str()), (409, Some("admin_object_read_only")), "{}", fixed.body);
    assert_eq!(gateway.get("/catalog/history").status, 404, "files have no revisions");
    assert_eq!(gateway.get("/catalog/status").body["source"], "files");

    let file = gateway.write("new.toml", "[[api]]\nname = \"new\"\nservice = \"sample\"\npath = \"/new\"\n");
    assert_eq!(gateway.succeeds(&["api", "put", &file]), "added api new\n");
    assert!(gateway.config().join("catalog.d/api.new.toml").exists());
    let refused = gateway.fails(&["api", "put", &file]);
    assert!(refused.contains("admin_revision_required"), "{refused}");
    assert_eq!(gateway.succeeds(&["api", "put", &file, "--replace"]), "unchanged: api new\n");
    let shown = gateway.succeeds(&["api", "show", "new"]);
    assert!(shown.contains("path = \"/new\"") && shown.contains("# --if-match "), "{shown}");
    assert_eq!(gateway.succeeds(&["api", "list"]), "all\tsample\t/{*rest}\nnew\tsample\t/new\n");
    assert_eq!(gateway.succeeds(&["api", "list", "--kind", "service"]), "sample\t127.0.0.1:9\n");
    assert!(gateway.fails(&["api", "list", "--kind", "apis"]).contains("there is no kind \"apis\""));
    assert!(gateway.fails(&["api", "put", &file, "--offline"]).contains("leave --offline out"));
    assert!(gateway.fails(&["api", "show", "none"]).contains("there is no api \"none\""));

    // The node is stopped: its files can be edited all the same, and what is there counts when it starts.
    gateway.stop();
    assert!(gateway.fails(&["api", "delete", "new"]).contains("does not answer"));
    gateway.succeeds(&["api", "delete", "new", "--offline"]);
    assert!(!gateway.config().join("catalog.d/api.new.toml").exists());
    gateway.succeeds(&["api", "put", &file, "--offline", "--why", "while it slept"]);
    assert!(gateway.fails(&["api", "put", &file, "--offline"]).contains("--replace"));
    gateway.succeeds(&["api", "put", &file, "--offline", "--replace"]);
    let wrong = gateway.write("wrong.json", "{\"name\": \"w\", \"service\": \"none\", \"path\": \"x\"}");
    let refused = gateway.command(&["api", "put", &wrong, "--offline"]);
    assert_eq!(refused.status.code(), Some(64));
    let refused = texts(&refused).1;
    assert!(
        refused.contains("api[2].path: \"x\" is not a path") && refused.contains("no service \"none\""),
        "{refused}"
    );
    let last = audit_lines(&gateway.state());
    let of_offline: Vec<_> = last.iter().filter(|line| line["action"] == "catalog.offline").collect();
    assert_eq!((of_offline.len(), &of_offline[1]["why"]), (2, &json!("while it slept")));
    gateway.run().await;
    assert_eq!(gateway.get("/catalog/api/new").status, 200);
}

#[tokio::test]
async fn objects_in_redis_become_revisions_that_can_be_compared_and_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start(dir.path()).await;
    let mut gateway = Gateway::start(&fleet_settings(&redis, dir.path())).await;
    assert_eq!(gateway.get("/catalog/status").body["revision"], 0);
    // The first import turns catalog.toml into revision 1.
    assert!(gateway.succeeds(&["catalog", "import", "--why", "first"]).ends_with("imported (revision 1)\n"));
    an_object_lives(&gateway);

    let history = gateway.succeeds(&["catalog", "history", "--limit", "2"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("5\t") && lines[0].contains("\toperate\tn1\tdelete api orders.list\t-"), "{history}");
    assert_eq!(lines.len(), 2);
    let diff = gateway.succeeds(&["catalog", "diff", "2", "3"]);
    assert_eq!(diff, "changed\tapi\torders.list\n\tpath\t/orders\t/orders/all\n");
    assert_eq!(gateway.succeeds(&["catalog", "diff"]), "removed\tapi\torders.list\n");
    let back = gateway.succeeds(&["catalog", "rollback", "3", "--why", "it was right"]);
    assert!(
        back.starts_with("added\tapi\torders.list\n") && back.ends_with("rolled back to 3 (revision 6)\n"),
        "{back}"
    );
    assert_eq!(gateway.get("/catalog/api/orders.list").body["path"], "/orders/all");
    let last = &gateway.get("/catalog/history?limit=1").body["revisions"][0];
    assert_eq!((&last["what"], &last["why"]), (&json!("rollback to 3"), &json!("it was right")));
    assert!(gateway.fails(&["catalog", "rollback", "99"]).contains("revision 99 is not kept"));
    assert_eq!(gateway.ask("operate", "POST", "/catalog/rollback?revision=3", None, "").status, 428);

    // The whole document: out, changed, checked, in.
    let exported = gateway.succeeds(&["catalog", "export", "--toml"]);
    let more = format!("{exported}\n[[api]]\nname = \"x\"\nservice = \"sample\"\npath = \"/x\"\n");
    let file = gateway.write("whole.toml", &more);
    assert_eq!(gateway.succeeds(&["catalog", "check", &file]), "added\tapi\tx\nvalid\n");
    assert!(gateway.fails(&["catalog", "import", &file]).contains("admin_revision_required"));
    let imported = gateway.succeeds(&["catalog", "import", &file, "--replace"]);
    assert_eq!(imported, "added\tapi\tx\nimported (revision 7)\n");
    let wrong = gateway.write("wrong.toml", &more.replace("path = \"/x\"", "path = \"x\""));
    let refused = gateway.fails(&["catalog", "check", &wrong]);
    assert!(refused.contains("admin_object_invalid") && refused.contains("\"x\" is not a path"), "{refused}");
    assert!(gateway.fails(&["catalog", "import", &wrong, "--replace"]).contains("is not a path"));
    assert_eq!(gateway.get("/catalog").body["api"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.succeeds(&["catalog", "publish"]), "published (revision 8)\n");
    assert!(gateway.fails(&["api", "delete", "x", "--offline"]).contains("the catalog is in Redis"));

    // Without Redis nothing is published, and the node starts with what it had.
    drop(redis);
    gateway.stop();
    gateway.run().await;
    assert_eq!(gateway.get("/catalog/status").body["revision"], 8);
    assert_eq!(gateway.get("/catalog/api/x").status, 200);
    let away = gateway.put("/catalog/api/y", None, &api("y", "sample", "/y"));
    assert_eq!((away.status, away.body["code"].as_str()), (503, Some("admin_unavailable")), "{}", away.body);
}

#[tokio::test]
async fn the_listener_describes_all_that_it_offers() {
    let gateway = Gateway::start("").await;
    let document = gateway.get("/openapi.json").body;
    assert_eq!(document["openapi"], "3.1.0");
    let refused = gateway.ask("operate", "PUT", "/openapi.json", None, "");
    assert_eq!(refused.status, 405);
    for (path, item) in document["paths"].as_object().unwrap() {
        let path =
            path.replace("{kind}", "api").replace("{name}", "all").replace("{key}", "none").replace("{id}", "none");
        // Whatever is described is served: everything but a path or method that does not exist.
        for method in ["get", "put", "post", "patch", "delete"].into_iter().filter(|method| item.get(*method).is_some())
        {
            let answer = gateway.ask("secrets", &method.to_uppercase(), &path, None, "");
            assert_ne!(answer.status, 405, "{method} {path}");
            assert_ne!(answer.body["code"], "admin_not_found", "{method} {path}");
        }
    }
}
