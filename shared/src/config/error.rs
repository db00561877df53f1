//! Findings in configuration files, and the collection that is shown to the operator.

use std::fmt;

/// One finding.
///
/// Displayed as `edge.toml:12:5: unknown key "adress" in [process.listener] (did you mean "address"?)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The file, relative to the configuration directory.
    pub file: String,
    /// Line, from 1; 0 when the finding concerns the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 when the finding concerns the file as a whole.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, shown in parentheses after the message.
    pub remedy: Option<String>,
}

impl ConfigError {
    /// A finding about a file as a whole, such as one that cannot be read.
    #[must_use]
    pub fn about_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, message: message.into(), remedy: None }
    }

    /// The same finding with advice.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.message)?,
        }
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration. Displayed one finding a line, by file, line and column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// No findings yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one finding.
    pub fn push(&mut self, error: ConfigError) {
        self.0.push(error);
    }

    /// Adds the findings of another part.
    pub fn extend(&mut self, other: ConfigErrors) {
        self.0.extend(other.0);
    }

    /// Keeps the value of a part that succeeded, or its findings.
    pub fn collect<T>(&mut self, part: Result<T, ConfigErrors>) -> Option<T> {
        match part {
            Ok(value) => Some(value),
            Err(errors) => {
                self.extend(errors);
                None
            }
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many findings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The findings by file, line and column, without duplicates.
    #[must_use]
    pub fn sorted(&self) -> Vec<&ConfigError> {
        let mut findings: Vec<_> = self.0.iter().collect();
        findings.sort();
        findings.dedup();
        findings
    }

    /// The value when nothing was found.
    ///
    /// # Errors
    /// All findings when there are any.
    pub fn into_result<T>(self, value: T) -> Result<T, ConfigErrors> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.sorted().into_iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, message: &str) -> ConfigError {
        ConfigError { file: "edge.toml".into(), line, column: 5, message: message.into(), remedy: None }
    }

    #[test]
    fn shows_one_finding_a_line_in_file_order() {
        let mut errors = ConfigErrors::new();
        errors.push(at(12, "second").with_remedy("do this"));
        errors.push(at(3, "first"));
        errors.push(at(3, "first"));
        errors.push(ConfigError::about_file("a.pem", "not found"));
        assert_eq!(errors.to_string(), "a.pem: not found\nedge.toml:3:5: first\nedge.toml:12:5: second (do this)");
    }

    #[test]
    fn no_findings_give_the_value() {
        assert_eq!(ConfigErrors::new().into_result(7), Ok(7));
        assert!(ConfigErrors::from(at(1, "x")).into_result(7).is_err());
    }
}
