//! Aggregates whose calls are answered by aggregates: how deep, how many calls that makes, and that none contains itself.

use gatehouse_shared::config::{ConfigErrors, Positions};

use super::config::{Bounds, Config};
use crate::store::catalog::CatalogConfig;

/// Checks every aggregate of a catalog.
///
/// # Errors
/// Aggregates that contain themselves, are too deep, or make too many calls.
pub(super) fn check(catalog: &CatalogConfig, positions: &Positions, bounds: &Bounds) -> Result<(), ConfigErrors> {
    let mut errors = ConfigErrors::new();
    for (index, aggregate) in catalog.aggregate.iter().enumerate() {
        let mut refuse = |message: String, remedy: String| {
            errors.push(positions.error(&format!("aggregate[{index}].call"), message, Some(remedy)));
        };
        match size(catalog, aggregate, &mut Vec::new(), bounds) {
            // Named once, at the aggregate where the circle begins.
            Err(TooMuch::Circle(way)) if way.first().is_some_and(|first| *first == aggregate.name) => {
                let names = way.chunks(2).map(|pair| pair.join(" → API "));
                let names: Vec<String> = names.collect();
                let message = format!("an aggregate that contains itself: {} → {}", names.join(" → "), aggregate.name);
                refuse(message, "let one of these calls go to another API".to_owned());
            }
            Err(TooMuch::Circle(_)) => {}
            Err(TooMuch::Deep) => {
                let message = format!("more than {} aggregates inside of one another", bounds.nesting);
                refuse(
                    message,
                    "call the services' own APIs, or raise aggregate.nesting_max in business.toml".to_owned(),
                );
            }
            Ok(calls) if calls > bounds.calls => {
                let message = format!("{calls} calls, with those of aggregates inside; at most {}", bounds.calls);
                refuse(message, "make fewer calls, or raise aggregate.calls_max in business.toml".to_owned());
            }
            Ok(_) => {}
        }
    }
    errors.into_result(())
}

enum TooMuch {
    /// Aggregates and APIs by turns, beginning with an aggregate.
    Circle(Vec<String>),
    Deep,
}

/// The calls to services that an aggregate makes.
fn size(catalog: &CatalogConfig, aggregate: &Config, way: &mut Vec<String>, bounds: &Bounds) -> Result<usize, TooMuch> {
    // In `way` aggregates and APIs take turns, and one name may be of both.
    if let Some(begin) = way.iter().step_by(2).position(|name| *name == aggregate.name) {
        return Err(TooMuch::Circle(way.split_off(begin * 2)));
    }
    if way.len() / 2 >= bounds.nesting {
        // Only a circle is worse, so it is looked for a little further.
        if way.len() / 2 >= catalog.aggregate.len().min(64) {
            return Err(TooMuch::Deep);
        }
    }
    let mut sum = 0_usize;
    for call in &aggregate.call {
        let api = catalog.api.iter().find(|api| api.name == call.api);
        let inner = api.and_then(|api| api.aggregate.as_ref());
        let inner = inner.and_then(|name| catalog.aggregate.iter().find(|aggregate| aggregate.name == *name));
        let Some(inner) = inner else {
            sum = sum.saturating_add(1);
            continue;
        };
        way.extend([aggregate.name.clone(), call.api.clone()]);
        let calls = size(catalog, inner, way, bounds)?;
        way.truncate(way.len().saturating_sub(2));
        sum = sum.saturating_add(calls);
        if sum > bounds.calls {
            break;
        }
    }
    if way.len() / 2 >= bounds.nesting {
        return Err(TooMuch::Deep);
    }
    Ok(sum)
}
