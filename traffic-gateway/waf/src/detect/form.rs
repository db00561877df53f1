//! Judging one form of a value, knowing what was undone to get there.

use super::{Finding, Grade, find_among};
use crate::decode::{Layers, View};
use crate::seclang::ast::OperatorKind;

/// Judges a form of a value by one grammar.
#[must_use]
pub fn find_in(kind: OperatorKind, view: View<'_>) -> Option<Finding> {
    find_among(kind, view.bytes, view.classes).map(|found| weigh(kind, view.layers, found))
}

/// Weighs a finding by what was undone to get to it.
///
/// Editors send the source of programs with entities (`&lt;script&gt;`), which is how it is *not* run: script that shows
/// itself only when they are undone is likely. Entities within the addresses of real tags are read by the grammar.
pub(super) fn weigh(kind: OperatorKind, layers: Layers, finding: Finding) -> Finding {
    let is_escaped = kind == OperatorKind::DetectScript && layers.has(Layers::ENTITY);
    if is_escaped { Finding { grade: Grade::Likely, ..finding } } else { finding }
}

#[cfg(test)]
mod tests {
    use super::super::ordinary::ORDINARY;
    use super::super::{Grade, KINDS};
    use super::find_in;
    use crate::decode::{Scratch, views};
    use crate::seclang::ast::OperatorKind::{
        self, DetectCommand, DetectNosql, DetectScript, DetectSql, DetectTraversal,
    };

    /// The best grade over all forms of a value.
    fn best(kind: OperatorKind, value: &str) -> Option<Grade> {
        let mut best = None;
        views(value.as_bytes(), &mut Scratch::default(), &mut |view| {
            best = best.max(find_in(kind, view).map(|found| found.grade));
            false
        });
        best
    }

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
            assert_eq!(best(kind, value), Some(Grade::Certain), "{value}");
        }
    }

    #[test]
    fn script_that_an_editor_escaped_is_only_likely() {
        let value = "<p>Use &lt;script&gt;alert(1)&lt;/script&gt; like this</p>";
        assert_eq!(best(DetectScript, value), Some(Grade::Likely));
    }

    #[test]
    fn no_form_of_an_ordinary_value_is_an_attack() {
        let mut alarms = Vec::new();
        for kind in KINDS {
            alarms
                .extend(ORDINARY.iter().filter(|value| best(kind, value).is_some()).map(|value| (kind.name(), value)));
        }
        assert!(alarms.is_empty(), "{alarms:#?}");
    }
}
