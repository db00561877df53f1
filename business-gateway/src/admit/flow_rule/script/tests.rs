use super::*;
use crate::admit::flow_rule::STACK;
use crate::admit::flow_rule::effect::Charge;
use crate::admit::flow_rule::expression::Stage;
use crate::admit::flow_rule::expression::tests::call;
use gatehouse_shared::config::Positions;

fn compile_with(text: &str, interpreter: &Interpreter) -> Result<Script, String> {
    let positions = Positions::default();
    let at = At { positions: &positions, path: "flow_rule[0]".to_owned() };
    Script::compile(text, interpreter, &Bounds::default(), &at, "script").map_err(|errors| errors.to_string())
}

fn compile(text: &str) -> Result<Script, String> {
    compile_with(text, &Interpreter::new(&Bounds::default()))
}

fn run(text: &str) -> Result<Effects, ScriptError> {
    let call = call();
    compile(text).unwrap_or_else(|errors| panic!("{text}: {errors}")).run(&call.input(Stage::Request), &TimeZone::UTC)
}

#[test]
fn a_script_sees_the_call_and_asks_for_effects() {
    let effects = run(r#"
        let sum = 0;
        for id in query_all["id"] { sum += parse_int(id); }
        if app.plan == "free" && method == "POST" && client.within("203.0.113.0/24") && host == "shop.example" {
            gate.charge("writes", sum);
            gate.set_header("x-plan", app.plan);
            gate.set_query("hour", time.hour.to_string());
            gate.tag("lane", `${app.key}-${scopes.len()}`);
        }
        if "x-a" in headers && headers["x-b"] == "Two, three" && headers["x-none"] == "" && "write" in scopes {
            gate.remove_header("x-a");
        }
        if !("z" in query) && query["name"] == "Jä ne" && client.address == "203.0.113.9" && counters["x"] == 0 {
            gate.tag("seen", api.name);
        }
    "#)
    .unwrap();
    assert_eq!(effects.charges, [Charge { limit: "writes".into(), cost: 3 }]);
    assert_eq!(effects.headers.len(), 2);
    assert_eq!(effects.query, [("hour".to_owned(), Some("8".to_owned()))]);
    let tags: Vec<_> = effects.tags.iter().map(|tag| (&*tag.name, &*tag.value)).collect();
    assert_eq!(tags, [("lane", "k1-2"), ("seen", "")]);
}

#[test]
fn deny_ends_a_script() {
    let denial = run("gate.tag(\"a\", \"b\"); gate.deny(429, \"slow-down\", \"Too much\"); gate.deny(\"other\");")
        .unwrap()
        .denial
        .unwrap();
    assert_eq!((denial.status, &*denial.code, denial.detail.as_deref()), (429, "slow-down", Some("Too much")));
    let caught = run("try { gate.deny(\"inner\"); } catch { gate.deny(\"outer\"); }").unwrap().denial.unwrap();
    assert_eq!(&*caught.code, "inner");
    let in_function = run("fn refuse(gate) { gate.deny(\"deep\"); } refuse(gate);").unwrap().denial.unwrap();
    assert_eq!(&*in_function.code, "deep");
    assert!(matches!(run("gate.deny(200, \"a\", \"b\");"), Err(ScriptError::Failed(_))));
}

#[test]
fn what_is_wrong_is_found_at_load_and_where_it_stands() {
    for (text, expected) in [
        ("let x = ;", "at 1:9 of the script"),
        ("if plan == 1 { }", "Undefined variable: plan, at 1:4 of the script"),
        ("let a = app.plann;", "no input `app.plann`, at 1:9 of the script (did you mean `app.plan`?)"),
        ("sleep(10)", "no function `sleep`"),
        ("gate.denny(\"a\")", "no function `denny`, at 1:6 of the script (did you mean deny()?)"),
        ("eval(\"1\")", "no function `eval`"),
        ("print(\"a\")", "no function `print`"),
        ("import \"a\" as b;", "of the script"),
        ("let f = Fn(\"x\"); f.call()", "no function `Fn`"),
        ("let b = blob(100000000);", "no function `blob`"),
        ("let s = path.pad(100000000, \"x\");", "no function `pad`"),
    ] {
        let errors = compile(text).expect_err(text);
        assert!(errors.contains(expected), "{text}\ngave {errors}");
    }
}

/// Scripts that never end, or take all memory, or all of the stack.
const HOSTILE: &[&str] = &[
    "loop { }",
    "while true { let x = 1; }",
    "for i in 0..9223372036854775807 { let x = i; }",
    "for i in range(0, 9223372036854775807) { let x = i; }",
    "let i = 0; do { i += 1; } while i >= 0;",
    "fn f(x) { f(x + 1) } f(0);",
    "fn f(x) { f(x) + f(x) } f(0);",
    "fn a(x) { b(x) } fn b(x) { a(x) } a(1);",
    "let s = \"x\"; loop { s += s; }",
    "let s = path; loop { s = `${s}${s}`; }",
    "let a = [1]; loop { a += a; }",
    "let a = []; loop { a.push(a); }",
    "let a = [1]; loop { a = [a, a, a]; }",
    "let a = []; loop { a.push(path); }",
    "let m = #{}; let i = 0; loop { m[`k${i}`] = m; i += 1; }",
    "let a = []; for i in 0..200 { a.push(path + i); } let b = []; loop { b.push(a); }",
    "let a = [1, 2, 3]; loop { a = a.map(|x| [x, x]); }",
    "let a = [1, 2, 3]; a.map(|x| { loop { } });",
    "let s = \"a,b\"; loop { let t = s.split(\",\"); s = s + \",\" + s; }",
    "loop { try { throw 1; } catch { } }",
    "try { loop { } } catch { loop { } }",
    "loop { gate.tag(\"a\", path); }",
    "loop { gate.charge(\"a\", 1); }",
    "let x = 2; loop { x = x * x; }",
    "let x = 2; loop { x **= 7; }",
    "switch 1 { 1 => { loop { } } }",
    "let s = \"x\"; loop { s += headers[\"x-b\"] + path; s = s.to_upper(); }",
    "let a = [3, 1]; loop { a += [a.len()]; a.reverse(); }",
];

#[test]
fn what_never_ends_is_cut() {
    let bounds = Bounds::default();
    let call = call();
    let input = call.input(Stage::Request);
    // The stack of a worker thread; a debug build uses the most of it.
    let worker = std::thread::Builder::new().stack_size(STACK);
    let deep = [
        format!("fn f(n) {{ {}f(n + 1){} }} f(0);", "1 + (".repeat(6), ")".repeat(6)),
        format!("fn f(n) {{ {}f(n + 1){} }} f(0);", "[".repeat(6), "]".repeat(6)),
        format!("fn f(n) {{ {} f(n + 1); {} }} f(0);", "if true { ".repeat(6), "}".repeat(6)),
        format!("fn f(n) {{ {}f(n + 1){} }} f(0);", "[1].map(|x| ".repeat(4), ")".repeat(4)),
    ];
    let check = move || {
        for text in HOSTILE.iter().copied().chain(deep.iter().map(String::as_str)) {
            let (interpreter, used) = Interpreter::counting(&bounds);
            let script = compile_with(text, &interpreter).unwrap_or_else(|errors| panic!("{text}: {errors}"));
            let outcome = script.run(&input, &TimeZone::UTC);
            assert!(outcome.is_err(), "{text} came to an end: {outcome:?}");
            let operations = used.load(Ordering::Relaxed);
            assert!(operations <= bounds.operations_max, "{text} took {operations} operations");
        }
    };
    std::thread::scope(|scope| worker.spawn_scoped(scope, check).unwrap().join().unwrap());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    /// No script, however its hostile pieces are put together, runs longer than its operations allow or keeps more than its
    /// bounds allow.
    #[test]
    fn no_script_runs_longer_than_its_operations(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 1..8),
        nested in proptest::bool::ANY,
    ) {
        let body = pieces.join(" ");
        let text = if nested {
            format!("fn f(a, s, n, gate, path) {{ {body} if n < 20 {{ f(a, s, n + 1, gate, path); }} }} f([1], \"x\", 0, gate, path);")
        } else {
            format!("let a = [1]; let s = \"x\"; let n = 0; {body}")
        };
        let bounds = Bounds { operations_max: 5_000, text_max: 1024, entries_max: 64, ..Bounds::default() };
        let (interpreter, used) = Interpreter::counting(&bounds);
        let call = call();
        if let Ok(script) = compile_with(&text, &interpreter) {
            let effects = script.run(&call.input(Stage::Request), &TimeZone::UTC).unwrap_or_default();
            let texts: usize = effects.tags.iter().map(|tag| tag.value.len()).sum();
            proptest::prop_assert!(texts <= 64 * 1024);
        }
        let operations = used.load(Ordering::Relaxed);
        proptest::prop_assert!(operations <= bounds.operations_max, "{} operations: {}", operations, text);
    }
}

const PIECES: &[&str] = &[
    "loop { n += 1; }",
    "while n < 1000000 { n += 1; a.push(n); }",
    "for i in 0..1000000 { s += \"y\"; }",
    "s += s;",
    "a += a;",
    "a.push(a);",
    "a = [a, a];",
    "a = a.map(|x| [x]);",
    "for i in 0..10 { a.push(s); }",
    "gate.tag(\"t\", s);",
    "try { throw s; } catch(e) { n += 1; }",
    "s = `${s}${path}`;",
    "a = s.split(\"\");",
    "if a.len() > 3 { a.pop(); }",
    "let m = #{ a: a, s: s };",
    "a = a.filter(|x| x != 1);",
    "n = n * 7 + 1;",
    "s = s.sub_string(0, 3);",
];

/// What a script costs. `cargo test --release -p business-gateway --lib what_a_script_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the measurement is printed")]
fn what_a_script_costs() {
    const ROUNDS: u32 = 20_000;
    let call = call();
    let input = call.input(Stage::Request);
    for text in [
        "if app.plan == \"free\" && method == \"POST\" { gate.tag(\"a\", \"b\"); }",
        "if headers[\"x-a\"] == \"1\" { gate.charge(\"writes\", 2); }",
        "loop { }",
    ] {
        let script = compile(text).unwrap();
        let rounds = if text.starts_with("loop") { 100 } else { ROUNDS };
        let began = gatehouse_shared::clock::now();
        for _ in 0..rounds {
            let _outcome = std::hint::black_box(script.run(std::hint::black_box(&input), &TimeZone::UTC));
        }
        println!("{text}: {:?}", gatehouse_shared::clock::now().saturating_duration_since(began) / rounds);
    }
}
