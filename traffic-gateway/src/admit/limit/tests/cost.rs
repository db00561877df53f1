//! What limits cost a request.

use super::*;

/// Twenty limits that cover every request, by four different keys.
fn twenty() -> String {
    let keys = ["[\"client\"]", "[\"client\", \"path\"]", "[\"route\"]", "[]"];
    let limit = |n: usize| {
        let algorithm = if n.is_multiple_of(2) { "token_bucket" } else { "sliding_window" };
        let key = keys[n % keys.len()];
        format!("[[limit]]\nname = \"l{n}\"\nkey = {key}\nrate = \"1000000000/1s\"\nalgorithm = \"{algorithm}\"\n")
    };
    (0..20).map(limit).collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is the point")]
#[ignore = "measures; says something only with optimisation"]
fn twenty_limits_cost_little() {
    const ROUNDS: u32 = 200_000;
    let five = "[[limit]]\nname = \"other\"\nkey = [\"client\"]\nrate = \"5/1s\"\nmatch = { paths = [\"/other/*\"] }\n";
    for (what, text) in [("one limit that does not cover it", five.to_owned()), ("20 limits", twenty())] {
        for told in [false, true] {
            let gate = Gate::new(&format!("[limits]\nheaders = {told}\n{text}"));
            let sample = Sample::get("/a/b?c=d", &[("User-Agent", "curl/8")]).routed();
            let start = clock::now();
            for _ in 0..ROUNDS {
                let view = std::hint::black_box(&sample).view();
                assert_eq!(gate.limits.check(&view, start), Verdict::Pass);
                let receipt = view.take_receipt();
                std::hint::black_box(gate.limits.fields(&receipt));
            }
            println!("{what}, headers {told}: {:?}", (clock::now() - start) / ROUNDS);
        }
    }
}
