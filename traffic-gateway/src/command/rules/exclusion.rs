//! Exclusions as SecLang text.
//!
//! Names of arguments and paths come from clients, and what is written here is loaded as rules. So only letters, digits and a few
//! marks are written as they are; a name with anything else becomes a regular expression in which every other byte is
//! `\xhh`. What was written is read again, and left out when it does not say what it should.

use gatehouse_waf::seclang::ast::{ActionKind, Control, DirectiveKind, Program, Selection, TargetKind};
use gatehouse_waf::seclang::{self, files::Memory};

/// The engine names values in this many bytes at most; of longer names the rest is unknown.
const NAME_MAX: usize = gatehouse_waf::transaction::MATCHED_BYTES;

/// Where an exclusion counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// For requests of this decoded path, by a rule of this number.
    Path(&'a [u8], u32),
    /// For every request.
    Everywhere,
}

/// The directive that takes `target` out of the sight of a rule; none where the name cannot be written exactly.
pub(super) fn directive(rule: u32, target: &str, scope: Scope<'_>) -> Option<String> {
    let target = written_target(target)?;
    let text = match scope {
        Scope::Everywhere => format!("SecRuleUpdateTargetById {rule} \"!{target}\"\n"),
        Scope::Path(path, id) => format!(
            "SecRule REQUEST_FILENAME \"{}\" \\\n    \"id:{id},phase:1,pass,nolog,t:none,ctl:ruleRemoveTargetById={rule};{target}\"\n",
            written_path(path)?
        ),
    };
    let (program, _) = seclang::parse_text(&Memory::default(), "exclusion", &text).ok()?;
    says(&program, rule, scope).then_some(text)
}

/// Whether a program is one exclusion of this rule and nothing else.
fn says(program: &Program, rule: u32, scope: Scope<'_>) -> bool {
    let is_of_rule = |selection: &Selection| *selection == Selection::Ids(vec![rule..=rule]);
    let [directive] = program.directives.as_slice() else { return false };
    match (&directive.kind, scope) {
        (DirectiveKind::UpdateTarget(selection, targets), Scope::Everywhere) => {
            is_of_rule(selection) && matches!(targets.as_slice(), [target] if target.kind == TargetKind::Exclude)
        }
        (DirectiveKind::Rule(written), Scope::Path(_, id)) => {
            let mut controls = written.actions.iter().filter_map(|action| match &action.kind {
                ActionKind::Control(control) => Some(control),
                _ => None,
            });
            let control = controls.next();
            let removes = matches!(control, Some(Control::RemoveTarget(selection, _)) if is_of_rule(selection));
            removes && controls.next().is_none() && written.actions.iter().any(|a| a.kind == ActionKind::Id(id))
        }
        _ => false,
    }
}

/// A target such as `ARGS:name`.
fn written_target(target: &str) -> Option<String> {
    let Some((variable, name)) = target.split_once(':') else {
        return is_variable(target).then(|| target.to_owned());
    };
    if !is_variable(variable) || name.is_empty() || target.len() >= NAME_MAX || name.contains('\u{fffd}') {
        return None;
    }
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    Some(if is_plain { target.to_owned() } else { format!("{variable}:/^{}$/", expression(name.as_bytes())) })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// The operator that compares with a decoded path.
fn written_path(path: &[u8]) -> Option<String> {
    if path.is_empty() || path.len() >= NAME_MAX {
        return None;
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(byte);
    match str::from_utf8(path) {
        Ok(text) if path.iter().all(is_plain) => Some(format!("@streq {text}")),
        _ => Some(format!("@rx ^{}$", expression(path))),
    }
}

/// A regular expression for exactly these bytes.
fn expression(bytes: &[u8]) -> String {
    let mut expression = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => expression.push(char::from(*byte)),
            byte => expression.push_str(&format!("\\x{byte:02x}")),
        }
    }
    expression
}

/// A comment: one line, whatever the text holds, that does not go on in the next one for any reader.
pub(super) fn comment(text: &str) -> String {
    let shown = super::printable(text);
    format!("# {}\n", shown.trim_end_matches(['\\', ' ']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::*;

    #[test]
    fn plain_names_are_written_as_they_are() {
        assert_eq!(
            directive(942_100, "ARGS:q", Scope::Everywhere).unwrap(),
            "SecRuleUpdateTargetById 942100 \"!ARGS:q\"\n"
        );
        assert_eq!(
            directive(7, "REQUEST_COOKIES:a.b[c]", Scope::Path(b"/shop/x.php", 90_000)).unwrap(),
            "SecRule REQUEST_FILENAME \"@streq /shop/x.php\" \\\n    \
             \"id:90000,phase:1,pass,nolog,t:none,ctl:ruleRemoveTargetById=7;REQUEST_COOKIES:a.b[c]\"\n"
        );
        assert_eq!(
            directive(7, "REQUEST_BODY", Scope::Everywhere).unwrap(),
            "SecRuleUpdateTargetById 7 \"!REQUEST_BODY\"\n"
        );
    }

    #[test]
    fn other_names_are_written_as_expressions() {
        let text = directive(7, "ARGS:a b|\"'", Scope::Path("/ä x".as_bytes(), 9)).unwrap();
        assert!(text.contains(r#""@rx ^\x2f\xc3\xa4\x20x$""#), "{text}");
        assert!(text.ends_with("ctl:ruleRemoveTargetById=7;ARGS:/^a\\x20b\\x7c\\x22\\x27$/\"\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_named_is_left_out() {
        for target in ["", "ARGS:", "args\n:x", "ARGS:\u{fffd}", "XML", "NO_SUCH:x"] {
            assert_eq!(directive(7, target, Scope::Everywhere), None, "{target:?}");
        }
        let long = format!("ARGS:{}", "x".repeat(NAME_MAX));
        assert_eq!(directive(7, &long, Scope::Everywhere), None);
        assert_eq!(directive(7, "ARGS:x", Scope::Path(&[b'/'; NAME_MAX], 1)), None);
    }

    #[test]
    fn a_comment_is_one_line() {
        assert_eq!(comment("a\nSecRuleEngine Off\\ \\"), "# a\\nSecRuleEngine Off\n");
    }

    proptest! {
        #[test]
        fn no_name_and_no_path_says_anything_else(name in any::<String>(), path in prop::collection::vec(any::<u8>(), 0..40)) {
            let target = format!("ARGS:{name}");
            for scope in [Scope::Everywhere, Scope::Path(&path, 90_000)] {
                if let Some(text) = directive(7, &target, scope) {
                    let (program, _) = seclang::parse_text(&Memory::default(), "x", &text).unwrap();
                    prop_assert!(says(&program, 7, scope), "{text}");
                }
            }
            let (program, _) = seclang::parse_text(&Memory::default(), "x", &comment(&name)).unwrap();
            prop_assert!(program.directives.is_empty());
        }
    }
}
