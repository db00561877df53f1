//! Every form of a value under every grammar, in one go.

use super::{Classes, Finding, Grade, KINDS, find_among};
use crate::decode::{Layers, Scratch, View, views};
use crate::seclang::ast::OperatorKind;

/// Below this length a value of letters and digits hides nothing.
const SHORT: usize = 12;

/// A finding and how its bytes were hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was found; its range is one of the decoded form.
    pub finding: Finding,
    /// What was undone to get to that form.
    pub layers: Layers,
}

/// What the grammars found in a value: for each the best finding.
///
/// A value is examined once, whatever number of rules asks about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    best: [Option<Evidence>; KINDS.len()],
}

impl Findings {
    /// What a grammar found, of at least this grade.
    #[must_use]
    pub fn of(&self, kind: OperatorKind, least: Grade) -> Option<&Evidence> {
        let place = KINDS.iter().position(|known| *known == kind)?;
        self.best.get(place)?.as_ref().filter(|evidence| evidence.finding.grade >= least)
    }

    /// Whether no grammar found anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.best.iter().all(Option::is_none)
    }

    fn judge(&mut self, view: View<'_>) {
        let classes = Classes::of(view.bytes);
        for (place, kind) in self.best.iter_mut().zip(KINDS) {
            let kept = place.as_ref().map(|evidence| evidence.finding.grade);
            if kept == Some(Grade::Certain) {
                continue;
            }
            let Some(finding) = find_among(kind, view.bytes, classes) else { continue };
            let finding = weigh(kind, view.layers, finding);
            if kept.is_none_or(|kept| kept < finding.grade) {
                *place = Some(Evidence { finding, layers: view.layers });
            }
        }
    }
}

/// Examines every form of a value.
#[must_use]
pub fn examine(value: &[u8], scratch: &mut Scratch) -> Findings {
    let mut findings = Findings::default();
    if value.len() >= SHORT || !value.iter().all(u8::is_ascii_alphanumeric) {
        views(value, scratch, &mut |view| {
            findings.judge(view);
            false
        });
    }
    findings
}

/// Judges every form of a value by one grammar, until it is certain.
#[must_use]
pub fn find_in_views(kind: OperatorKind, value: &[u8], scratch: &mut Scratch) -> Option<Evidence> {
    let mut best: Option<Evidence> = None;
    views(value, scratch, &mut |view| {
        if let Some(finding) = find_among(kind, view.bytes, Classes::of(view.bytes)) {
            let finding = weigh(kind, view.layers, finding);
            if best.as_ref().is_none_or(|kept| kept.finding.grade < finding.grade) {
                best = Some(Evidence { finding, layers: view.layers });
            }
        }
        best.as_ref().is_some_and(|kept| kept.finding.grade == Grade::Certain)
    });
    best
}

/// Editors send the source of programs with entities (`&lt;script&gt;`), which is how it is *not* run: script that shows
/// itself only then is likely. Entities within the addresses of real tags are read by the grammar itself.
fn weigh(kind: OperatorKind, layers: Layers, finding: Finding) -> Finding {
    let escaped = kind == OperatorKind::DetectScript && layers.has(Layers::ENTITY);
    if escaped { Finding { grade: Grade::Likely, ..finding } } else { finding }
}

#[cfg(test)]
mod tests {
    use super::super::ordinary::ORDINARY;
    use super::{Grade, examine, find_in_views};
    use crate::decode::Scratch;
    use crate::seclang::ast::OperatorKind::{DetectCommand, DetectNosql, DetectScript, DetectSql, DetectTraversal};

    #[test]
    fn finds_attacks_behind_encodings() {
        for (kind, value) in [
            (DetectSql, "1%27%20or%201%3D1--"),
            (DetectSql, "JyBvciAxPTEtLSAt"),
            (DetectSql, "{\"a\":{\"b\":\"x\\u0027 or 1=1--\"}}"),
            (DetectSql, "＇ or 1=1--"),
            (DetectScript, "%253Cscript%253Ealert(1)%253C%252Fscript%253E"),
            (DetectScript, "\\u003cscript\\u003ealert(1)"),
            (DetectScript, "<a href=\"&#106;avascript:alert(1)\">"),
            (DetectScript, "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="),
            (DetectScript, "+ADw-script+AD4-alert(1)"),
            (DetectScript, "<\0s\0c\0r\0i\0p\0t\0>\0"),
            (DetectTraversal, "..%252f..%252fetc%252fpasswd"),
            (DetectTraversal, "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd"),
            (DetectTraversal, "/download?file=..%2f..%2fetc%2fpasswd"),
            (DetectCommand, "%3Bcat%20%2Fetc%2Fpasswd"),
            (DetectNosql, "{\"filter\":\"{\\\"$where\\\":\\\"1\\\"}\"}"),
        ] {
            let mut scratch = Scratch::default();
            let found = examine(value.as_bytes(), &mut scratch);
            assert!(found.of(kind, Grade::Certain).is_some(), "{value}: {found:?}");
            assert!(find_in_views(kind, value.as_bytes(), &mut scratch).is_some(), "{value}");
        }
    }

    #[test]
    fn script_that_an_editor_escaped_is_only_likely() {
        let found = examine(b"<p>Use &lt;script&gt;alert(1)&lt;/script&gt; like this</p>", &mut Scratch::default());
        assert!(found.of(DetectScript, Grade::Likely).is_some());
        assert!(found.of(DetectScript, Grade::Certain).is_none());
    }

    #[test]
    fn no_form_of_an_ordinary_value_is_an_attack() {
        let mut scratch = Scratch::default();
        let alarms: Vec<_> = ORDINARY
            .iter()
            .map(|value| (value, examine(value.as_bytes(), &mut scratch)))
            .filter(|(_, found)| !found.is_empty())
            .collect();
        assert!(alarms.is_empty(), "{alarms:#?}");
    }
}
