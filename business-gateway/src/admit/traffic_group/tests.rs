use super::*;
use gatehouse_shared::config::{Document, SourceFile, parse};

fn compile(text: &str, before: Option<&TrafficGroups>) -> Result<(TrafficGroups, Vec<OfApi>), String> {
    let file = SourceFile { path: "catalog.toml".into(), text: text.to_owned() };
    let document: Document<CatalogConfig> = parse(&file).map_err(|errors| errors.to_string())?;
    let groups =
        TrafficGroups::compile(&document.value, &document.positions, before).map_err(|errors| errors.to_string())?;
    let mut errors = ConfigErrors::new();
    let apis = document.value.api.iter().enumerate().map(|(index, api)| {
        groups.of_api(api, &At { positions: &document.positions, path: format!("api[{index}]") }, &mut errors)
    });
    let apis = apis.collect();
    errors.into_result(()).map_err(|errors| errors.to_string())?;
    Ok((groups, apis))
}

const GROUPS: &str = r#"
[[group]]
name = "core"
ratio = 60
when = [{ level = "core" }, { level = "normal", class = "platinum" }]
[[group]]
name = "real-time"
ratio = 30
when = [{ level = "real-time" }, { class = "gold" }]
[[group]]
name = "rest"
ratio = 10
"#;

fn api(name: &str, more: &str) -> String {
    format!("[[api]]\nname = {name:?}\nservice = \"orders\"\npath = \"/{name}\"\n{more}\n")
}

#[test]
fn the_first_condition_that_holds_decides_the_group() {
    let levels = ["core", "normal", "real-time"].map(|level| api(level, &format!("level = {level:?}")));
    let (_, apis) = compile(&(GROUPS.to_owned() + &*levels.concat() + &*api("plain", "")), None).unwrap();
    let cases = [
        (0, None, "core"),
        (0, Some("gold"), "core"),
        (1, None, "rest"),
        (1, Some("platinum"), "core"),
        (1, Some("gold"), "real-time"),
        (1, Some("iron"), "rest"),
        (2, Some("platinum"), "real-time"),
        (3, None, "rest"),
        (3, Some("platinum"), "rest"),
        (3, Some("gold"), "real-time"),
    ];
    for (index, class, group) in cases {
        let found = apis[index].group(class).unwrap();
        assert_eq!(&*found.name, group, "API {index}, class {class:?}");
    }
}

#[test]
fn a_catalog_that_says_nothing_limits_nothing() {
    let (groups, apis) = compile(&api("a", ""), None).unwrap();
    assert_eq!(&*apis[0].group(Some("gold")).unwrap().name, "all");
    assert!(apis[0].pool.is_none() && apis[0].cap.is_none());
    assert_eq!((groups.pools(1).count(), groups.caps(1).count()), (0, 0));
}

#[test]
fn the_pool_of_a_service_has_its_name_and_apis_may_name_another() {
    let pools = "[[pool]]\nname = \"orders\"\nsize = 10\napi_concurrency = 6\n[[pool]]\nname = \"slow\"\nmin = 2\nmax = 9\n[[pool]]\nname = \"free\"\n";
    let apis = [api("a", ""), api("b", "concurrency = 3"), api("c", "pool = \"slow\""), api("d", "pool = \"free\"")];
    let (groups, apis) = compile(&(pools.to_owned() + &*apis.concat()), None).unwrap();
    let pools: Vec<_> = groups.pools(2).map(|(name, status)| (name, status.size, status.between)).collect();
    assert_eq!(pools, [("orders", 5, None), ("slow", 4, Some((1, 4)))]);
    let caps: Vec<_> = groups.caps(1).map(|(name, status)| (name, status.size)).collect();
    assert_eq!(caps, [("a", 6), ("b", 3)]);
    let has_pool: Vec<_> = apis.iter().map(|api| api.pool.is_some()).collect();
    assert_eq!(has_pool, [true, true, true, false]);
}

#[test]
fn what_cannot_be_is_refused_with_its_place_and_a_remedy() {
    let pool = |text: &str| format!("[[pool]]\nname = \"p\"\n{text}\n");
    let group = |name: &str, text: &str| format!("[[group]]\nname = {name:?}\nratio = 1\n{text}\n");
    let cases = [
        (pool("size = 0"), "no call would pass"),
        (pool("size = 1\nmin = 1\nmax = 2"), "a size and one that is found"),
        (pool("min = 3\nmax = 2"), "more than \"max\""),
        (pool("min = 3"), "no \"max\" beside it"),
        (pool("max = 3"), "no \"min\" beside it"),
        (pool("reserve_percent = 91"), "leaves the lowest group nothing"),
        (pool("window = \"0s\""), "must be longer than nothing"),
        (pool("") + &*pool(""), "a second pool \"p\""),
        (group("a", "") + &*group("b", ""), "leaves nothing to the groups behind it"),
        (group("a", "when = [{ level = \"x\" }]"), "the last group takes every call"),
        (group("a", "when = [{}]") + &*group("a", ""), "a second group \"a\""),
        (GROUPS.replace("ratio = 10", "ratio = 0"), "not a part of anything"),
        (api("a", "concurrency = 0"), "no call would pass"),
        (pool("") + &*api("a", "pool = \"pp\""), "did you mean \"p\"?"),
        (GROUPS.to_owned() + &*api("a", "level = \"cor\""), "did you mean \"core\"?"),
        (api("a", "level = \"core\""), "no group takes calls of the level \"core\""),
    ];
    for (text, expected) in cases {
        let errors = compile(&text, None).err().unwrap_or_else(|| panic!("taken: {text}"));
        assert!(errors.contains(expected), "{errors}\ninstead of {expected}\nfor {text}");
        assert!(errors.contains("catalog.toml:"), "{errors}");
    }
}

#[tokio::test]
async fn slots_are_carried_over_by_name() {
    let text = |size: u32| format!("[[pool]]\nname = \"orders\"\nsize = {size}\n{}", api("a", "concurrency = 2"));
    let (before, apis) = compile(&text(10), None).unwrap();
    let deadline = gatehouse_shared::clock::now() + Duration::from_secs(10);
    let group = Arc::clone(&before.groups[0].name);
    let slot = apis[0].pool.as_ref().unwrap().enter(&group, deadline, Duration::ZERO, 1, clock::now()).await.unwrap();
    let cap = apis[0].cap.as_ref().unwrap().enter(&group, deadline, Duration::ZERO, 1, clock::now()).await.unwrap();
    let (after, _) = compile(&text(20), Some(&before)).unwrap();
    let in_flight = |groups: &TrafficGroups| {
        (groups.pools(1).next().unwrap().1.in_flight, groups.caps(1).next().unwrap().1.in_flight)
    };
    assert_eq!(in_flight(&after), (1, 1));
    drop((slot, cap));
    assert_eq!(in_flight(&after), (0, 0));
}
