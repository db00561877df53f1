use super::*;
use crate::admit::flow_rule::AppInput;
use crate::store::apps::{App, Status};
use http::Request;

const APIS: [&str; 4] = ["orders.list", "orders.add", "stock.read", "open"];

fn packages(text: &str) -> Result<Packages, String> {
    #[derive(Deserialize)]
    struct Tables {
        package: Vec<Config>,
    }
    let text = text.to_owned();
    let file = gatehouse_shared::config::SourceFile { path: "catalog.toml".into(), text };
    let document = gatehouse_shared::config::parse::<Tables>(&file).map_err(|errors| errors.to_string())?;
    Packages::compile(&document.value.package, &document.positions, &Bounds::default(), &APIS, None)
        .map_err(|errors| errors.to_string())
}

fn api(packages: &Packages, name: &str, scopes: &[&str], condition: Option<&str>) -> ApiPermission {
    let mut more = format!("scopes = {scopes:?}\n");
    if let Some(condition) = condition {
        more.push_str(&format!("condition = \"{condition}\"\n"));
    }
    api_with(packages, name, &more)
}

fn api_with(packages: &Packages, name: &str, more: &str) -> ApiPermission {
    let text = format!("name = \"{name}\"\nservice = \"s\"\npath = \"/\"\n{more}");
    let written: crate::admit::api::Config = toml::from_str(&text).unwrap();
    let positions = Positions::default();
    let at = At { positions: &positions, path: "api[0]".to_owned() };
    packages.of_api(&written, &at, &Bounds::default()).unwrap()
}

fn app(packages: &[&str], networks: &[&str]) -> App {
    App {
        key: "k1".into(),
        name: "One".into(),
        owner: None,
        status: Status::Enabled,
        expires_unix: None,
        plan: Some("free".into()),
        class: None,
        packages: packages.iter().map(|name| (*name).into()).collect(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        field_level: 0,
        schemes: Vec::new(),
        secrets: Vec::new(),
        public_keys: Vec::new(),
        api_keys: Vec::new(),
        subjects: Vec::new(),
        platform_md5: false,
        version: 1,
    }
}

fn caller(app: App) -> Caller {
    Caller { app: Some(Arc::new(app)), ..Caller::default() }
}

fn ask(permission: &ApiPermission, packages: &Packages, caller: &Caller, method: &str) -> Result<(), Refusal> {
    let parts = Request::builder().method(method).uri("/orders?a=1").body(()).unwrap().into_parts().0;
    let facts = Facts {
        app: AppInput { plan: "free", ..AppInput::default() },
        user: "",
        scopes: &[],
        client: "203.0.113.9".parse().unwrap(),
        api: "orders.list",
        level: "",
        host: "shop.example",
        path: "/orders",
        unix_ms: 0,
        counters: None,
    };
    check(permission, packages, caller, &facts, &parts)
}

const TWO: &str =
    "[[package]]\nname = \"orders\"\napis = [\"orders.*\"]\n[[package]]\nname = \"stock\"\napis = [\"stock.read\"]\n";

#[test]
fn a_package_grants_what_it_holds_and_nothing_else() {
    let packages = packages(TWO).unwrap();
    let orders = caller(app(&["orders"], &[]));
    assert_eq!(ask(&api(&packages, "orders.add", &[], None), &packages, &orders, "GET"), Ok(()));
    assert_eq!(ask(&api(&packages, "stock.read", &[], None), &packages, &orders, "GET"), Err(Refusal::Package));
    assert_eq!(packages.counters().unknown(), 0);
    let stranger = caller(app(&["gone", "order", "orderss", "stock"], &[]));
    assert_eq!(ask(&api(&packages, "orders.add", &[], None), &packages, &stranger, "GET"), Err(Refusal::Package));
    assert_eq!(packages.counters().unknown(), 3);
    let nothing = caller(app(&[], &[]));
    assert_eq!(ask(&api(&packages, "open", &[], None), &packages, &nothing, "GET"), Err(Refusal::Package));
    let open = api_with(&packages, "open", "access = \"open\"");
    assert_eq!(ask(&open, &packages, &nothing, "GET"), Ok(()));
    assert_eq!(ask(&open, &packages, &Caller::anonymous(), "GET"), Ok(()));
}

#[test]
fn addresses_of_the_application_and_of_the_package_count() {
    let packages = packages(&TWO.replacen("apis = ", "networks = [\"203.0.113.0/24\"]\napis = ", 1)).unwrap();
    let orders = api(&packages, "orders.list", &[], None);
    assert_eq!(ask(&orders, &packages, &caller(app(&["orders"], &[])), "GET"), Ok(()));
    assert_eq!(ask(&orders, &packages, &caller(app(&["orders"], &["203.0.113.9/32"])), "GET"), Ok(()));
    assert_eq!(ask(&orders, &packages, &caller(app(&["orders"], &["10.0.0.0/8"])), "GET"), Err(Refusal::Address));
    let elsewhere =
        super::tests::packages(&TWO.replacen("apis = ", "networks = [\"10.0.0.0/8\"]\napis = ", 1)).unwrap();
    let orders = api(&elsewhere, "orders.list", &[], None);
    assert_eq!(ask(&orders, &elsewhere, &caller(app(&["orders"], &[])), "GET"), Err(Refusal::Address));
}

#[test]
fn scopes_count_where_credentials_carry_them() {
    let packages = packages(TWO).unwrap();
    let orders = api(&packages, "orders.list", &["read", "write"], None);
    let with = |scopes: Option<&[&str]>| Caller {
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| (*scope).into()).collect()),
        ..caller(app(&["orders"], &[]))
    };
    assert_eq!(ask(&orders, &packages, &with(None), "GET"), Ok(()));
    assert_eq!(ask(&orders, &packages, &with(Some(&["write", "read", "x"])), "GET"), Ok(()));
    assert_eq!(ask(&orders, &packages, &with(Some(&["read"])), "GET"), Err(Refusal::Scope));
    assert_eq!(ask(&orders, &packages, &with(Some(&[])), "GET"), Err(Refusal::Scope));
}

#[test]
fn conditions_of_the_api_and_of_the_package_count() {
    let read_only = TWO.replacen("apis = ", "condition = \"method == 'GET'\"\napis = ", 1);
    let packages = packages(&(read_only + "[[package]]\nname = \"all\"\napis = [\"*\"]\n")).unwrap();
    let orders = api(&packages, "orders.list", &[], Some("app.plan == 'free'"));
    assert_eq!(ask(&orders, &packages, &caller(app(&["orders"], &[])), "GET"), Ok(()));
    assert_eq!(ask(&orders, &packages, &caller(app(&["orders"], &[])), "POST"), Err(Refusal::Condition));
    assert_eq!(ask(&orders, &packages, &caller(app(&["orders", "all"], &[])), "POST"), Ok(()), "any package is enough");
    let gold = api(&packages, "orders.list", &[], Some("app.plan == 'gold'"));
    assert_eq!(ask(&gold, &packages, &caller(app(&["all"], &[])), "GET"), Err(Refusal::Condition));
    let broken = api(&packages, "orders.list", &[], Some("1 / app.field_level == 1"));
    assert_eq!(ask(&broken, &packages, &caller(app(&["all"], &[])), "GET"), Err(Refusal::Failed), "closed");
}

#[test]
fn an_api_for_users_needs_one() {
    let packages = packages(TWO).unwrap();
    let orders = api_with(&packages, "orders.list", "access = \"user\"");
    let without = caller(app(&["orders"], &[]));
    assert_eq!(ask(&orders, &packages, &without, "GET"), Err(Refusal::User));
    let with = Caller { user: Some("u".into()), ..without };
    assert_eq!(ask(&orders, &packages, &with, "GET"), Ok(()));
}

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_do() {
    let text = "[[package]]\nname = \"a b\"\napis = [\"orders.lst\", \"x y\"]\n[[package]]\nname = \"c\"\napis = []\n\
                [[package]]\nname = \"c\"\napis = [\"*\"]\ncondition = \"methd == 'GET'\"\n";
    let errors = packages(text).unwrap_err();
    for expected in [
        "catalog.toml:2:8: \"a b\" is not a name",
        "catalog.toml:3:9: no API \"orders.lst\" (did you mean \"orders.list\"?)",
        "catalog.toml:3:23: \"x y\" is not a pattern of API names",
        "catalog.toml:6:8: no API, so nothing is granted",
        "catalog.toml:8:8: a second package \"c\"",
        "catalog.toml:10:13: no input `methd`, at 1:1 of the expression (did you mean `method`?)",
    ] {
        assert!(errors.contains(expected), "{expected}\nis not in\n{errors}");
    }
}

proptest::proptest! {
    #[test]
    fn finding_by_marks_agrees_with_comparing(
        held in proptest::collection::vec("[a-d]{1,4}", 0..6),
        asked in proptest::collection::vec("[a-d]{0,4}", 0..20),
    ) {
        let mut grants = Grants::default();
        for name in &held {
            grants.add(Arc::new(Package { name: name.as_str().into(), apis: vec![], scopes: vec![], networks: vec![], condition: None }));
        }
        for name in &asked {
            proptest::prop_assert_eq!(grants.find(name).is_some(), held.contains(name), "{}", name);
        }
    }
}

/// What a check costs. `cargo test --release -p business-gateway --lib what_a_permission_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the measurement is printed")]
fn what_a_permission_costs() {
    const ROUNDS: u32 = 1_000_000;
    let mut text = TWO.to_owned();
    for number in 0..200 {
        text.push_str(&format!("[[package]]\nname = \"package-{number}\"\napis = [\"stock.read\"]\n"));
    }
    let packages = packages(&text).unwrap();
    let orders = api(&packages, "orders.list", &[], None);
    let mut names: Vec<String> = (0..19).map(|number| format!("package-{}", number * 7)).collect();
    names.push("orders".to_owned());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let caller = caller(app(&names, &[]));
    let parts = Request::builder().uri("/orders").body(()).unwrap().into_parts().0;
    let facts = Facts {
        app: AppInput::default(),
        user: "",
        scopes: &[],
        client: "203.0.113.9".parse().unwrap(),
        api: "orders.list",
        level: "",
        host: "",
        path: "/orders",
        unix_ms: 0,
        counters: None,
    };
    let began = gatehouse_shared::clock::now();
    for _ in 0..ROUNDS {
        check(std::hint::black_box(&orders), &packages, std::hint::black_box(&caller), &facts, &parts).unwrap();
    }
    let each = gatehouse_shared::clock::now().saturating_duration_since(began) / ROUNDS;
    println!("20 packages, the last one grants: {each:?}");
}
