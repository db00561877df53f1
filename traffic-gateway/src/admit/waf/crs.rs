//! `crs`: the OWASP Core Rule Set as its release was unpacked, or as a distribution installs it.
//!
//! Nothing of it is copied or changed. What is found here are its files, in the order in which they have to be read; what
//! `[waf]` says about it becomes a rule of its own before its `crs-setup.conf`, which so has the last word.

use std::path::Path;

use gatehouse_shared::config::{ConfigErrors, Positions};
use gatehouse_waf::seclang::files::Files;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{config::Config, files::RuleFiles};

/// The name by which the rule with what `[waf]` says is read and shown.
pub(super) const SETTINGS: &str = "[waf.crs_variables]";

/// Its number: the one before those of the rule set.
const SETTINGS_ID: u32 = 899_999;

/// The file that a release is configured with, and the one it comes with.
const SETUPS: [&str; 2] = ["crs-setup.conf", "crs-setup.conf.example"];

/// The file by which Debian's package says what is read, in which order.
const PACKAGED: &str = "owasp-crs.load";

/// Plugins by the order in which their files are read: before the rules, and behind them.
const PLUGINS_BEFORE: [&str; 2] = ["-config.conf", "-before.conf"];
const PLUGINS_AFTER: [&str; 1] = ["-after.conf"];

/// The value of a variable of the rule set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

/// What is wrong with the keys for the rule set.
pub(super) fn check(config: &Config, errors: &mut ConfigErrors, positions: &Positions) {
    if config.crs.is_none() {
        let given = [
            (config.early_blocking, "early_blocking"),
            (config.reporting_level.is_some(), "reporting_level"),
            (!config.rules_after.is_empty(), "rules_after"),
            (!config.crs_variables.is_empty(), "crs_variables"),
        ];
        for (_, key) in given.into_iter().filter(|(is_given, _)| *is_given) {
            let message = format!("{key} says something about the Core Rule Set, and there is none");
            let remedy = "name its directory with crs, or remove the key".to_owned();
            errors.push(positions.error(&format!("waf.{key}"), message, Some(remedy)));
        }
    }
    if config.reporting_level.is_some_and(|level| level > 5) {
        errors.push(positions.error("waf.reporting_level", "reporting_level must be 0 to 5", None));
    }
    for (name, value) in &config.crs_variables {
        let wrong = if !is_name(name) {
            "names of variables have letters, digits, '_', '-' and '.'"
        } else if matches!(value, Value::Text(text) if !is_plain(text)) {
            "a value holds no quotes, backslashes, control characters and references"
        } else {
            continue;
        };
        let remedy = "set it with setvar in crs-setup.conf".to_owned();
        errors.push(positions.error(&format!("waf.crs_variables.{name}"), wrong, Some(remedy)));
    }
}

fn is_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_good)
}

fn is_plain(text: &str) -> bool {
    !text.contains(['\'', '"', '\\']) && !text.contains("%{") && !text.contains(char::is_control)
}

/// The rule that sets what `[waf]` says.
pub(super) fn settings(config: &Config) -> Option<String> {
    config.crs.as_ref()?;
    let early = config.early_blocking.then(|| ("early_blocking".to_owned(), "1".to_owned()));
    let level = config.reporting_level.map(|level| ("reporting_level".to_owned(), level.to_string()));
    let variables = config.crs_variables.iter().map(|(name, value)| {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text.clone(),
        };
        (name.clone(), value)
    });
    let set: Vec<_> = early.into_iter().chain(level).chain(variables).collect();
    if set.is_empty() {
        return None;
    }
    let set = set.iter().map(|(name, value)| format!(",setvar:'tx.{name}={value}'"));
    Some(format!("SecAction \"id:{SETTINGS_ID},phase:1,pass,nolog,t:none{}\"\n", set.collect::<String>()))
}

/// All files of rules in the order in which they are read.
///
/// # Errors
///
/// There is no rule set where it should be.
pub(super) fn paths(config: &Config, files: &RuleFiles<'_>) -> Result<Vec<String>, String> {
    let mut paths = config.rules.clone();
    let Some(directory) = &config.crs else { return Ok(paths) };
    if files.has_text() {
        paths.push(SETTINGS.to_owned());
    }
    let root = Path::new(directory);
    let within = |name: &str| root.join(name).display().to_string();
    let names = files.names(root).map_err(|error| format!("cannot read {directory}: {error}"))?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if let Some(setup) = SETUPS.into_iter().find(|setup| has(setup)) {
        // Without plugins there is no such directory, or nothing but explanations is in it.
        let plugins = files.names(&root.join("plugins")).unwrap_or_default();
        let patterns = |endings: &[&str]| {
            let with = |ending: &&&str| plugins.iter().any(|name| name.ends_with(**ending));
            let patterns = endings.iter().filter(with).map(|ending| within(&format!("plugins/*{ending}")));
            patterns.collect::<Vec<_>>()
        };
        paths.push(within(setup));
        paths.extend(patterns(&PLUGINS_BEFORE));
        paths.push(within("rules/*.conf"));
        paths.extend(patterns(&PLUGINS_AFTER));
    } else if has(PACKAGED) {
        paths.push(within(PACKAGED));
    } else {
        return Err(format!(
            "there is no Core Rule Set in {directory}: neither {} nor {PACKAGED}",
            SETUPS.join(" nor ")
        ));
    }
    paths.extend(config.rules_after.iter().cloned());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gatehouse_shared::config::Sources;

    use super::*;

    fn config(directory: &str) -> Config {
        Config {
            crs: Some(directory.to_owned()),
            rules: vec!["own/*.conf".to_owned()],
            rules_after: vec!["after.conf".to_owned()],
            ..Config::default()
        }
    }

    /// The files that are read when these are there.
    fn found(there: &[&str], config: &Config) -> Result<Vec<String>, String> {
        let root = tempfile::tempdir().unwrap();
        for name in there {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "# Nothing.\n").unwrap();
        }
        let mut sources = Sources::new(root.path());
        paths(config, &RuleFiles::new(&mut sources, settings(config)))
    }

    #[test]
    fn a_release_is_read_in_its_order_between_the_own_rules() {
        let there =
            ["crs/crs-setup.conf.example", "crs/rules/a.conf", "crs/plugins/x-before.conf", "crs/plugins/x-after.conf"];
        let with = ["crs/plugins/*-before.conf", "crs/rules/*.conf", "crs/plugins/*-after.conf", "after.conf"];
        let mut expected = vec!["own/*.conf", "crs/crs-setup.conf.example"];
        expected.extend(with);
        assert_eq!(found(&there, &config("crs")).unwrap(), expected);
        let mut there = there.to_vec();
        there.extend(["crs/crs-setup.conf", "crs/plugins/x-config.conf", "crs/plugins/README.md"]);
        let mut expected = vec!["own/*.conf", "crs/crs-setup.conf", "crs/plugins/*-config.conf"];
        expected.extend(with);
        assert_eq!(found(&there, &config("crs")).unwrap(), expected);
    }

    #[test]
    fn a_package_says_itself_what_is_read() {
        let read = found(&["crs/owasp-crs.load", "crs/rules/a.conf"], &config("crs"));
        assert_eq!(read.unwrap(), ["own/*.conf", "crs/owasp-crs.load", "after.conf"]);
    }

    #[test]
    fn a_directory_without_a_rule_set_is_an_error() {
        let error = found(&["crs/rules/a.conf"], &config("crs")).unwrap_err();
        let expected =
            "there is no Core Rule Set in crs: neither crs-setup.conf nor crs-setup.conf.example nor owasp-crs.load";
        assert_eq!(error, expected);
        assert!(found(&[], &config("nowhere")).unwrap_err().starts_with("cannot read nowhere: "));
    }

    #[test]
    fn what_the_configuration_says_is_a_rule_before_the_setup() {
        let mut config = config("crs");
        assert_eq!(settings(&config), None);
        config.early_blocking = true;
        config.reporting_level = Some(2);
        config.crs_variables.insert("max_num_args".to_owned(), Value::Number(255));
        config.crs_variables.insert("allowed_methods".to_owned(), Value::Text("GET PUT".to_owned()));
        let expected = "SecAction \"id:899999,phase:1,pass,nolog,t:none,setvar:'tx.early_blocking=1',\
                        setvar:'tx.reporting_level=2',setvar:'tx.allowed_methods=GET PUT',setvar:'tx.max_num_args=255'\"\n";
        assert_eq!(settings(&config).unwrap(), expected);
        let there = ["crs/crs-setup.conf", "crs/rules/a.conf"];
        let read = found(&there, &config).unwrap();
        assert_eq!(read, ["own/*.conf", SETTINGS, "crs/crs-setup.conf", "crs/rules/*.conf", "after.conf"]);
    }
}
