use super::*;
use crate::admit::flow_rule::STACK;
use crate::admit::flow_rule::sample::Prepared;
use gatehouse_shared::config::Positions;

pub(crate) fn compile_for(text: &str, yields: Yields, stage: Stage) -> Result<Expression, String> {
    let positions = Positions::default();
    let at = At { positions: &positions, path: "flow_rule[0]".to_owned() };
    let bounds = Bounds::default();
    let place = Place { at: &at, key: "when", stage, bounds: &bounds, zone: &TimeZone::UTC };
    Expression::compile(text, yields, place).map_err(|errors| errors.to_string())
}

fn compile(text: &str) -> Result<Expression, String> {
    compile_for(text, Yields::Bool, Stage::Request)
}

/// A free application posts something on the morning of Monday, 5 January 2026.
pub(crate) fn call() -> Prepared {
    let mut sample = Sample {
        method: "POST".to_owned(),
        host: "Shop.Example:8443".to_owned(),
        path: "/orders/17".to_owned(),
        query: "id=1&id=2&name=J%C3%A4+ne".to_owned(),
        client: "203.0.113.9".parse().unwrap(),
        unix_ms: 1_767_602_700_000,
        scopes: vec!["read".to_owned(), "write".to_owned()],
        ..Sample::default()
    };
    sample.app.plan = "free".to_owned();
    sample.app.key = "k1".to_owned();
    sample.app.field_level = 3;
    sample.headers =
        [("x-a", "1"), ("x-b", "Two"), ("x-b", "three")].map(|(name, value)| (name.into(), value.into())).to_vec();
    sample.prepare().unwrap()
}

#[test]
fn says_what_is_true_of_a_call() {
    let call = call();
    let input = call.input(Stage::Request);
    for (text, expected) in [
        ("app.plan == 'free' && method == 'POST'", true),
        ("app.plan == \"gold\" || user != ''", false),
        ("host == 'shop.example'", true),
        ("path.startsWith('/orders/') && path.matches('^/orders/[0-9]+$')", true),
        ("matches(path, '^/x')", false),
        ("headers['x-a'] == '1' && headers['X-A'] == '1' && headers['x-none'] == ''", true),
        ("headers['x-b'] == 'Two, three' && headers['x-b'].lower() == 'two, three'", true),
        ("'x-a' in headers && !('x-c' in headers)", true),
        ("headers.host == ''", true),
        ("query['id'] == '1' && query_all['id'] == query_all['id']", true),
        ("query['name'] == 'J\u{e4} ne' && size(query_all['id']) == 2 && size(query_all['x']) == 0", true),
        ("query_all['id'][1] == '2'", true),
        ("'write' in scopes && scopes.exists(s, s == 'read') && !scopes.all(s, s == 'read')", true),
        ("headers.exists(name, name.startsWith('x-') && headers[name] == '1')", true),
        ("query.all(name, name != 'admin')", true),
        ("scopes.filter(s, s != 'read').size() == 1 && scopes.map(s, s + '!')[0] == 'read!'", true),
        ("scopes.exists_one(s, s == 'read')", true),
        ("client.within('203.0.113.0/24', '10.0.0.0/8')", true),
        ("client.within('198.51.100.7')", false),
        ("!client.within('198.51.100.7') && client.address == '203.0.113.9'", true),
        ("time.unix == 1767602700 && time.hour == 8 && time.minute == 45 && time.weekday == 1", true),
        ("app.field_level >= 3 && app.field_level < 3.5 && int('7') % 4 == 3", true),
        ("counters['none'] == 0", true),
        ("(app.plan == 'free' ? 1 : 2) == 1 && string(app.field_level) == '3'", true),
        ("method in ['GET', 'HEAD']", false),
    ] {
        let text = text.replace("&& query_all['id'] == query_all['id']", "");
        let expression = compile(&text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        assert_eq!(expression.test(&input), Ok(expected), "{text}");
    }
}

#[test]
fn gives_texts_and_numbers() {
    let call = call();
    let input = call.input(Stage::Request);
    let text = compile_for("app.key + '/' + query.id", Yields::Text, Stage::Request).unwrap();
    assert_eq!(text.text_of(&input), Ok("k1/1".to_owned()));
    assert_eq!(text.yields(), Yields::Text);
    let number = compile_for("size(query_all['id']) * 2", Yields::Number, Stage::Request).unwrap();
    assert_eq!(number.number_of(&input), Ok(4));
    assert!(
        compile("1 / app.field_level == 0")
            .unwrap()
            .test(&Sample::default().prepare().unwrap().input(Stage::Request))
            .is_err()
    );
}

#[test]
fn what_is_wrong_is_found_at_load_and_where_it_stands() {
    for (text, expected) in [
        ("app.plan =", "at 1:10 of the expression"),
        ("ap.plan == 'x'", "no input `ap.plan`, at 1:3 of the expression (did you mean `app.plan`?)"),
        ("true &&\n  app.plann == 'x'", "no input `app.plann`, at 2:6 of the expression (did you mean `app.plan`?)"),
        ("app == 'x'", "`app` is not a value, at 1:1 of the expression (name one of its fields: app.key"),
        ("app.plan", "a text where true or false is needed"),
        ("app.plan == 1", "`==` is not for a text and a whole number"),
        ("method && true", "`&&` is not for a text and true or false"),
        ("path.startswith('/')", "no function `startswith`"),
        ("sleep(1)", "no function `sleep`"),
        ("path.matches(method)", "a pattern that is not written in quotes"),
        ("path.matches('(')", "not a regular expression: unclosed group"),
        ("path.matches('(a{1000}){1000}')", "not a regular expression"),
        ("client.within('10.0.0.1/8')", "has bits set after its prefix"),
        ("client.within(path)", "a network that is not written in quotes"),
        ("path.within('10.0.0.0/8')", "within() is asked of `client`"),
        ("has(headers.host)", "has() is of no use here"),
        ("response.status == 200", "`response.status` is not known before the service has answered"),
        ("{'a': 1}.a == 1", "maps and messages are not supported"),
        ("b'a' == b'a'", "a value that no input is compared with"),
        ("type(path) == string", "no function `type`"),
        ("headers == headers", "`==` is not for a dictionary and a dictionary"),
        ("[1, 'a'].size() == 2", "a whole number and a text where one kind of value is needed"),
        ("method.exists(x, x == 'a')", "a text has no entries to go through"),
        ("'\u{e4}\u{f6}' == nothing", "at 1:9 of the expression"),
    ] {
        let errors = compile(text).expect_err(text);
        assert!(errors.contains(expected), "{text}\ngave    {errors}\ninstead of {expected}");
    }
    let answers = compile_for("response.status >= 500 && response.headers['x'] == ''", Yields::Bool, Stage::Response);
    assert!(answers.is_ok(), "{answers:?}");
}

#[test]
fn what_may_take_too_long_or_too_much_is_refused_at_load() {
    let doubling = format!("[path]{}.size() == 1", ".map(x, x + x)".repeat(20));
    let long = format!("{}true", "true && ".repeat(3000));
    let deep = format!("{}true{}", "(".repeat(60), ")".repeat(60));
    for (text, expected) in [
        ("headers.all(a, headers.all(b, headers.all(c, a == b)))", "steps; at most"),
        ("headers.all(a, headers.exists(b, headers[a] == headers[b]))", "steps; at most"),
        ("query.map(a, path + a).size() == 0", "bytes; at most"),
        (doubling.as_str(), "bytes; at most"),
        (long.as_str(), "an expression of 24004 bytes; at most 16384"),
        (long.get(..8000).unwrap(), "an expression of 2000 operations; at most 80"),
        (deep.as_str(), "of the expression"),
    ] {
        let errors = compile(text).map(|expression| expression.cost()).expect_err(text);
        assert!(errors.contains(expected), "{text}\ngave {errors}");
    }
    assert!(compile("app.plan == 'free' && method == 'POST'").unwrap().cost() < 600);
    assert!(compile("headers.exists(name, name.contains('debug'))").is_ok());
}

#[test]
fn no_chain_takes_the_stack_of_a_worker() {
    let call = call();
    let input = call.input(Stage::Request);
    let check = move || {
        for (first, next, last) in [
            ("1", " + 1", " > 0"),
            ("path", ".lower()", " != ''"),
            ("true", " && true", ""),
            ("true", " == true", ""),
            ("[1]", ".map(x, x)", ".size() == 1"),
            ("", "!", "true"),
            ("", "[", ""),
            ("1", " in [1] ? 1 : 1", " == 1"),
            ("r'\\' + '", "+", "'"),
        ] {
            for count in [20, 35, 70, 140, 5_000] {
                let text = format!("{first}{}{last}", next.repeat(count));
                match compile(&text) {
                    Ok(expression) => drop(expression.test(&input)),
                    Err(errors) => assert!(count > 20 || !errors.contains("operations; at most"), "{text}: {errors}"),
                }
                assert!(count < 5_000 || compile(&text).is_err());
            }
        }
    };
    let worker = std::thread::Builder::new().stack_size(STACK);
    std::thread::scope(|scope| worker.spawn_scoped(scope, check).unwrap().join().unwrap());
}

#[test]
fn nothing_is_hidden_behind_many_parameters() {
    let query = |count: usize| vec!["a=1"; count].join("&");
    let expression = compile("query['b'] == ''").unwrap();
    let most = Sample { query: query(ENTRIES_MAX), ..Sample::default() }.prepare().unwrap();
    assert_eq!(expression.test(&most.input(Stage::Request)), Ok(true));
    let more = Sample { query: query(ENTRIES_MAX + 1), ..Sample::default() }.prepare().unwrap();
    assert_eq!(expression.test(&more.input(Stage::Request)), Err(ExpressionError::TooMany("parameters")));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever compiles comes to an end, and never fails by a name or a kind.
    #[test]
    fn what_compiles_can_be_evaluated(text in expression_text()) {
        let call = call();
        let input = call.input(Stage::Request);
        if let Ok(expression) = compile(&text)
            && let Err(error) = expression.test(&input)
        {
            let told = error.to_string();
            proptest::prop_assert!(!told.contains("overload") && !told.contains("Undeclared"), "{text}: {told}");
        }
    }

    #[test]
    fn no_text_makes_compiling_panic(text in "[a-c'\"().,\\[\\]{}?:!&|=<>+*/%0-9 -]{0,40}") {
        let _any = compile(&text).is_ok();
    }
}

/// Texts made of pieces that often fit together.
fn expression_text() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::{Strategy as _, prop_oneof};
    let leaf = proptest::sample::select(vec![
        "true",
        "1",
        "0",
        "'a'",
        "path",
        "app.plan",
        "app.field_level",
        "headers",
        "query",
        "scopes",
        "query_all['id']",
        "time.hour",
        "[1, 2]",
        "['a', path]",
        "headers['x-b']",
        "x",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (
                inner.clone(),
                inner.clone(),
                proptest::sample::select(vec!["==", "&&", "||", "<", "+", "-", "*", "/", "%", "in"])
            )
                .prop_map(|(one, other, operator)| format!("({one} {operator} {other})")),
            (
                inner.clone(),
                inner.clone(),
                proptest::sample::select(vec!["all", "exists", "exists_one", "map", "filter"])
            )
                .prop_map(|(range, step, name)| format!("{range}.{name}(x, {step})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one}.contains({other})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|one| format!("size({one})")),
            inner.prop_map(|one| format!("!{one}")),
        ]
    })
}

/// What a plain rule costs. `cargo test --release -p business-gateway --lib what_an_expression_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the measurement is printed")]
fn what_an_expression_costs() {
    const ROUNDS: u32 = 100_000;
    let call = call();
    let input = call.input(Stage::Request);
    for text in [
        "app.plan == 'free' && method == 'POST'",
        "app.plan == 'gold' && method == 'POST'",
        "headers['x-a'] == '1'",
        "client.within('10.0.0.0/8')",
        "path.matches('^/orders/[0-9]+$')",
        "query['name'] != ''",
        "time.hour < 6",
        "headers.exists(name, name == 'x-debug')",
    ] {
        let expression = compile(text).unwrap();
        let began = gatehouse_shared::clock::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(expression.test(std::hint::black_box(&input))).unwrap();
        }
        let each = gatehouse_shared::clock::now().saturating_duration_since(began) / ROUNDS;
        println!("{text}: {each:?}, at most {} steps", expression.cost());
    }
}
