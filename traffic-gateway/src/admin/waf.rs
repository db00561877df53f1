//! `GET /waf/rules`: the rules of the running generation and what they have done since they were compiled.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::policy::Policy;

/// The methods that a path takes; `None`: there is no such path.
pub(super) fn methods(path: &str) -> Option<&'static str> {
    (path == "/waf/rules").then_some("GET, HEAD")
}

/// Every rule. Chains are one rule; `nanoseconds` is missing where time is not measured. Runs, and
/// matches of rules with `nolog`, are estimated from one request in 64.
pub(super) fn rules(policy: &Policy) -> Value {
    let Some(waf) = policy.admission.waf() else { return json!({ "inspected": 0, "rules": [] }) };
    let rules = waf.rules().rules().zip(waf.rules().costs()).map(|(rule, cost)| {
        let mut shown = json!({
            "id": rule.id,
            "phase": rule.phase,
            "message": rule.message,
            "file": &*rule.source,
            "line": rule.position.line,
            "paranoia": rule.paranoia,
            "active": rule.active,
            "runs": cost.runs,
            "matches": cost.hits,
        });
        if let Some(shown) = shown.as_object_mut().filter(|_| cost.nanoseconds > 0) {
            shown.insert("nanoseconds".to_owned(), cost.nanoseconds.into());
        }
        shown
    });
    let rules: Vec<Value> = rules.collect();
    json!({ "inspected": waf.totals().inspected.load(Ordering::Relaxed), "rules": rules })
}
