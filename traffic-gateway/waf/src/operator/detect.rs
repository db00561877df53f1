//! The operators that judge a value with a grammar: `@detectSQLi`, `@detectXSS` and Gatehouse's own.
//!
//! Gatehouse's own judge every form a value can be decoded to, so their rules need no transformations. Their argument is
//! the least grade that counts, `likely` or `certain`; none is `likely`.

use super::{Captures, OperatorError};
use crate::decode::{Scratch, views};
use crate::detect::{Grade, KINDS, find_all, find_in};
use crate::seclang::ast::OperatorKind;
use crate::{sqli, xss};

/// Bytes of evidence that are captured.
const EVIDENCE: usize = 256;

/// A grammar, and how sure it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Detector {
    pub(crate) kind: OperatorKind,
    pub(crate) grade: Grade,
}

impl Detector {
    pub(super) fn compile(kind: OperatorKind, argument: &str) -> Result<Self, OperatorError> {
        let graded = KINDS.contains(&kind);
        let grade = if graded { Grade::find(argument) } else { Some(Grade::Likely) };
        let Some(grade) = grade else { return Err(OperatorError::Grade(kind.name())) };
        Ok(Self { kind, grade })
    }

    /// Whether the grammar finds an attack in `value`. The only group is the evidence; for `@detectSQLi`, the fingerprint.
    pub(super) fn matches(self, value: &[u8], captures: &mut Captures) -> bool {
        match self.kind {
            OperatorKind::DetectSqli => match sqli::detect(value) {
                Some(fingerprint) => {
                    captures.set_text(fingerprint.as_str().as_bytes());
                    true
                }
                None => false,
            },
            OperatorKind::DetectXss => xss::detect(value),
            _ => views(value, &mut Scratch::default(), &mut |view| {
                let found = find_in(self.kind, view);
                let Some(found) = found.filter(|found| found.grade >= self.grade) else { return false };
                let evidence = view.bytes.get(found.at).unwrap_or(view.bytes);
                captures.set_text(evidence.get(..EVIDENCE).unwrap_or(evidence));
                true
            }),
        }
    }
}

/// What all grammars say of one value, in whatever form: two bits for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged(u64);

impl Judged {
    /// Asks all of Gatehouse's own grammars.
    pub(crate) fn of(value: &[u8], scratch: &mut Scratch) -> Self {
        let mut judged = Self::default();
        views(value, scratch, &mut |view| {
            find_all(view, |kind, found| judged.add(kind, found.grade));
            false
        });
        judged
    }

    fn add(&mut self, kind: OperatorKind, grade: Grade) {
        self.0 |= Self::bits(kind, Grade::Likely);
        if grade == Grade::Certain {
            self.0 |= Self::bits(kind, Grade::Certain);
        }
    }

    /// Whether a grammar found something, and was sure enough.
    pub(crate) const fn says(self, detector: Detector) -> bool {
        self.0 & Self::bits(detector.kind, detector.grade) != 0
    }

    const fn bits(kind: OperatorKind, grade: Grade) -> u64 {
        let place = (kind as u32).saturating_sub(OperatorKind::DetectCommand as u32) * 2;
        match grade {
            Grade::Likely => 1 << place,
            Grade::Certain => 2 << place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Detector, Judged};
    use crate::decode::Scratch;
    use crate::detect::{Grade, KINDS};
    use crate::operator::Captures;

    #[test]
    fn all_grammars_together_say_what_each_says() {
        for value in [
            "; cat /etc/passwd",
            "1' or '1'='1",
            "%253Cscript%253Ealert(1)",
            "${jndi:ldap://x}",
            "{{7*7}}",
            "hello",
            "../../etc/passwd",
        ] {
            let judged = Judged::of(value.as_bytes(), &mut Scratch::default());
            for kind in KINDS {
                for grade in [Grade::Likely, Grade::Certain] {
                    let detector = Detector { kind, grade };
                    let alone = detector.matches(value.as_bytes(), &mut Captures::wanted());
                    assert_eq!(judged.says(detector), alone, "{value} {kind:?} {grade:?}");
                }
            }
        }
    }
}
