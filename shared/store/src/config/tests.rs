use std::path::Path;

use gatehouse_shared::config::{SourceFile, parse};

use super::*;

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    store: Config,
}

fn compile_in(dir: &Path, text: &str) -> Result<Settings, String> {
    let file = SourceFile { path: "edge.toml".into(), text: text.to_owned() };
    let document = parse::<File>(&file).map_err(|errors| errors.to_string())?;
    let mut sources = Sources::new(dir);
    document.value.store.compile("store", &mut sources, &document.positions).map_err(|errors| errors.to_string())
}

fn compile(text: &str) -> Result<Settings, String> {
    compile_in(Path::new("/nowhere"), text)
}

#[test]
fn files_are_the_default() {
    assert!(matches!(compile(""), Ok(Settings::File)));
    assert!(matches!(compile("[store]\nkind = \"file\""), Ok(Settings::File)));
}

#[test]
fn redis_is_reached_as_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("redis.password"), "secret\n").unwrap();
    let text = r#"
        [store]
        kind = "redis"
        urls = ["rediss://redis-1.internal:6380", "rediss://[2001:db8::1]"]
        mode = "sentinel"
        sentinel_master = "gatehouse"
        username = "edge"
        password = { file = "redis.password" }
        command_timeout = "200ms"
    "#;
    let Ok(Settings::Redis(settings)) = compile_in(dir.path(), text) else { panic!("not Redis") };
    assert!(settings.is_tls());
    let addresses: Vec<String> = settings.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["redis-1.internal:6380", "2001:db8::1:6379"]);
    assert_eq!(settings.password.as_ref().map(Secret::expose), Some(b"secret".as_slice()));
    assert_eq!(settings.command_timeout, Duration::from_millis(200));
    assert!(!format!("{settings:?}").contains("secret\""), "{settings:?}");
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let text = "[store]\nkind = \"redis\"\nmode = \"sentinel\"\ndatabase = 3\nconnect_timeout = \"1ms\"\n\
                client_certificate = \"c.pem\"\nurls = [\"redis://a:1\", \"http://b\", \"redis://u:p@c:1\"]\n\
                password = { env = \"GATEHOUSE_TEST_NO_SUCH_VARIABLE\" }";
    let errors = compile(text).unwrap_err();
    for part in [
        "edge.toml:7:24: \"http://b\" is not the address of a Redis",
        "edge.toml:7:36: a password is never written here",
        "sentinel_master is needed",
        "connect_timeout must be",
        "client_certificate and client_key are needed together",
        "urls must be rediss://",
        "GATEHOUSE_TEST_NO_SUCH_VARIABLE",
    ] {
        assert!(errors.contains(part), "{part} in:\n{errors}");
    }
    assert!(!errors.contains("u:p"), "{errors}");
}

#[test]
fn one_server_is_one_address() {
    let errors = compile("[store]\nkind = \"redis\"").unwrap_err();
    assert!(errors.contains("urls must name at least one Redis"), "{errors}");
    let errors = compile("[store]\nkind = \"redis\"\nurls = [\"redis://a\", \"redis://b\"]").unwrap_err();
    assert!(errors.contains("urls must be one"), "{errors}");
    let errors = compile("[store]\nurls = [\"redis://a\"]").unwrap_err();
    assert!(errors.contains("is for kind = \"redis\" only"), "{errors}");
    for wrong in ["", "a:6379", "redis://", "redis://a/1", "redis://a?protocol=3", "unix://"] {
        let text = format!("[store]\nkind = \"redis\"\nurls = [\"{wrong}\"]");
        assert!(compile(&text).is_err(), "{wrong}");
    }
}
