//! The plan of an aggregate for people: what is called, when, and what becomes of a failure.

use std::fmt::{self, Write as _};

use super::Aggregate;
use super::call::{Call, Piece};
use crate::store::catalog::Catalog;

/// The calls by stage: those of a stage wait only for those before it.
#[must_use]
pub fn stages(aggregate: &Aggregate) -> Vec<Vec<&Call>> {
    let mut stage_of = vec![None; aggregate.calls.len()];
    let mut stages: Vec<Vec<&Call>> = Vec::new();
    while stage_of.contains(&None) {
        let free = |call: &Call| call.after.iter().all(|before| stage_of.get(*before).is_some_and(Option::is_some));
        let calls = aggregate.calls.iter().enumerate().zip(&stage_of);
        let next = calls.filter(|((_, call), stage)| stage.is_none() && free(call)).map(|((index, _), _)| index);
        let next: Vec<usize> = next.collect();
        // There is always one: circles are refused at load.
        if next.is_empty() {
            break;
        }
        for index in &next {
            if let Some(stage) = stage_of.get_mut(*index) {
                *stage = Some(stages.len());
            }
        }
        stages.push(next.iter().filter_map(|index| aggregate.calls.get(*index)).collect());
    }
    stages
}

/// The plan.
///
/// # Errors
/// Never; text can always be written.
pub fn explain(aggregate: &Aggregate, catalog: &Catalog) -> Result<String, fmt::Error> {
    let mut text = String::new();
    let apis =
        catalog.apis.iter().filter(|api| api.target.aggregate().is_some_and(|other| other.name == aggregate.name));
    let apis: Vec<String> = apis.map(|api| format!("{} ({})", api.name, api.path)).collect();
    writeln!(text, "aggregate {}", aggregate.name)?;
    writeln!(text, "answers   {}", if apis.is_empty() { "no API".to_owned() } else { apis.join(", ") })?;
    let stages = stages(aggregate);
    writeln!(text, "calls     {} in {} stages", aggregate.calls.len(), stages.len())?;
    for (index, calls) in stages.iter().enumerate() {
        writeln!(text, "\nstage {}{}", index + 1, if calls.len() > 1 { ", at the same time" } else { "" })?;
        for call in calls {
            explain_call(&mut text, aggregate, call, catalog)?;
        }
    }
    let answer = match &aggregate.template {
        Some(_) => "made by the template",
        None => "the answers under their names",
    };
    writeln!(text, "\nanswer    {answer}")?;
    Ok(text)
}

fn explain_call(text: &mut String, aggregate: &Aggregate, call: &Call, catalog: &Catalog) -> fmt::Result {
    let mut path = String::new();
    for piece in &call.path {
        match piece {
            Piece::Literal(literal) => write!(path, "/{literal}")?,
            Piece::Parameter(_, given) | Piece::Rest(_, given) => write!(path, "/{{{}}}", given.expression.source())?,
        }
    }
    let queries = call.query.iter().map(|(name, given)| format!("{name}={{{}}}", given.expression.source()));
    let queries: Vec<String> = queries.collect();
    let separator = if queries.is_empty() { "" } else { "?" };
    writeln!(text, "  {}: {} {path}{separator}{}", call.name, call.method, queries.join("&"))?;
    let api = catalog.apis.get(call.api_index);
    let by = match api.map(|api| (api.target.service(), api.target.aggregate())) {
        Some((Some(service), _)) => format!(", service {}", service.name),
        Some((None, Some(inner))) => format!(", aggregate {}", inner.name),
        _ => String::new(),
    };
    writeln!(text, "    api     {}{by}", call.api)?;
    let after = call.after.iter().filter_map(|index| aggregate.calls.get(*index)).map(|call| &*call.name);
    let after: Vec<&str> = after.collect();
    if !after.is_empty() {
        writeln!(text, "    after   {}", after.join(", "))?;
    }
    if let Some(when) = &call.when {
        writeln!(text, "    when    {}", when.source())?;
    }
    writeln!(text, "    need    {}", call.need.as_str())?;
    if let Some(timeout) = call.timeout {
        writeln!(text, "    timeout {timeout:?}")?;
    }
    Ok(())
}
