//! docs/RULES_REFERENCE.md: every name of the language with what it means here, made from the same tables that the parser
//! reads. `meaning` holds the sentences; a name without one fails its test.

mod meaning;

use crate::transform::Transformation;

use super::ast::{OperatorKind, Variable};
use super::names::{self, Unsupported};
use super::{action, control, directive};

const INTRODUCTION: &str = "# Rules: reference\n\n\
    Generated from the code; do not edit. How rules are written: [Rules](RULES.md).\n\n\
    A name that is on this page in none of the tables is an error at load, with its place. Names are compared without regard \
    to case.\n";

/// The page.
#[must_use]
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    directives(&mut page);
    variables(&mut page);
    operators(&mut page);
    transformations(&mut page);
    actions(&mut page);
    controls(&mut page);
    page
}

fn directives(page: &mut String) {
    table(
        page,
        "## Directives",
        "directive",
        directive::DIRECTIVES.iter().map(|name| (*name, meaning::directive(name))),
    );
    page.push_str(
        "\n### Accepted without effect\n\nTheir work is done elsewhere; each gives a warning. `SecXmlExternalEntity` is an error unless it is \
         `Off`; `SecUploadKeepFiles Off` is accepted, too.\n\n",
    );
    let ignored: Vec<String> = names::IGNORED.iter().map(|name| format!("`{name}`")).collect();
    page.push_str(&ignored.join(", "));
    page.push('\n');
    refused(page, "directive", names::DIRECTIVES);
}

fn variables(page: &mut String) {
    let known = Variable::ALL.iter().filter(|variable| **variable != Variable::Env);
    let known = known.map(|variable| (variable.name(), meaning::variable(*variable)));
    page.push_str(
        "\n## Variables\n\n`NAME:member` chooses one member of a collection, `NAME:/regex/` some; `!NAME:member` leaves some out, `&NAME` counts. \
         Collections are marked with *.\n\n| variable | |\n|---|---|\n",
    );
    for (name, means) in known {
        let star = if Variable::find(name).is_some_and(Variable::is_collection) { " *" } else { "" };
        row(page, &format!("`{name}`{star}"), means);
    }
    refused(page, "variable", names::VARIABLES);
    row(page, "`ENV`", meaning::variable(Variable::Env));
}

fn operators(page: &mut String) {
    page.push_str("\n## Operators\n\n`!@name` matches where `@name` does not. An operator without a name is `@rx`. `@pmf` is `@pmFromFile`, `@ipMatchF` is `@ipMatchFromFile`.\n\n| operator | matches |\n|---|---|\n");
    let (field, own): (Vec<OperatorKind>, Vec<OperatorKind>) =
        OperatorKind::ALL.iter().copied().partition(|kind| *kind < OperatorKind::DetectCommand);
    for kind in field {
        row(page, &format!("`@{}`", kind.name()), meaning::operator(kind));
    }
    page.push_str(
        "\n### Gatehouse's own\n\nEach judges the value in every form it can be decoded to, so its rule needs no transformations. Its argument is \
         the least grade that counts: `certain`, or `likely`, which is also what none means. `%{TX.0}` is the evidence (with `capture`).\n\n\
         | operator | matches |\n|---|---|\n",
    );
    for kind in own {
        row(page, &format!("`@{}`", kind.name()), meaning::operator(kind));
    }
    refused(page, "operator", names::OPERATORS);
}

fn transformations(page: &mut String) {
    page.push_str(
        "\n## Transformations\n\n`normalisePath` and `normalisePathWin` are known as well.\n\n| `t:` | |\n|---|---|\n",
    );
    row(page, "`none`", "Forgets the transformations before it.");
    for known in Transformation::ALL {
        row(page, &format!("`{}`", known.name()), known.meaning());
    }
}

fn actions(page: &mut String) {
    table(page, "## Actions", "action", action::ACTIONS.iter().map(|name| (*name, meaning::action(name))));
    refused(page, "action", names::ACTIONS);
}

fn controls(page: &mut String) {
    let flags = control::FLAGS.iter().map(|name| (*name, meaning::control(name)));
    table(page, "## `ctl`\n\nFor the rest of this transaction: `ctl:FLAG=VALUE`.", "flag", flags);
    refused(page, "flag", names::CONTROLS);
}

fn refused(page: &mut String, what: &str, names: &[Unsupported]) {
    page.push_str(&format!("\n### Refused\n\n| {what} | what to do instead |\n|---|---|\n"));
    for (name, instead) in names {
        row(page, &format!("`{name}`"), instead);
    }
}

fn table<'a>(page: &mut String, heading: &str, what: &str, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    page.push_str(&format!("\n{heading}\n\n| {what} | |\n|---|---|\n"));
    for (name, means) in rows {
        row(page, &format!("`{name}`"), means);
    }
}

/// A row; a bar would end its cell.
fn row(page: &mut String, name: &str, means: &str) {
    page.push_str(&format!("| {} | {} |\n", name, means.replace('|', "\\|")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_explained() {
        let directives = directive::DIRECTIVES.iter().map(|name| (*name, meaning::directive(name)));
        let actions = action::ACTIONS.iter().map(|name| (*name, meaning::action(name)));
        let flags = control::FLAGS.iter().map(|name| (*name, meaning::control(name)));
        let page = markdown();
        for (name, means) in directives.chain(actions).chain(flags) {
            assert!(!means.is_empty(), "{name}");
            assert!(page.contains(&format!("| `{name}` | ")), "{name}");
        }
        for name in Variable::ALL.iter().map(|known| known.name()).chain(names::IGNORED.iter().copied()) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        assert!(OperatorKind::ALL.iter().all(|kind| page.contains(&format!("| `@{}` | ", kind.name()))));
        assert!(Transformation::ALL.iter().all(|known| page.contains(&format!("| `{}` | ", known.name()))));
    }

    #[test]
    fn every_row_has_two_cells() {
        for line in markdown().lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 3, "{line}");
        }
    }
}
